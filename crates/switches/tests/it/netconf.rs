//! Network OS, read by NETCONF: the same switch as on its command line, however unpleasant it is, and what goes wrong.

use std::time::Duration;

use scores::switch::Switch;
use switches::{Inventory, Netconf, NetconfFound, Patience};
use switchsim::{Nasty, NastyNetconf, Profile};

use crate::bed::Bed;

fn told(error: &(dyn std::error::Error + 'static)) -> String {
    scores::chain(error)
}

fn nasty(netconf: NastyNetconf) -> Profile {
    Profile::nos().nasty(Nasty { netconf, ..Nasty::default() })
}

/// Answers a request with this.
fn answering(request: &str, answer: &str) -> Profile {
    let answers = vec![(request.to_owned(), answer.to_owned())];
    nasty(NastyNetconf { answers, ..NastyNetconf::default() })
}

const BASE: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";
const INTERFACES: &str = "urn:brocade.com:mgmt:brocade-interface-ext";

/// A reply with these elements in it.
fn reply(inside: &str) -> String {
    format!("<rpc-reply xmlns=\"{BASE}\" message-id=\"{{id}}\">{inside}</rpc-reply>")
}

/// VLANs, a port channel and ports of every kind.
fn configure(bed: &Bed) {
    let refused = bed.sim.configure(&[
        "interface vlan 10",
        "name servers",
        "interface vlan 20",
        "interface port-channel 7",
        "no shutdown",
        "description to <the> core & back",
        "interface te 1/0/1",
        "channel-group 7 mode active type standard",
        "no shutdown",
        "interface te 1/0/2",
        "channel-group 7 mode active type standard",
        "no shutdown",
        "interface te 1/0/5",
        "description db-1",
        "switchport",
        "switchport mode trunk",
        "switchport trunk allowed vlan add 10",
        "switchport trunk native-vlan 20",
        "spanning-tree edgeport",
        "no shutdown",
        "interface te 1/0/6",
        "switchport",
        "switchport access vlan 10",
        "interface te 1/0/7",
        "ip address 10.0.0.1/24",
    ]);
    assert_eq!(refused, "");
}

fn asked(bed: &Bed) -> Vec<String> {
    bed.sim.commands().into_iter().filter(|command| command.starts_with("netconf ")).collect()
}

#[tokio::test]
async fn it_says_the_same_as_the_command_line() {
    let (mut seen, mut firsts) = (Vec::new(), std::collections::BTreeSet::new());
    for netconf in [Netconf::Auto, Netconf::On, Netconf::Off] {
        let bed = Bed::netconf(Profile::nos(), netconf).await;
        configure(&bed);
        let snapshot = bed.device.read().await.unwrap();
        let links = asked(&bed);
        assert_eq!(links.iter().any(|one| one == "netconf get-interface-detail"), netconf != Netconf::Off);
        let mut inventory: Inventory = bed.device.inventory().await.unwrap();
        // Every member of the fabric tells its own links by NETCONF.
        assert_eq!(inventory.fabric.len(), if netconf == Netconf::Off { 1 } else { 2 });
        inventory.fabric.clear();
        // So does it its serial number; on the command line there is the one of the switch that one is logged in to.
        let units = std::mem::take(&mut inventory.version.units);
        let serials: Vec<_> = units.iter().filter_map(|unit| unit.serial.clone()).collect();
        assert_eq!(serials.len(), if netconf == Netconf::Off { 1 } else { 2 }, "{units:?}");
        assert!(units.iter().all(|unit| unit.model.as_deref() == Some("BR-VDX6740")), "{units:?}");
        firsts.insert(serials[0].clone());
        inventory.vlans.retain(|vlan| vlan.id != 1);
        assert_eq!(inventory.vlans.len(), 2);
        assert_eq!(bed.sim.logins(), 1, "one session does");
        seen.push((snapshot, inventory));
    }
    assert_eq!(firsts.len(), 1, "it is the same switch: {firsts:?}");
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].0, seen[2].0);
    assert_eq!(seen[0].1, seen[2].1);
    assert!(seen[0].1.lags[0].members.iter().all(|member| member.operational == Some(true)));
}

#[tokio::test]
async fn nothing_unpleasant_changes_what_it_says() {
    let small = |nasty| Profile::nos().units(1).nasty(nasty);
    let plain = Bed::netconf(small(Nasty::default()), Netconf::On).await;
    configure(&plain);
    let plain = plain.device.inventory().await.unwrap();
    let netconf = NastyNetconf::default();
    let one = |netconf: NastyNetconf| Nasty { netconf, ..Nasty::default() };
    let nasties = [
        one(NastyNetconf { split_bytes: Some(1), ..netconf.clone() }),
        one(NastyNetconf { base_1_0: true, ..netconf.clone() }),
        one(NastyNetconf { chunk: Some(1), split_bytes: Some(3), ..netconf.clone() }),
        one(NastyNetconf { page: Some(1), extra: true, ..netconf.clone() }),
        one(NastyNetconf { base_1_0: true, page: Some(3), split_bytes: Some(2), ..netconf }),
        Nasty { port_names: false, ..Nasty::everything() },
    ];
    for nasty in nasties {
        let bed = Bed::netconf(small(nasty.clone()), Netconf::On).await;
        configure(&bed);
        let found = bed.device.inventory().await.unwrap_or_else(|error| panic!("{nasty:?}: {}", told(&error)));
        assert_eq!(found, plain, "{nasty:?}");
    }
}

#[tokio::test]
async fn a_probe_compares_what_both_say() {
    let bed = Bed::new(Profile::nos()).await;
    configure(&bed);
    let probe = switches::probe(bed.device.declaration()).await.unwrap();
    let NetconfFound::Yes { chunked: true, capabilities, differences } = probe.netconf else { panic!("{probe:?}") };
    assert!(capabilities > 4 && differences.is_empty(), "{differences:?}");
    assert_eq!(probe.family_told, "its system has no other");
    // Where NETCONF leaves something out, the probe says what.
    let config = "<data><interface xmlns=\"urn:brocade.com:mgmt:brocade-interface\"><tengigabitethernet><name>1/0/1</name>\
                  <shutdown/></tengigabitethernet></interface></data>";
    let bed = Bed::new(answering("get-config", &reply(config))).await;
    bed.sim.configure(&["interface vlan 10", "name servers"]);
    let probe = switches::probe(bed.device.declaration()).await.unwrap();
    let NetconfFound::Yes { differences, .. } = probe.netconf else { panic!("{:?}", probe.netconf) };
    assert!(differences.contains(&"make VLAN 10 \"servers\"".to_owned()), "{differences:?}");
}

#[tokio::test]
async fn what_cannot_be_opened_is_left_or_told_as_declared() {
    let hello = |text: &str| nasty(NastyNetconf { hello: Some(text.to_owned()), ..NastyNetconf::default() });
    let capable = |list: &str| {
        hello(&format!("<hello xmlns=\"{BASE}\"><capabilities>{list}</capabilities><session-id>1</session-id></hello>"))
    };
    let base = "<capability>urn:ietf:params:netconf:base:1.0</capability>";
    for (profile, why) in [
        (Profile::nos().without_netconf(), "open NETCONF: the device has no such subsystem"),
        (hello("<hello/>"), "greet by NETCONF: it greets with `<hello/>`"),
        (hello("Welcome!"), "read a NETCONF message: there is text outside of its elements"),
        (hello("<!DOCTYPE a><hello/>"), "read a NETCONF message: it has a document type"),
        (capable(""), "greet by NETCONF: it names neither base:1.0 nor base:1.1"),
        (capable(base), "open NETCONF: the device does not know `urn:brocade.com:mgmt:brocade-interface-ext`"),
    ] {
        let bed = Bed::netconf(profile.clone(), Netconf::On).await;
        let error = bed.device.read().await.unwrap_err();
        assert_eq!(told(&error), format!("talk to the switch: {why}"));
        assert!(!error.is_transient());
        let bed = Bed::new(profile).await;
        assert_eq!(bed.device.read().await.unwrap().links.len(), 96);
        assert!(asked(&bed).is_empty());
        let probe = switches::probe(bed.device.declaration()).await.unwrap();
        assert_eq!(probe.netconf, NetconfFound::No(why.to_owned()));
    }
    let bed = Bed::netconf(Profile::fastiron_8095(), Netconf::On).await;
    let error = told(&bed.device.read().await.unwrap_err());
    assert_eq!(error, "talk to the switch: open NETCONF: FastIron has none, and `netconf` is declared as on");
    let bed = Bed::netconf(Profile::nos(), Netconf::Off).await;
    let probe = switches::probe(bed.device.declaration()).await.unwrap();
    assert_eq!(probe.netconf, NetconfFound::No("its declaration says so".into()));
}

#[tokio::test]
async fn a_greeting_that_does_not_come_is_not_waited_for_twice() {
    let patience = Patience { greeting: Duration::from_secs(2), ..Patience::default() };
    let silent = Profile::nos().nasty(Nasty { mute: vec!["netconf hello".into()], ..Nasty::default() });
    let bed = Bed::patient(silent.clone(), Netconf::On, patience).await;
    let error = bed.device.read().await.unwrap_err();
    assert_eq!(told(&error), "talk to the switch: greet by NETCONF: no end within 2 seconds");
    assert!(error.is_transient());
    let bed = Bed::patient(silent, Netconf::Auto, patience).await;
    bed.device.read().await.unwrap();
    bed.sim.drop_after(0);
    let since = std::time::Instant::now();
    bed.device.read().await.unwrap();
    assert!(since.elapsed() < patience.greeting, "it is not asked again: {:?}", since.elapsed());
}

#[tokio::test]
async fn what_is_answered_wrongly_is_told() {
    let more = format!("<has-more xmlns=\"{INTERFACES}\">true</has-more>");
    let te = format!(
        "<interface xmlns=\"{INTERFACES}\"><interface-type>tengigabitethernet</interface-type><interface-name>1/0/1\
         </interface-name><if-state>up</if-state><line-protocol-state>up</line-protocol-state></interface>"
    );
    let refusal = "<rpc-error><error-type>application</error-type><error-tag>access-denied</error-tag>\
                   <error-severity>error</error-severity><error-message>not &lt;you&gt;</error-message></rpc-error>";
    let what = "get-interface-detail";
    for (answer, why, transient) in [
        (
            reply(refusal),
            "NETCONF `get-interface-detail`: the device says error `access-denied` (application): \"not <you>\"",
            false,
        ),
        (
            reply("").replace("{id}", "77"),
            "NETCONF `get-interface-detail`: lost step with the device: expected the answer to message \"1\", found \"77\"",
            true,
        ),
        (
            format!("<notification xmlns=\"{BASE}\"/>"),
            "NETCONF `get-interface-detail`: lost step with the device: expected `rpc-reply`, found `<notification \
             xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"/>`",
            true,
        ),
        (reply(&te), "`get-interface-detail` is not understood: it does not say whether there is more", false),
        (
            reply(&more),
            "`get-interface-detail` is not understood: it says that there is more, and does not go on",
            false,
        ),
        (reply(&format!("{te}{more}")), "`get-interface-detail` is not understood: it lists something twice", false),
        (
            reply(&format!("<surprise xmlns=\"urn:s\">1</surprise>{more}")),
            "`get-interface-detail` is not understood in `<surprise xmlns=\"urn:s\">1</surprise>`: it is neither `interface` \
             nor `has-more`",
            false,
        ),
        (
            "<rpc-reply".into(),
            "read a NETCONF message: syntax error: tag not closed: `>` not found before end of input",
            false,
        ),
        (
            format!("<!DOCTYPE a [<!ENTITY a \"aaaa\">]>{}", reply("&a;")),
            "read a NETCONF message: it has a document type",
            false,
        ),
        (reply("&a;"), "read a NETCONF message: nothing says what `&a;` is", false),
    ] {
        let bed = Bed::netconf(answering(what, &answer), Netconf::Auto).await;
        let error = bed.device.read().await.unwrap_err();
        assert_eq!(told(&error), format!("talk to the switch: {why}"));
        assert_eq!(error.is_transient(), transient, "{why}");
        // It is good again as soon as the device is.
        bed.sim.set_nasty(Nasty::default());
        assert_eq!(bed.device.read().await.unwrap().links.len(), 96);
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_off() {
    for base_1_0 in [false, true] {
        let endless = Some("get-interface-detail".to_owned());
        let bed =
            Bed::netconf(nasty(NastyNetconf { endless, base_1_0, ..NastyNetconf::default() }), Netconf::Auto).await;
        let error = told(&bed.device.read().await.unwrap_err());
        assert_eq!(error, "talk to the switch: the device sent a NETCONF message of more than 16777216 bytes");
    }
}

#[tokio::test]
async fn a_device_that_goes_mute_is_given_up() {
    let patience = Patience { idle: Duration::from_secs(1), ..Patience::default() };
    for request in ["get-interface-detail", "get-port-channel-detail", "show-linkinfo", "get-vlan-brief"] {
        let mute = Profile::nos().nasty(Nasty { mute: vec![format!("netconf {request}")], ..Nasty::default() });
        let bed = Bed::patient(mute, Netconf::Auto, patience).await;
        let error = bed.device.inventory().await.unwrap_err();
        assert_eq!(error.to_string(), format!("NETCONF `{request}`: no end within 1 seconds"));
        assert!(error.is_transient());
        bed.sim.set_nasty(Nasty::default());
        bed.device.inventory().await.unwrap();
    }
}

#[tokio::test]
async fn a_slow_device_is_waited_for_but_not_for_ever() {
    let cut = |bytes| NastyNetconf { split_bytes: Some(bytes), ..NastyNetconf::default() };
    let slow = |delay, bytes| Nasty {
        delay: Some(Duration::from_millis(delay)),
        split_bytes: Some(400),
        netconf: cut(bytes),
        ..Nasty::default()
    };
    let bed = Bed::netconf(Profile::nos().nasty(slow(2, 400)), Netconf::On).await;
    assert_eq!(bed.device.read().await.unwrap().links.len(), 96);
    let patience = Patience { command: Duration::from_secs(1), ..Patience::default() };
    let bed = Bed::patient(Profile::nos(), Netconf::On, patience).await;
    bed.device.read().await.unwrap();
    // Never silent for long, and never at an end.
    bed.sim.set_nasty(slow(10, 1));
    let error = bed.device.inventory().await.unwrap_err();
    assert_eq!(error.to_string(), "NETCONF `get-interface-detail`: no end within 1 seconds");
}

#[tokio::test]
async fn a_connection_that_is_lost_in_a_reply_is_made_again() {
    let pages = NastyNetconf { page: Some(16), ..NastyNetconf::default() };
    let bed = Bed::netconf(nasty(pages), Netconf::On).await;
    bed.device.inventory().await.unwrap();
    let count = bed.sim.commands().len();
    let plain = bed.device.inventory().await.unwrap();
    let commands = bed.sim.commands().len() - count;
    assert!(asked(&bed).len() >= 18, "{:?}", bed.sim.commands());
    for position in 1..=commands {
        bed.sim.drop_after(position);
        assert_eq!(bed.device.inventory().await.unwrap(), plain, "{position} of {commands}");
    }
    println!("positions of a cut NETCONF or command line read: {commands}");
}
