//! Who orders, and who takes over.

use std::net::{Ipv4Addr, SocketAddr};

use testkit::{DEADLINE, free_port, until};

use super::pair::{Pair, again, kill, refused};
use crate::processes::bed::{get, ready};

#[test]
fn a_second_coordinator_takes_over_and_the_first_returns_as_a_follower() {
    let pair = Pair::found();
    let (mut first, _second) = pair.start();
    let agent = pair.bed.join("edge-1");
    // By the follower, which hands it on: what was entered is there for both at once.
    let entry = pair.by_second(["--json", "invite"]).ok();
    assert!(entry.contains("\"entry\""), "{entry}");
    assert!(first.stderr().contains("entry appended") || first.stdout().contains("entry appended"));
    let (_, _, before) = pair.list().remove(0);
    kill(&mut first);
    // Everything that only reads goes on, and says whom it skipped.
    let status = pair.bed.admin(["status"]).run().expect(0);
    assert!(status.stderr.contains("skipped the coordinator"), "{}", status.stderr);
    // The agent's heartbeats go to the other one.
    until("the agent at the second coordinator", DEADLINE, || {
        let log = agent.stderr();
        if log.matches("following the ledger").count() >= 2 { Ok(()) } else { Err(log) }
    });
    pair.is_online("edge-1");
    let said = refused(&pair.bed.admin(["invite"]));
    assert!(said.contains("cannot be reached from here") && said.contains("coordinator appoint"), "{said}");
    pair.bed.admin(["coordinator", "appoint", "coordinator-2"]).ok();
    pair.bed.declare("fleet.toml", "by the second\n", &["true"]);
    pair.bed.admin(["apply", "fleet.toml", "--timeout", "2m"]).limit(DEADLINE * 3).ok();
    assert_eq!(pair.bed.motd("edge-1").as_deref(), Some("by the second\n"));
    again(&mut first);
    pair.are_together();
    let list = pair.list();
    assert!(!list[0].1 && list[1].1 && list[0].2 > before, "{list:?}");
    // What is given to the first one now goes to the second.
    pair.invite();
    pair.are_together();
    // Live, in both directions, as often as one likes.
    for name in ["coordinator-1", "coordinator-2", "coordinator-1"] {
        pair.bed.admin(["coordinator", "appoint", name]).ok();
        pair.invite();
        pair.by_second(["invite"]).ok();
    }
    pair.are_together();
    assert!(pair.list()[0].1);
    let log = pair.bed.admin(["log", "--verify"]).ok();
    assert_eq!(log.matches(" appoint ").count(), 4, "{log}");
}

#[test]
fn an_acknowledged_entry_that_only_an_agent_has_is_not_lost() {
    let pair = Pair::found();
    let (mut first, mut second) = pair.start();
    let _agent = pair.bed.join("edge-1");
    pair.are_together();
    kill(&mut second);
    let entry = pair.invite();
    pair.has_all("edge-1");
    kill(&mut first);
    again(&mut second);
    // The agent says what it has seen, and gives it.
    second.wait_for("took entries that were missing here");
    pair.bed.admin(["coordinator", "appoint", "coordinator-2"]).limit(DEADLINE * 2).ok();
    assert!(pair.invite() > entry);
    again(&mut first);
    pair.are_together();
}

#[test]
fn histories_that_differ_are_never_merged() {
    let pair = Pair::found();
    let (mut first, mut second) = pair.start();
    kill(&mut second);
    // Nobody but the first coordinator ever has this one.
    let lost = pair.invite();
    kill(&mut first);
    // Not even the admin.
    std::fs::remove_dir_all(pair.bed.path().join("home/.local/share/flotilla/admin/ledger")).unwrap();
    again(&mut second);
    pair.by_second(["coordinator", "appoint", "coordinator-2"]).limit(DEADLINE * 2).ok();
    let after: u64 =
        serde_json::from_str::<serde_json::Value>(&pair.by_second(["--json", "invite"]).ok()).unwrap()["entry"]
            .as_u64()
            .unwrap();
    assert!(after > lost);
    again(&mut first);
    first.wait_for("another history");
    second.wait_for("not part of the ledger any more");
    until("the alarm", DEADLINE, || {
        let metrics = get(pair.bed.metrics, "/metrics");
        if metrics.contains("flotilla_split 1") { Ok(()) } else { Err(metrics) }
    });
    // Also after a restart.
    kill(&mut first);
    again(&mut first);
    assert!(get(pair.bed.metrics, "/metrics").contains("flotilla_split 1"));
    // The other one goes on, and commands that come to this one first are sent there.
    let status = pair.bed.admin(["status"]).run().expect(0);
    assert!(status.stderr.contains("skipped the coordinator"), "{}", status.stderr);
    pair.by_second(["invite"]).ok();
    let log = pair.by_second(["log", "--verify"]).ok();
    assert!(log.contains(" appoint "), "{log}");
}

#[test]
fn a_coordinator_moves_and_another_is_retired() {
    let pair = Pair::found();
    let (mut first, mut second) = pair.start();
    let mut agent = pair.bed.join("edge-1");
    pair.are_together();
    let said = refused(&pair.bed.admin(["coordinator", "retire", "coordinator-1", "--reason", "a test", "--yes"]));
    assert!(said.contains("orders the ledger") && said.contains("coordinator appoint"), "{said}");
    // The second one moves to another port, says so, and is found by nodes that knew only the old one.
    kill(&mut second);
    let there = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let moved = pair.second_at(there).spawn();
    ready(&moved);
    until("the new place", DEADLINE, || {
        let list = pair.bed.json(["coordinator", "list"]);
        let addrs = list["coordinators"][1]["addrs"].to_string();
        if addrs.contains(&there.to_string()) { Ok(()) } else { Err(list) }
    });
    pair.are_together();
    let ticket = pair.bed.admin(["coordinator", "ticket"]).ok();
    let ticket: protocols::Ticket = ticket.trim().parse().unwrap();
    assert_eq!(ticket.coordinators.len(), 2);
    assert!(ticket.coordinators.iter().any(|c| c.addrs.contains(&there)), "{ticket:?}");
    pair.bed.admin(["coordinator", "appoint", "coordinator-2"]).ok();
    kill(&mut first);
    pair.is_online("edge-1");
    pair.bed.admin(["coordinator", "retire", "coordinator-1", "--reason", "a test", "--yes"]).ok();
    // It learns of it when it comes back, and serves nobody.
    again(&mut first);
    pair.invite();
    assert_eq!(pair.list().len(), 1);
    // A node that starts anew finds its way by the ledger alone: its ticket names the retired one.
    kill(&mut agent);
    agent.restart();
    pair.is_online("edge-1");
    drop(moved);
}
