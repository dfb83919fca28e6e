//! Devices that are not what they should be, say nothing, or take their time: what is told then.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use scores::switch::{Family, Switch};
use switches::{Declaration, Netconf, Patience};
use switchsim::{Nasty, Profile};

use crate::bed::{Bed, declaration};

fn told(error: &(dyn std::error::Error + 'static)) -> String {
    scores::chain(error)
}

fn all() -> [Profile; 3] {
    [Profile::fastiron_8030(), Profile::fastiron_8095(), Profile::nos()]
}

#[tokio::test]
async fn an_unknown_system_is_named_and_nothing_is_done_to_it() {
    let text = "Cisco IOS Software, C2960X Software (C2960X-UNIVERSALK9-M), Version 15.2(2)E6\nCopyright\n";
    for profile in all() {
        let bed = Bed::new(profile.show_version(text)).await;
        let error = bed.device.read().await.unwrap_err();
        assert_eq!(
            told(&error),
            "talk to the switch: find out what the device is: it is neither FastIron nor Network OS; it says \"Cisco IOS \
             Software, C2960X Software (C2960X-UNIVERSALK9-M), Version 15.2(2)E6\""
        );
        assert!(!error.is_transient());
        let error = switches::probe(bed.device.declaration()).await.unwrap_err();
        assert!(error.to_string().contains("it is neither FastIron nor Network OS"), "{error}");
        let harmless = ["show version", "enable", "skip-page-display", "terminal length 0"];
        assert!(bed.sim.commands().iter().all(|one| harmless.contains(&one.as_str())), "{:?}", bed.sim.commands());
    }
    let bed = Bed::new(Profile::fastiron_8095().show_version("\n")).await;
    let error = told(&bed.device.read().await.unwrap_err());
    assert!(error.ends_with("it says \"\""), "{error}");
}

#[tokio::test]
async fn a_device_that_goes_mute_is_given_up() {
    let patience = Patience { idle: Duration::from_secs(1), ..Patience::default() };
    for profile in all() {
        for command in ["show version", "show running-config"] {
            let mute = Nasty { mute: vec![command.to_owned()], ..Nasty::default() };
            let bed = Bed::patient(profile.clone().nasty(mute), Netconf::Off, patience).await;
            let error = bed.device.read().await.unwrap_err();
            assert_eq!(told(&error), format!("talk to the switch: `{command}`: no end within 1 seconds"));
            assert!(error.is_transient());
            // It is good again as soon as the device is.
            bed.sim.set_nasty(Nasty::default());
            bed.device.read().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_login_that_leads_nowhere_is_given_up() {
    let patience = Patience { greeting: Duration::from_secs(1), ..Patience::default() };
    let silent = Nasty { silent: true, ..Nasty::default() };
    let bed = Bed::patient(Profile::fastiron_8095().nasty(silent), Netconf::Off, patience).await;
    let error = told(&bed.device.read().await.unwrap_err());
    assert_eq!(error, "talk to the switch: find the prompt: no end within 1 seconds");
}

#[tokio::test]
async fn whoever_takes_a_connection_and_says_nothing_is_given_up() {
    // The backlog takes connections that nobody accepts.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let patience = Patience { connect: Duration::from_secs(1), ..Patience::default() };
    let bed = Bed::new(Profile::fastiron_8095()).await;
    let declared = Declaration { port: address.port(), ..declaration(&bed.sim, &bed.dir) };
    let device = switches::Device::with_patience(declared, bed.dir.path().join("s"), Vec::new(), patience).unwrap();
    let error = device.read().await.unwrap_err();
    assert_eq!(told(&error), format!("talk to the switch: agree with {address} on keys: no end within 1 seconds"));
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_slow_device_is_waited_for_but_not_for_ever() {
    for profile in all() {
        let slow = Nasty { delay: Some(Duration::from_millis(2)), split_bytes: Some(400), ..Nasty::default() };
        let bed = Bed::netconf(profile.clone().nasty(slow), Netconf::Off).await;
        let found = bed.device.read().await.unwrap();
        assert!(found.links.len() >= 48);
        let patience = Patience { command: Duration::from_secs(1), ..Patience::default() };
        let bed = Bed::patient(profile, Netconf::Off, patience).await;
        bed.device.read().await.unwrap();
        // Never silent for long, and never at an end.
        let drip = Nasty { delay: Some(Duration::from_millis(10)), split_bytes: Some(1), ..Nasty::default() };
        bed.sim.set_nasty(drip);
        let since = Instant::now();
        let error = bed.device.read().await.unwrap_err();
        // Where the machine is slow too, not even a line has come by then.
        assert!(told(&error).contains("no end within 1 seconds"), "{}", told(&error));
        assert!(error.is_transient() && since.elapsed() < Duration::from_secs(60), "{:?}", since.elapsed());
    }
}

#[tokio::test]
async fn the_syntax_of_lags_is_asked_for_where_nothing_shows_it() {
    for (profile, family, why) in [
        (Profile::fastiron_8030(), Family::FastIronDeploy, "it does not know `show interfaces lag`"),
        (Profile::fastiron_8095(), Family::FastIron, "it knows `show interfaces lag`"),
        // What it says of its version is of no account.
        (
            Profile::fastiron_8030().version("08.0.95jT211"),
            Family::FastIronDeploy,
            "it does not know `show interfaces lag`",
        ),
        (Profile::fastiron_8095().version("08.0.30hT311"), Family::FastIron, "it knows `show interfaces lag`"),
    ] {
        let bed = Bed::new(profile).await;
        let before = bed.sim.running_config();
        let probe = switches::probe(bed.device.declaration()).await.unwrap();
        assert_eq!((probe.family, probe.family_told.as_str()), (family, why));
        let sent = bed.sim.commands();
        let harmless = |command: &String| {
            command.starts_with("show ") || ["enable", "skip-page-display"].contains(&command.as_str())
        };
        assert!(sent.iter().all(harmless) && bed.sim.running_config() == before, "{sent:?}");
        // Asked once in a session.
        bed.device.read().await.unwrap();
        bed.device.read().await.unwrap();
        let asked = bed.sim.commands().iter().filter(|command| *command == "show interfaces lag").count();
        assert_eq!(asked, 2);
    }
}

#[tokio::test]
async fn what_is_configured_shows_the_syntax_of_lags_and_nothing_is_asked() {
    for (profile, lines, family) in [
        (
            Profile::fastiron_8030(),
            &["lag a static id 1", "ports ethernet 1/1/9", "primary-port 1/1/9", "deploy"][..],
            Family::FastIronDeploy,
        ),
        (
            Profile::fastiron_8095(),
            &["lag a static id 1", "ports ethernet 1/1/9", "interface lag 1", "port-name x"],
            Family::FastIron,
        ),
    ] {
        let bed = Bed::new(profile).await;
        let said = bed.sim.configure(lines);
        assert!(!said.contains("Error") && !said.contains("Invalid"), "{said}");
        let probe = switches::probe(bed.device.declaration()).await.unwrap();
        assert_eq!((probe.family, probe.family_told.as_str()), (family, "its configuration is in it"));
        assert!(!bed.sim.commands().contains(&"show interfaces lag".to_owned()));
    }
}
