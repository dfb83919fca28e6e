//! The coordinators: one alone, or a group of three on hosts of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use testkit::{DEADLINE, Lan, Namespace, Proc, Program, until};

use crate::processes::bed::{Bed, ready};

/// The hosts of the coordinators; the admin is on the first.
pub(super) const HOSTS: [usize; 3] = [0, 4, 5];

pub(super) struct Coordinators {
    procs: Vec<Proc>,
    folders: Vec<PathBuf>,
}

impl Coordinators {
    pub(super) fn start(bed: &Bed, lan: &Arc<Lan>, hosts: &[Namespace], count: usize) -> Self {
        let mut all = Self { procs: vec![bed.start_coordinator()], folders: vec![bed.path().join("coordinator/data")] };
        for n in 2..=count {
            let (name, data) = (format!("coordinator-{n}"), bed.path().join(format!("c{n}/data")));
            let key = bed.flt().args(["coordinator", "init", "--data"]).arg(&data).ok();
            let host = HOSTS[n - 1];
            let listen = SocketAddr::from((lan.address(host), 4433)).to_string();
            let run = Program::flt().folder(bed.path()).env("HOME", bed.path().join("home")).env("USER", "alice");
            let run = run.in_namespace(&hosts[host - 1]).named(&name).args(["coordinator", "run", "--data"]);
            let run = run.arg(&data).args(["--listen", &listen, "--metrics", "off", "--join", &bed.ticket()]);
            let started = run.spawn();
            started.wait_for("waiting to become a coordinator");
            bed.admin(["coordinator", "enroll", key.trim(), "--name", &name]).ok();
            ready(&started);
            all.procs.push(started);
            all.folders.push(data);
        }
        if count > 1 {
            until("coordinators that said where they are", DEADLINE, || {
                let list = bed.json(["coordinator", "list"]);
                let all = list["coordinators"].as_array().unwrap();
                let placed = all.iter().all(|c| !c["addrs"].as_array().unwrap().is_empty() && c["head"].is_u64());
                if placed { Ok(()) } else { Err(list) }
            });
            bed.admin(["coordinator", "add", "coordinator-2", "coordinator-3"]).limit(DEADLINE * 2).ok();
        }
        all
    }

    /// Which of them leads, as the others say; the only one, if there is one.
    pub(super) fn leader(&self, bed: &Bed) -> usize {
        if self.procs.len() == 1 {
            return 0;
        }
        until("a leader of the coordinators", DEADLINE, || {
            let asked = self.folders.iter().find_map(|folder| {
                let list = bed.admin(["coordinator", "list", "--json"]).arg("--ticket-file").arg(folder.join("ticket"));
                let output = list.run();
                let list: serde_json::Value = serde_json::from_str(&output.stdout).ok()?;
                list["group"]["leader"].as_str().map(str::to_owned)
            });
            let name = asked.ok_or("nobody says")?;
            (0..self.procs.len()).find(|n| name == format!("coordinator-{}", n + 1)).ok_or("somebody else")
        })
    }

    /// Kills these.
    pub(super) fn kill(&mut self, which: &[usize]) {
        for n in which {
            self.procs[*n].kill();
        }
    }

    /// Kills as many as the rest cannot order without, the leader among them.
    pub(super) fn kill_majority(&mut self, leader: usize) {
        let others = (0..self.procs.len()).filter(|n| *n != leader);
        let lost: Vec<usize> = std::iter::once(leader).chain(others).take(self.procs.len() / 2 + 1).collect();
        self.kill(&lost);
    }

    /// Starts those that do not run.
    pub(super) fn come_back(&mut self) {
        for proc in &mut self.procs {
            if !proc.is_running() {
                proc.restart();
                ready(proc);
            }
        }
    }
}
