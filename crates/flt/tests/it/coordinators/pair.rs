//! A fleet with two coordinators.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;
use testkit::{DEADLINE, Output, Proc, Program, free_port, until};

use crate::processes::bed::{Bed, ready};

pub(super) struct Pair {
    pub(super) bed: Bed,
    /// Where the second one listens.
    listen: SocketAddr,
}

impl Pair {
    pub(super) fn found() -> Self {
        Self { bed: Bed::found(), listen: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())) }
    }

    /// Starts both; the second one is enrolled while the first one works.
    pub(super) fn start(&self) -> (Proc, Proc) {
        let first = self.bed.start_coordinator();
        let second = self.enroll_second();
        (first, second)
    }

    pub(super) fn enroll_second(&self) -> Proc {
        let data = self.second_data();
        let key = self.bed.flt().args(["coordinator", "init", "--data"]).arg(&data).ok();
        let second = self.second().args(["--join", &self.bed.ticket()]).spawn();
        second.wait_for("waiting to become a coordinator");
        self.bed.admin(["coordinator", "enroll", key.trim(), "--name", "coordinator-2"]).ok();
        ready(&second);
        self.are_together();
        second
    }

    pub(super) fn second(&self) -> Program {
        self.second_at(self.listen)
    }

    pub(super) fn second_at(&self, listen: SocketAddr) -> Program {
        let listen = listen.to_string();
        let run = self.bed.flt().named("coordinator-2").args(["coordinator", "run", "--data"]);
        run.arg(self.second_data()).args(["--listen", &listen, "--metrics", "off"])
    }

    pub(super) fn second_data(&self) -> std::path::PathBuf {
        self.bed.path().join("second/data")
    }

    /// A command that first tries the second coordinator.
    pub(super) fn by_second<const N: usize>(&self, words: [&str; N]) -> Program {
        self.bed.admin(words).arg("--ticket-file").arg(self.second_data().join("ticket"))
    }

    /// What each coordinator has: name, whether it orders, newest entry.
    pub(super) fn list(&self) -> Vec<(String, bool, Option<u64>)> {
        let list = self.bed.json(["coordinator", "list"]);
        let one =
            |c: &Value| (c["name"].as_str().unwrap().to_owned(), c["orders"].as_bool().unwrap(), c["head"].as_u64());
        list["coordinators"].as_array().unwrap().iter().map(one).collect()
    }

    /// Waits until all coordinators answer, have the same newest entry, and said where they are.
    pub(super) fn are_together(&self) {
        until("coordinators that agree", DEADLINE, || {
            let list = self.bed.json(["coordinator", "list"]);
            let all = list["coordinators"].as_array().unwrap();
            let placed = all.iter().all(|c| !c["addrs"].as_array().unwrap().is_empty());
            let heads: Vec<_> = all.iter().map(|c| c["head"].as_u64()).collect();
            if placed && heads[0].is_some() && heads.iter().all(|h| *h == heads[0]) { Ok(()) } else { Err(list) }
        });
    }

    /// A new invite, through whichever coordinator answers; gives the entry.
    pub(super) fn invite(&self) -> u64 {
        self.bed.json(["invite"])["entry"].as_u64().unwrap()
    }

    /// Waits until a node was heard a moment ago, by whichever coordinator.
    pub(super) fn is_online(&self, name: &str) {
        self.node(name, "heard a moment ago", |row| row["silent_seconds"].as_u64().is_some_and(|s| s <= 5));
    }

    /// Waits until a node has said that it has the newest entry.
    pub(super) fn has_all(&self, name: &str) {
        self.node(name, "with the newest entry", |row| row["behind"] == 0);
    }

    fn node(&self, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) {
        until(&format!("{name} {what}"), DEADLINE, || {
            let nodes = self.bed.json(["node", "list"]);
            let row = nodes["nodes"].as_array().unwrap().iter().find(|row| row["name"] == name);
            if row.is_some_and(&is_so) { Ok(()) } else { Err(nodes) }
        });
    }

    /// The whole ledger as the coordinators have it, entry by entry, exported.
    pub(super) fn export(&self) -> Vec<String> {
        let file = self.bed.path().join("export.jsonl");
        drop(std::fs::remove_file(&file));
        self.bed.admin(["log", "--export"]).arg(&file).ok();
        std::fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect()
    }
}

/// Kills a daemon and waits until it is gone.
pub(super) fn kill(daemon: &mut Proc) {
    daemon.kill();
    daemon.wait(DEADLINE);
}

pub(super) fn again(daemon: &mut Proc) {
    daemon.restart();
    ready(daemon);
}

/// What a refused command says.
pub(super) fn refused(program: &Program) -> String {
    let output: Output = program.run().expect(1);
    output.stderr
}
