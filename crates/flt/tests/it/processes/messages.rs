//! Mistakes get a message that says what was wrong and what to do, and an exit code; nothing is lost by them.

use testkit::{DEADLINE, Output, until};

use super::bed::{Bed, ready};

/// That it ended with a code and said all of this on stderr.
#[track_caller]
fn says(output: Output, code: i32, all: &[&str]) {
    let output = output.expect(code);
    for text in all {
        assert!(output.stderr.contains(text), "{text:?} is missing in:\n{}", output.stderr);
    }
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
}

#[test]
fn one_process_per_data_folder() {
    let bed = Bed::found();
    let coordinator = bed.start_coordinator();
    let agent = bed.join("edge-1");
    let used = |pid: u32| format!("is in use by process {pid}");
    let second = bed.agent("edge-1").run();
    says(second, 1, &[&used(agent.pid()), "--data DIR"]);
    let second = bed.flt().args(["coordinator", "run", "--config", "coordinator/coordinator.toml"]);
    let second = second.args(["--listen", "127.0.0.1:0", "--metrics", "off"]).run();
    says(second, 1, &[&used(coordinator.pid()), "--data DIR"]);
    assert!(agent.is_running() && coordinator.is_running());
}

#[test]
fn tickets_that_cannot_be_used_say_why() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let ticket = bed.invite();
    let join = |ticket: &str| bed.agent("x").args(["--join", ticket]);
    says(join("nonsense").run(), 2, &["this is no ticket", "flt admin invite"]);
    says(join(&ticket[..ticket.len() - 9]).run(), 2, &["the ticket is damaged or incomplete"]);
    let mut swapped: Vec<char> = ticket.chars().collect();
    let middle = swapped.len() / 2;
    swapped[middle] = if swapped[middle] == 'a' { 'b' } else { 'a' };
    says(join(&swapped.iter().collect::<String>()).run(), 2, &["the ticket is damaged or incomplete"]);
    says(bed.agent("x").run(), 64, &["the agent has no ticket", "flt admin invite"]);
    // Used, expired, and of a fleet that is not here: the agent goes on asking, and says what is wrong.
    let first = join(&ticket).spawn();
    first.wait_for("joined the fleet");
    let used = bed.agent("y").args(["--join", &ticket]).spawn();
    used.wait_for("the invite was redeemed already");
    used.wait_for("flt admin invite");
    let short = bed.admin(["invite", "--expires", "1s"]).ok();
    until("its end", DEADLINE, || {
        let open = bed.json(["status"])["open_invites"].clone();
        if open == 0 { Ok(()) } else { Err(open) }
    });
    let late = bed.agent("z").args(["--join", short.trim()]).spawn();
    late.wait_for("expired");
    // An admin's copy is of one fleet, and a ticket of another is refused.
    let other = Bed::found();
    let _others = other.start_coordinator();
    says(bed.admin(["use", &other.ticket()]).run(), 2, &["the ticket of another"]);
    bed.admin(["status"]).ok();
}

#[test]
fn a_fleet_file_with_mistakes_is_refused_before_anything_is_published() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let _agent = bed.join("edge-1");
    bed.declare("fleet.toml", "hello\n", &["true"]);
    let good = std::fs::read_to_string(bed.path().join("fleet.toml")).unwrap();
    let head = bed.json(["status"])["head"].clone();
    for (from, to, all) in [
        ("files/1", "filez/1", &["bad.toml:5:8", "`filez/1` is not a kind", "did you mean `files/1`?"][..]),
        ("entries.", "entriez.", &["bad.toml:9:1", "unknown field `entriez`", "did you mean `entries`?"]),
        ("role=edge", "role=none", &["`role=none` matches none of the fleet's 1 nodes", "--allow-empty"]),
        ("content = \"hello\\n\"", "file = \"gone\"", &["bad.toml:9:", "cannot read", "gone: No such file"]),
        ("[group.edge]\n", "[group.edge\n", &["bad.toml:1:"]),
        ("root = \"/etc\"", "root = \"etc\"", &["bad.toml:8:"]),
    ] {
        assert!(good.contains(from), "{from}");
        std::fs::write(bed.path().join("bad.toml"), good.replace(from, to)).unwrap();
        says(bed.admin(["plan", "bad.toml"]).run(), 1, all);
        says(bed.admin(["apply", "bad.toml"]).run(), 1, all);
    }
    says(bed.admin(["apply", "nope.toml"]).run(), 1, &["cannot read the fleet file nope.toml", "No such file"]);
    says(bed.admin(["node", "show", "nobody"]).run(), 1, &["`nobody`", "flt admin node list"]);
    says(bed.admin(["rollback", "edge/nope"]).run(), 1, &["`edge/nope`", "flt admin score list"]);
    assert_eq!(bed.json(["status"])["head"], head, "nothing was entered");
}

#[test]
fn a_kind_that_no_node_offers_is_refused_at_publish() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let _agent = bed.join("edge-1");
    let system = "/nix/store/00000000000000000000000000000000-nixos-system-none-1";
    let text = format!(
        "[group.edge]\non = \"role=edge\"\n[group.edge.score.os]\nkind = \"nixos/1\"\nspec = {{ toplevel = \"{system}\" }}\n"
    );
    std::fs::write(bed.path().join("fleet.toml"), text).unwrap();
    let refused = bed.admin(["apply", "fleet.toml"]).run().expect(1);
    assert!(refused.stderr.contains("nixos"), "{refused:?}");
    assert!(!refused.stdout.contains("published"), "{refused:?}");
}

#[test]
fn keys_that_cannot_be_read_say_why() {
    use std::os::unix::fs::PermissionsExt;
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    says(bed.admin(["status", "--key-file", "nokey"]).run(), 1, &["nokey", "flt key new"]);
    std::fs::write(bed.path().join("empty"), "").unwrap();
    std::fs::set_permissions(bed.path().join("empty"), PermissionsExt::from_mode(0o600)).unwrap();
    says(bed.admin(["status", "--key-file", "empty"]).run(), 1, &["not a key", "flt key new"]);
    bed.flt().args(["key", "new", "--out", "mine"]).ok();
    // Somebody whom the fleet does not know may look at nothing.
    let stranger = bed.admin(["status", "--key-file", "mine"]).run().expect(1);
    assert!(stranger.stderr.contains("flt admin grant"), "{stranger:?}");
    std::fs::set_permissions(bed.path().join("mine"), PermissionsExt::from_mode(0o644)).unwrap();
    says(bed.admin(["status", "--key-file", "mine"]).run(), 1, &["chmod 600"]);
}

#[test]
fn a_damaged_data_folder_is_named_and_left_alone() {
    let bed = Bed::found();
    let mut coordinator = bed.start_coordinator();
    let mut agent = bed.join("edge-1");
    for daemon in [&mut agent, &mut coordinator] {
        daemon.kill();
        daemon.wait(DEADLINE);
    }
    for (daemon, data) in
        [(bed.agent("edge-1"), bed.data("edge-1")), (bed.coordinator(), bed.path().join("coordinator/data"))]
    {
        let file = data.join("state.redb");
        let garbage: Vec<u8> = (0..65_536_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        std::fs::write(&file, &garbage).unwrap();
        says(daemon.run(), 1, &["is damaged", "`key` and `ticket`", "restored from a copy"]);
        assert_eq!(std::fs::read(&file).unwrap(), garbage, "what is damaged is kept for whoever can save it");
    }
}

#[test]
fn a_node_whose_folder_was_lost_comes_back_with_its_key() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let mut agent = bed.join("edge-1");
    bed.declare("fleet.toml", "hello\n", &["true"]);
    bed.admin(["apply", "fleet.toml"]).ok();
    agent.kill();
    agent.wait(DEADLINE);
    // As the manual says: the folder aside, the key kept.
    let aside = bed.path().join("aside");
    std::fs::rename(bed.data("edge-1"), &aside).unwrap();
    std::fs::create_dir(bed.data("edge-1")).unwrap();
    for kept in ["key", "ticket"] {
        std::fs::copy(aside.join(kept), bed.data("edge-1").join(kept)).unwrap();
    }
    let back = bed.agent("edge-1").spawn();
    ready(&back);
    bed.declare("fleet.toml", "again\n", &["true"]);
    bed.admin(["apply", "fleet.toml"]).ok();
    assert_eq!(bed.motd("edge-1").as_deref(), Some("again\n"));
}

#[test]
fn a_coordinator_that_is_not_there_is_named_and_nothing_is_lost() {
    let bed = Bed::found();
    let mut coordinator = bed.start_coordinator();
    let _agent = bed.join("edge-1");
    bed.declare("fleet.toml", "hello\n", &["true"]);
    coordinator.terminate();
    coordinator.wait(DEADLINE).expect(0);
    says(bed.admin(["apply", "fleet.toml"]).run(), 1, &["cannot fetch the ledger", "flt doctor"]);
    // What this machine has seen can still be looked at.
    assert!(bed.admin(["log", "--offline", "--verify"]).ok().contains("redeem"));
    coordinator.restart();
    ready(&coordinator);
    bed.admin(["apply", "fleet.toml"]).ok();
    assert_eq!(bed.motd("edge-1").as_deref(), Some("hello\n"));
}

#[test]
fn an_agent_that_starts_before_its_coordinator_joins_when_that_comes() {
    let bed = Bed::found();
    let mut coordinator = bed.start_coordinator();
    let invite = bed.invite();
    coordinator.terminate();
    coordinator.wait(DEADLINE).expect(0);
    let agent = bed.agent("edge-1").args(["--join", &invite]).spawn();
    agent.wait_for("cannot follow the ledger");
    coordinator.restart();
    ready(&coordinator);
    agent.wait_for("joined the fleet");
}
