//! The split agent does what the whole one does, and bears the death of either half at any moment.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::{Duration, Instant};

use testkit::{DEADLINE, until};

use super::bed::{STRANGER, Split, TOOLS, USER, rights};
use crate::processes::bed::ready;

#[test]
fn a_node_without_rights_on_the_network_converges_by_its_hands() {
    if !testkit::require("a_node_without_rights_on_the_network_converges_by_its_hands", TOOLS) {
        return;
    }
    let split = Split::found();
    let (mut hands, mut half) = split.join();
    let (users, capabilities) = rights(half.pid());
    assert_eq!(users, [USER.to_string().as_str(); 4].join(" "));
    assert_eq!(capabilities, ["0000000000000000"; 3].join(" "));
    assert!(rights(hands.pid()).0.starts_with("0 0"));

    let bed = &split.bed;
    // The check runs with the rights of the hands: it can see what the network half cannot.
    let secret = bed.path().join("for-root-alone");
    fs::write(&secret, "x").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let owner = format!("test \"$(id -u)\" = 0 && cat {}", secret.display());
    bed.declare("fleet.toml", "hello\n", &["sh", "-c", &owner]);
    split.apply("1m").expect(0);
    assert_eq!(bed.motd("edge-1").as_deref(), Some("hello\n"));
    assert_eq!(fs::metadata(bed.root("edge-1").join("etc/motd")).unwrap().uid(), 0);

    // What fails its check is undone, told of, and not tried again.
    bed.declare("fleet.toml", "bad\n", &["false"]);
    let bad = split.apply("1m").expect(1);
    assert!(bad.stdout.contains("quarantined") && bad.stdout.contains("undone"), "{bad:?}");
    assert_eq!(bed.motd("edge-1").as_deref(), Some("hello\n"));

    // A check that needs the network, and contact, are the network half's to make.
    bed.declare("fleet.toml", "third\n", &["true"]);
    let fleet = fs::read_to_string(bed.path().join("fleet.toml")).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let checks = format!("[{{ type = \"contact\" }}, {{ type = \"tcp\", address = \"{address}\" }}, ");
    fs::write(bed.path().join("fleet.toml"), fleet.replace("checks = [", &format!("checks = {checks}"))).unwrap();
    split.apply("1m").expect(0);
    assert_eq!(bed.motd("edge-1").as_deref(), Some("third\n"));

    // A plan of what is not published shows what an unprivileged look can see.
    bed.declare("fleet.toml", "fourth\n", &["true"]);
    let plan = bed.admin(["plan", "fleet.toml"]).ok();
    assert!(plan.contains("edge-1"), "{plan}");
    assert_eq!(bed.motd("edge-1").as_deref(), Some("third\n"));

    // Nothing of root's is open to the network half.
    for kept in ["hands", "hands/trials", "hands/brought"] {
        let mode = fs::metadata(split.node().join(kept)).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o700, "{kept}");
    }
    assert_eq!(fs::metadata(split.socket()).unwrap().mode() & 0o777, 0o660);
    for half in [&mut half, &mut hands] {
        half.terminate();
        half.wait(DEADLINE).expect(0);
    }
}

#[test]
fn a_stranger_is_refused_whatever_the_file_allows() {
    if !testkit::require("a_stranger_is_refused_whatever_the_file_allows", TOOLS) {
        return;
    }
    let split = Split::found();
    let (hands, _half) = split.join();
    fs::set_permissions(split.socket(), Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(split.node(), Permissions::from_mode(0o755)).unwrap();
    let mark = hands.mark();
    let stranger = split.network_half(STRANGER, &split.bed.ticket()).spawn();
    let refused = hands.wait_for_after(mark, "refused a connection of another user", DEADLINE);
    assert!(refused.contains(&format!("uid={STRANGER}")), "{refused}");
    stranger.wait_for("not connected to the agent's hands");
    assert!(!stranger.stderr().contains("connected to the agent's hands version"), "{}", stranger.stderr());
    // The one that is meant is not disturbed.
    split.bed.declare("fleet.toml", "hello\n", &["true"]);
    drop(stranger);
    split.apply("1m").expect(0);
    assert_eq!(split.bed.motd("edge-1").as_deref(), Some("hello\n"));
}

#[test]
fn either_half_may_die_at_any_moment() {
    if !testkit::require("either_half_may_die_at_any_moment", TOOLS) {
        return;
    }
    let split = Split::found();
    let (mut hands, mut half) = split.join();
    let bed = &split.bed;
    let versions = |n: u32| format!("version {n}\n").repeat(200);
    let mut dice = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
    eprintln!("the dice start with {dice}");
    let mut throw = |bound: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % bound
    };
    for round in 1..=10 {
        bed.declare("fleet.toml", &versions(round), &["true"]);
        let mut apply = bed.admin(["apply", "fleet.toml", "--no-wait"]).spawn();
        let victims = match throw(3) {
            0 => vec![&mut hands],
            1 => vec![&mut half],
            _ => vec![&mut hands, &mut half],
        };
        let (moment, began) = (Duration::from_millis(throw(400)), Instant::now());
        while began.elapsed() < moment {
            std::thread::sleep(Duration::from_millis(1));
            // What is there at any time is a whole version.
            if let Some(motd) = bed.motd("edge-1") {
                assert!((1..=round).any(|n| motd == versions(n)), "round {round}: half a file: {motd:?}");
            }
        }
        for victim in victims {
            victim.kill();
            victim.wait(DEADLINE);
            victim.restart();
            ready(victim);
        }
        apply.wait(DEADLINE);
    }
    bed.declare("fleet.toml", "the last\n", &["true"]);
    split.apply("2m").expect(0);
    assert_eq!(bed.motd("edge-1").as_deref(), Some("the last\n"));
    let left: Vec<_> = fs::read_dir(bed.root("edge-1").join("etc")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["motd"], "nothing half done is left");
}

#[test]
fn a_play_goes_on_while_the_network_half_is_gone() {
    if !testkit::require("a_play_goes_on_while_the_network_half_is_gone", TOOLS) {
        return;
    }
    let split = Split::found();
    let (hands, mut half) = split.join();
    let bed = &split.bed;
    // The check waits for a file, so that the play is in its middle as long as it has to be.
    let go = bed.path().join("go");
    bed.declare("fleet.toml", "hello\n", &["test", "-e", go.to_str().unwrap()]);
    let fleet = fs::read_to_string(bed.path().join("fleet.toml")).unwrap();
    fs::write(bed.path().join("fleet.toml"), fleet.replace("check_seconds = 1", "check_seconds = 120")).unwrap();
    bed.admin(["apply", "fleet.toml", "--no-wait"]).ok();
    bed.wait_for_motd("edge-1", "hello\n");
    half.kill();
    half.wait(DEADLINE);
    hands.wait_for("the network half is gone");
    fs::write(&go, "").unwrap();
    hands.wait_for("verdict=converged");
    // Back again, it learns how it ended, and nothing is done twice.
    half.restart();
    ready(&half);
    until("the fleet in order", DEADLINE, || {
        let status = bed.json(["status"]);
        if status["in_order"] == 1 { Ok(()) } else { Err(status) }
    });
    // A change that only the network half can judge is undone when that stays away.
    fs::remove_file(&go).unwrap();
    bed.declare("fleet.toml", "lonely\n", &["test", "-e", go.to_str().unwrap()]);
    let fleet = fs::read_to_string(bed.path().join("fleet.toml")).unwrap();
    let fleet = fleet.replace(" }]\ncheck_seconds = 1", " }, { type = \"contact\" }]\ncheck_seconds = 10");
    assert!(fleet.contains("contact"), "{fleet}");
    fs::write(bed.path().join("fleet.toml"), fleet).unwrap();
    bed.admin(["apply", "fleet.toml", "--no-wait"]).ok();
    bed.wait_for_motd("edge-1", "lonely\n");
    half.kill();
    half.wait(DEADLINE);
    fs::write(&go, "").unwrap();
    hands.wait_for("verdict=quarantined");
    assert_eq!(bed.motd("edge-1").as_deref(), Some("hello\n"));
    half.restart();
    until("the fleet hears of it", DEADLINE, || {
        let status = bed.admin(["status"]).ok();
        if status.contains("edge/motd quarantined") { Ok(()) } else { Err(status) }
    });
}
