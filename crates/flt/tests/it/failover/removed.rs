//! A candidate that is removed from the fleet takes nothing with it: the others go on, also after restarts of their agents,
//! and a removed writer is fenced before another one writes.

use testkit::until;

use super::stage::{NAMES, RECOVERY, Stage};
use crate::processes::bed::ready;

impl Stage {
    /// Removes a node from the fleet; gives what the admin is told.
    fn remove(&self, node: &str) -> String {
        let removed = self.bed.admin(["node", "remove", node, "--yes"]).run();
        assert_eq!(removed.code, Some(0), "{}", removed.stderr);
        removed.stderr
    }

    /// Waits until the coordinators go by what is declared without those who left.
    fn wait_until_left_out(&self, left: &[&str]) {
        until("that those who left are left out", RECOVERY, || {
            let status = self.bed.json(["failover", "status"]);
            let cluster = &status["clusters"][0];
            let is_so = cluster["left_out"] == serde_json::json!(left)
                && cluster["in_force"] == true
                && cluster["candidates"].as_array().is_some_and(|all| all.len() == NAMES.len() - left.len());
            if is_so { Ok(()) } else { Err(status) }
        });
    }

    fn restart(&mut self, node: &str) {
        let agent = self.agent(node);
        agent.restart();
        ready(agent);
    }
}

fn others<'a>(than: &[&str]) -> Vec<&'a str> {
    NAMES.into_iter().filter(|name| !than.contains(name)).collect()
}

#[test]
fn a_dead_candidate_is_removed_and_the_others_keep_their_failover() {
    let mut stage = Stage::set();
    let first = stage.writes().unwrap();
    let standbys = others(&[&first.node]);
    let (dead, last) = (standbys[0], standbys[1]);
    stage.agent(dead).kill();
    let told = stage.remove(dead);
    assert!(told.contains("service/ledger: it is left out from then on"), "{told}");
    assert!(told.contains(&first.node) && told.contains(last), "{told}");
    stage.wait_until_left_out(&[dead]);
    let status = stage.bed.admin(["failover", "status"]).ok();
    assert!(
        status.contains(&format!("left out, as no node of that name is in the fleet any more: {dead}")),
        "{status}"
    );
    assert_eq!(stage.writes().unwrap().epoch, first.epoch, "nothing changes for who writes");

    // Agents that start know the cluster: one writes, and who writes may be the other one by now.
    let mut second = stage.writes().unwrap();
    for node in [&*first.node, last] {
        stage.restart(node);
        if second.node == node {
            second = stage.writer_after(second.epoch);
        }
    }
    stage.never_two();
    let third = others(&[dead, &second.node])[0];
    until("the standby to follow", RECOVERY, || {
        let status = stage.bed.json(["failover", "status"]);
        let mut all = status["clusters"][0]["candidates"].as_array().cloned().unwrap_or_default().into_iter();
        if all.any(|one| one["node"] == third && one["stand"] == "following") { Ok(()) } else { Err(status) }
    });
    stage.agent(&second.node).kill();
    assert_eq!(stage.writer_after(second.epoch).node, third);

    // Settings can be changed: without its name.
    let named = stage.try_declare(&NAMES, ", times = { renew_ms = 450 }");
    assert!(named.contains(&format!("`{dead}` is a candidate, and no node of that name is in the fleet")), "{named}");
    stage.restart(&second.node);
    stage.declare_for(&[&second.node, third], ", times = { renew_ms = 450 }");
    until("other settings in force", RECOVERY, || {
        let status = stage.bed.json(["failover", "status"]);
        let cluster = &status["clusters"][0];
        if cluster["in_force"] == true && cluster["settings"]["renew"] == 450_000 { Ok(()) } else { Err(status) }
    });
    stage.never_two();
    stage.strike();
}

#[test]
fn a_removed_writer_is_fenced_before_another_one_writes() {
    let stage = Stage::set();
    let first = stage.writes().unwrap();
    let told = stage.remove(&first.node);
    assert!(told.contains("It writes in service/ledger: its lease is renewed no more"), "{told}");
    let second = stage.writer_after(first.epoch);
    assert_ne!(second.node, first.node);
    stage.never_two();
    stage.wait_until_left_out(&[&first.node]);

    // So is the next one; the last of three goes on alone.
    stage.remove(&second.node);
    let third = stage.writer_after(second.epoch);
    assert_eq!(third.node, others(&[&first.node, &second.node])[0]);
    let mut left = [&*first.node, &*second.node];
    left.sort_unstable();
    stage.wait_until_left_out(&left);
    stage.strike();
}

#[test]
fn a_removed_writer_that_hears_of_nothing_ends_with_its_lease() {
    let mut stage = Stage::set();
    let first = stage.writes().unwrap();
    // It cannot be told: the agent stands still, and the supervisor ends what writes.
    stage.agent(&first.node).freeze();
    stage.remove(&first.node);
    let second = stage.writer_after(first.epoch);
    assert_ne!(second.node, first.node);
    stage.agent(&first.node).thaw();
    until("a while with one writer", RECOVERY, || {
        let line = stage.writes()?;
        let seconds = (line.nanos.saturating_sub(second.nanos)) / 1_000_000_000;
        if seconds > 12 { Ok(()) } else { Err(format!("{seconds} s")) }
    });
    stage.never_two();
    stage.strike();
}

#[test]
fn names_that_nobody_has_are_refused_where_they_are_published() {
    let stage = Stage::set();
    let said = stage.try_declare(&["a", "b", "see"], "");
    assert!(said.contains("`see` is a candidate, and no node of that name is in the fleet or invited"), "{said}");
    stage.strike();
}
