//! Coordinators that order as a group, as processes: the leader killed, the majority lost, members replaced.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::Value;
use testkit::{DEADLINE, Proc, Program, free_port, until};

use super::pair::{again, kill, refused};
use crate::processes::bed::{Bed, ready};

struct Circle {
    bed: Bed,
    listens: Vec<SocketAddr>,
}

impl Circle {
    fn found() -> Self {
        let listens = (0..4).map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))).collect();
        Self { bed: Bed::found(), listens }
    }

    /// Starts coordinators 1 to `count`; all but the first are enrolled while it works.
    fn start(&self, count: usize) -> Vec<Proc> {
        let mut procs = vec![self.bed.start_coordinator()];
        procs.extend((2..=count).map(|n| self.enroll(n)));
        self.are_placed();
        procs
    }

    fn data(&self, n: usize) -> PathBuf {
        if n == 1 { self.bed.path().join("coordinator/data") } else { self.bed.path().join(format!("c{n}/data")) }
    }

    fn enroll(&self, n: usize) -> Proc {
        let key = self.bed.flt().args(["coordinator", "init", "--data"]).arg(self.data(n)).ok();
        let name = format!("coordinator-{n}");
        let run = self.bed.flt().named(&name).args(["coordinator", "run", "--data"]).arg(self.data(n));
        let run = run.args(["--listen", &self.listens[n - 1].to_string(), "--metrics", "off"]);
        let started = run.args(["--join", &self.bed.ticket()]).spawn();
        started.wait_for("waiting to become a coordinator");
        self.bed.admin(["coordinator", "enroll", key.trim(), "--name", &name]).ok();
        ready(&started);
        started
    }

    fn are_placed(&self) {
        until("coordinators that said where they are", DEADLINE, || {
            let list = self.bed.json(["coordinator", "list"]);
            let all = list["coordinators"].as_array().unwrap();
            let placed = all.iter().all(|c| !c["addrs"].as_array().unwrap().is_empty() && c["head"].is_u64());
            if placed { Ok(()) } else { Err(list) }
        });
    }

    /// A command that first tries this coordinator.
    fn by<const N: usize>(&self, n: usize, words: [&str; N]) -> Program {
        self.bed.admin(words).arg("--ticket-file").arg(self.data(n).join("ticket"))
    }

    /// Waits until one of these leads and all members that vote are as many as said.
    fn leader(&self, at: usize, voters: usize, among: &[usize]) -> usize {
        let mut leader = 0;
        until("a leader", DEADLINE, || {
            let text = self.by(at, ["coordinator", "list", "--json"]).ok();
            let list: Value = serde_json::from_str(&text).unwrap();
            let name = list["group"]["leader"].as_str().unwrap_or_default().to_owned();
            let found = among.iter().copied().find(|n| name == format!("coordinator-{n}"));
            match found.filter(|_| list["group"]["voters"] == voters) {
                Some(found) => {
                    leader = found;
                    Ok(())
                }
                None => Err(list),
            }
        });
        leader
    }
}

#[test]
fn the_leader_is_killed_while_an_admin_applies_and_nobody_notices() {
    let circle = Circle::found();
    let bed = &circle.bed;
    let mut procs = circle.start(3);
    let said = refused(&bed.admin(["coordinator", "add", "coordinator-2"]));
    assert!(said.contains("it may have 1, 3 or 5"), "{said}");
    let made = bed.admin(["coordinator", "add", "coordinator-2", "coordinator-3"]).limit(DEADLINE * 2).ok();
    assert!(made.contains("A group of 3"), "{made}");
    let _agent = bed.join("edge-1");
    let leader = circle.leader(1, 3, &[1, 2, 3]);
    let other = if leader == 2 { 3 } else { 2 };
    bed.declare("fleet.toml", "through the group\n", &["true"]);
    let apply = circle.by(other, ["apply", "fleet.toml", "--timeout", "2m"]).limit(DEADLINE * 3);
    std::thread::scope(|scope| {
        let applied = scope.spawn(|| apply.ok());
        kill(&mut procs[leader - 1]);
        applied.join().unwrap();
    });
    assert_eq!(bed.motd("edge-1").as_deref(), Some("through the group\n"));
    let rest: Vec<usize> = (1..=3).filter(|n| *n != leader).collect();
    circle.leader(other, 3, &rest);
    // What orders now is not what the ledger names, and it does not matter.
    circle.by(other, ["invite"]).ok();
    again(&mut procs[leader - 1]);
    circle.leader(leader, 3, &[1, 2, 3]);
    circle.by(leader, ["invite"]).ok();
    circle.by(other, ["log", "--verify"]).ok();
    // Who is a member is not retired, and nobody outside is appointed.
    let said = refused(&circle.by(other, ["coordinator", "retire", "coordinator-3", "--reason", "x", "--yes"]));
    assert!(said.contains("is a member of the group"), "{said}");
}

#[test]
fn without_a_majority_commands_say_who_is_missing_and_what_is_published_goes_on() {
    let circle = Circle::found();
    let bed = &circle.bed;
    let mut procs = circle.start(3);
    bed.admin(["coordinator", "add", "coordinator-2", "coordinator-3"]).limit(DEADLINE * 2).ok();
    let mut agent = bed.join("edge-1");
    kill(&mut agent);
    bed.declare("fleet.toml", "before the loss\n", &["true"]);
    bed.admin(["apply", "fleet.toml", "--no-wait"]).limit(DEADLINE).ok();
    circle.leader(1, 3, &[1, 2, 3]);
    kill(&mut procs[1]);
    kill(&mut procs[2]);
    let said = refused(&circle.by(1, ["invite"]).limit(DEADLINE * 2));
    assert!(said.contains("orders nothing right now") && said.contains("of its 3 coordinators 2 must"), "{said}");
    assert!(said.contains("`coordinator-2`, `coordinator-3`"), "{said}");
    let list = circle.by(1, ["coordinator", "list"]).ok();
    assert!(list.contains("nobody leads"), "{list}");
    agent.restart();
    bed.wait_for_motd("edge-1", "before the loss\n");
    again(&mut procs[1]);
    circle.leader(1, 3, &[1, 2]);
    circle.by(1, ["invite"]).ok();
}

#[test]
fn a_member_is_replaced_while_it_orders_and_the_old_one_is_told_when_it_comes_back() {
    let circle = Circle::found();
    let bed = &circle.bed;
    let mut procs = circle.start(4);
    bed.admin(["coordinator", "add", "coordinator-2", "coordinator-3"]).limit(DEADLINE * 2).ok();
    let named = refused(&bed.admin(["coordinator", "add", "coordinator-4", "--replace", "coordinator-1"]));
    assert!(named.contains("coordinator appoint"), "{named}");
    kill(&mut procs[2]);
    let made =
        bed.admin(["coordinator", "add", "coordinator-4", "--replace", "coordinator-3"]).limit(DEADLINE * 2).ok();
    assert!(made.contains("coordinator-4") && !made.contains("coordinator-3"), "{made}");
    circle.by(4, ["invite"]).ok();
    again(&mut procs[2]);
    procs[2].wait_for("was removed from the group");
    // It follows, and hands on what it is given.
    until("an entry through the one that was removed", DEADLINE, || {
        let output = circle.by(3, ["invite"]).run();
        if output.code == Some(0) { Ok(()) } else { Err(output.stderr) }
    });
    // The one that lost its disk takes its own place again.
    kill(&mut procs[1]);
    std::fs::remove_file(circle.data(2).join("group.redb")).unwrap();
    again(&mut procs[1]);
    until("the member with a new disk", DEADLINE, || {
        let output = circle.by(1, ["coordinator", "add", "coordinator-2"]).limit(DEADLINE * 2).run();
        if output.code == Some(0) { Ok(()) } else { Err(output.stderr) }
    });
    kill(&mut procs[3]);
    circle.leader(1, 3, &[1, 2]);
    circle.by(2, ["invite"]).ok();
}
