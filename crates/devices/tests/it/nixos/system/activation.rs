//! Switches that work, fail, are inhibited or disturbed: what runs afterwards, what boots, and what is said.

use protocols::{Check, Verdict};
use scores::nixos::{Mode, NixosScore};
use testkit::closure::System;

use super::sandbox::{booting, on_each_nix, profile, running, sh};

on_each_nix!(bad_activation_is_reverted_and_quarantined, |sandbox| {
    let old = sandbox.install(&System::new(1));
    let (bad, _) = sandbox.publish(&System::new(2));
    let agent = sandbox.agent();
    agent.set_unhealthy(Some("g2"));
    let generation = sandbox.next();
    let report = agent.play(&bad, generation);
    assert_eq!(report.verdict, Verdict::Quarantined, "{}", report.message);
    assert!(report.message.contains("this system is not healthy"), "{}", report.message);
    assert!(agent.stage.log().contains("activating"), "it was never switched to");
    assert_eq!((running(), profile(), booting()), (old.clone(), old.clone(), old.clone()));
    // It is not tried again, by this agent or by the next one, although it would succeed now.
    agent.set_unhealthy(None);
    let heard = agent.stage.log().len();
    assert_eq!(sandbox.agent().play(&bad, generation).verdict, Verdict::Quarantined);
    assert_eq!(agent.stage.log().len(), heard, "something was done");
    assert_eq!(running(), old);
    // A new declaration is.
    let report = sandbox.agent().play(&bad, sandbox.next());
    assert_eq!((report.verdict, running()), (Verdict::Converged, bad.toplevel));
});

on_each_nix!(two_bad_activations_return_to_last_confirmed, |sandbox| {
    sandbox.install(&System::new(1));
    let (good, _) = sandbox.publish(&System::new(2));
    let agent = sandbox.agent();
    assert_eq!(agent.play(&good, sandbox.next()).verdict, Verdict::Converged);
    for bad in [3, 4] {
        let (score, _) = sandbox.publish(&System::new(bad));
        agent.set_unhealthy(Some(&format!("g{bad}")));
        let report = agent.play(&score, sandbox.next());
        assert_eq!(report.verdict, Verdict::Quarantined, "{}", report.message);
        assert_eq!(
            (running(), profile(), booting()),
            (good.toplevel.clone(), good.toplevel.clone(), good.toplevel.clone())
        );
    }
    // And when even the way back from the first one fails, the second one does not return to it.
    let wrapper = "/nix/store/.flotilla-test";
    let switcher = format!("{}/bin/switch-to-configuration", good.toplevel);
    let (worse, _) = sandbox.publish(&System::new(5));
    sh(&format!(
        "cp {switcher} {wrapper}; chmod u+w {0}/bin {switcher}; printf '#!/bin/sh\\nexit 77\\n' >{switcher}",
        good.toplevel
    ));
    agent.set_unhealthy(Some("g5"));
    let report = agent.play(&worse, sandbox.next());
    assert_eq!(report.verdict, Verdict::Failed, "{}", report.message);
    assert!(report.message.contains("could not be undone yet"), "{}", report.message);
    assert_eq!(running(), worse.toplevel);
    sh(&format!("cat {wrapper} >{switcher}"));
    let (again, _) = sandbox.publish(&System::new(6));
    agent.set_unhealthy(Some("g6"));
    let report = agent.play(&again, sandbox.next());
    assert_eq!(report.verdict, Verdict::Quarantined, "{}", report.message);
    assert_eq!((running(), profile()), (good.toplevel.clone(), good.toplevel));
});

on_each_nix!(every_exit_status_means_something, |sandbox| {
    let old = sandbox.install(&System::new(1));
    let agent = sandbox.agent();
    for (app, system, verdict, said) in [
        (2, System { check_exit: 1, ..System::new(2) }, Verdict::Quarantined, "exit status 1"),
        (3, System { activate_exit: 1, ..System::new(3) }, Verdict::Quarantined, "exit status 2"),
        (4, System { broken_unit: true, ..System::new(4) }, Verdict::Quarantined, "exit status 4"),
        (5, System { switch_exit: 11, ..System::new(5) }, Verdict::Failed, "exit status 11"),
        (
            6,
            System { switch_exit: 42, ..System::new(6) },
            Verdict::Quarantined,
            "exit status 42, which has no known meaning",
        ),
        (7, System { boot_loader_exit: 1, ..System::new(7) }, Verdict::Quarantined, "write the boot entry"),
        (8, System { hook: "kill -9 $PPID".into(), ..System::new(8) }, Verdict::Quarantined, "exit status 137"),
    ] {
        let (score, _) = sandbox.publish(&system);
        let report = agent.play(&score, sandbox.next());
        assert_eq!(report.verdict, verdict, "{app}: {}", report.message);
        assert!(report.message.contains(said), "{app}: `{said}` is not in `{}`", report.message);
        assert!(report.message.contains("undone"), "{app}: {}", report.message);
        assert_eq!((running(), profile(), booting()), (old.clone(), old.clone(), old.clone()), "{app}");
    }
    // Failed units are left to the checks where the score says so.
    let (score, _) = sandbox.publish(&System { broken_unit: true, ..System::new(4) });
    let lenient = NixosScore { accept_failed_units: true, ..score };
    let report = agent.play(&lenient, sandbox.next());
    assert_eq!(report.verdict, Verdict::Converged, "{}", report.message);
    // 100: it can only be booted, and it says so itself (nothing else tells).
    let (score, _) = sandbox.publish(&System { switch_exit: 100, ..System::new(9) });
    let report = agent.play(&score, sandbox.next());
    assert_eq!(report.verdict, Verdict::RebootPending, "{}", report.message);
    assert_eq!((running(), profile(), booting()), (lenient.toplevel, score.toplevel.clone(), score.toplevel.clone()));
    sandbox.reboot();
    assert_eq!(agent.play(&score, sandbox.next()).verdict, Verdict::Converged);
    assert_eq!(running(), score.toplevel);
});

on_each_nix!(what_a_switch_may_not_change_waits_for_a_boot, |sandbox| {
    let inhibitors = |dbus: &str| format!(r#"{{"dbus":"{dbus}","init":"systemd"}}"#);
    let old = sandbox.install(&System { switch_inhibitors: inhibitors("dbus"), ..System::new(1) });
    let agent = sandbox.agent();
    let (same, _) = sandbox.publish(&System { switch_inhibitors: inhibitors("dbus"), ..System::new(2) });
    assert_eq!(agent.play(&same, sandbox.next()).verdict, Verdict::Converged);
    let (other, _) = sandbox.publish(&System { switch_inhibitors: inhibitors("broker"), ..System::new(3) });
    let generation = sandbox.next();
    let report = agent.play(&other, generation);
    assert_eq!(report.verdict, Verdict::RebootPending, "{}", report.message);
    assert!(report.message.contains("dbus") && !report.message.contains("init"), "{}", report.message);
    assert_eq!(
        (running(), profile(), booting()),
        (same.toplevel.clone(), other.toplevel.clone(), other.toplevel.clone())
    );
    // Asked again it waits; after the boot it is there.
    let report = agent.play(&other, generation);
    assert_eq!((report.verdict, report.steps), (Verdict::RebootPending, Vec::new()));
    sandbox.reboot();
    assert_eq!(agent.play(&other, generation).verdict, Verdict::Converged);
    assert_eq!(running(), other.toplevel);
    // Another init cannot take over either.
    let init = System { init_interface: "systemd 3".into(), switch_inhibitors: inhibitors("broker"), ..System::new(4) };
    let (init, _) = sandbox.publish(&init);
    assert_eq!(agent.play(&init, sandbox.next()).verdict, Verdict::RebootPending);
    // And one that is only to be booted is only booted.
    let (boot, _) = sandbox.publish(&System { switch_inhibitors: inhibitors("broker"), ..System::new(5) });
    let boot = NixosScore { mode: Mode::Boot, ..boot };
    let report = agent.play(&boot, sandbox.next());
    assert_eq!((report.verdict, running()), (Verdict::RebootPending, other.toplevel));
    assert_eq!(booting(), boot.toplevel);
    assert_ne!(old, boot.toplevel);
});

on_each_nix!(another_switch_that_is_going_on_is_waited_for, |sandbox| {
    let old = sandbox.install(&System::new(1));
    let (score, _) = sandbox.publish(&System::new(2));
    let mut agent = sandbox.agent();
    sh("mkdir -p /run/nixos; : >>/run/nixos/switch-to-configuration.lock");
    let mut other = std::process::Command::new("flock")
        .args([
            "--no-fork",
            "/run/nixos/switch-to-configuration.lock",
            "sh",
            "-c",
            "echo held >/run/held; exec sleep 600",
        ])
        .spawn()
        .unwrap();
    testkit::until("the lock is held", testkit::DEADLINE, || std::path::Path::new("/run/held").exists());
    let report = agent.play(&score, sandbox.next());
    assert_eq!(report.verdict, Verdict::Failed, "{}", report.message);
    assert!(report.message.contains("another switch is going on"), "{}", report.message);
    assert_eq!(running(), old);
    // With attempts left it is tried until the other one is done.
    agent.policy.attempts = 20;
    let waiting = std::thread::spawn(move || {
        testkit::until("a second attempt", testkit::DEADLINE, || {
            std::fs::read_to_string("/run/attempts").is_ok_and(|text| text.contains("attempt"))
        });
        other.kill().unwrap();
        other.wait().unwrap();
    });
    let log = sandbox.dir.join("stage.log");
    sh(&format!("ln -s {} /run/attempts", log.display()));
    let report = agent.play(&score, sandbox.next());
    waiting.join().unwrap();
    assert_eq!((report.verdict, running()), (Verdict::Converged, score.toplevel));
});

on_each_nix!(a_switch_that_hangs_is_taken_back_by_the_machine, |sandbox| {
    let old = sandbox.install(&System::new(1));
    let (score, _) =
        sandbox.publish(&System { hook: "ln -sfn \"$1\" /run/current-system; sleep 1000".into(), ..System::new(2) });
    let score = NixosScore { revert_seconds: 10, ..score };
    let report = sandbox.agent().play(&score, sandbox.next());
    assert_eq!(report.verdict, Verdict::Quarantined, "{}", report.message);
    assert_eq!((running(), profile()), (old.clone(), old));
});

on_each_nix!(checks_that_outlast_the_way_back_do_not_confirm, |sandbox| {
    let old = sandbox.install(&System::new(1));
    let (score, _) = sandbox.publish(&System::new(2));
    let score = NixosScore { revert_seconds: 10, ..score };
    let mut agent = sandbox.agent();
    agent.policy.check_seconds = 60;
    agent.policy.checks = vec![Check::Contact];
    agent.set_unhealthy(Some("g2"));
    // The checks fail until the machine has gone back; then they pass, on the old system.
    let report = agent.play(&score, sandbox.next());
    assert_eq!(report.verdict, Verdict::Quarantined, "{}", report.message);
    assert!(report.message.contains("nobody confirmed the change within 10 seconds"), "{}", report.message);
    assert_eq!((running(), profile(), booting()), (old.clone(), old.clone(), old));
});

on_each_nix!(a_system_started_by_hand_is_gone_back_to, |sandbox| {
    sandbox.install(&System::new(1));
    let (by_hand, _) = sandbox.publish(&System::new(2));
    let agent = sandbox.agent();
    assert_eq!(agent.play(&by_hand, sandbox.next()).verdict, Verdict::Converged);
    let first = sh("readlink -f /nix/var/nix/profiles/system-1-link").trim().to_owned();
    sh(&format!("{first}/bin/switch-to-configuration test 2>/dev/null"));
    let (bad, _) = sandbox.publish(&System::new(3));
    agent.set_unhealthy(Some("g3"));
    assert_eq!(agent.play(&bad, sandbox.next()).verdict, Verdict::Quarantined);
    assert_eq!((running().to_string(), profile()), (first, by_hand.toplevel));
});
