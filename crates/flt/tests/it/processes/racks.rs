//! A fleet, simulated switches that its agents manage, and VLANs that are declared on them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use switchsim::{Profile, Sim};
use testkit::{DEADLINE, Proc, until};
use tokio::runtime::Runtime;

use super::bed::Bed;

/// A fleet, and switches that live as long as this.
pub(super) struct Racks {
    pub(super) bed: Bed,
    pub(super) coordinator: Proc,
    /// The fleet file.
    pub(super) fleet: String,
    /// Its tasks are the switches'.
    runtime: Runtime,
}

impl Racks {
    pub(super) fn found() -> Self {
        let bed = Bed::found();
        let coordinator = bed.start_coordinator();
        fs::write(bed.path().join("switch.password"), "secret\n").unwrap();
        fs::write(bed.path().join("switch.enable"), "enable\n").unwrap();
        Self { bed, coordinator, fleet: String::new(), runtime: Runtime::new().unwrap() }
    }

    pub(super) fn switch(&self, profile: Profile) -> Sim {
        self.runtime.block_on(Sim::start(profile)).unwrap()
    }

    /// What an agent's configuration says of a switch; more of its keys may follow.
    pub(super) fn device(name: &str, sim: &Sim) -> String {
        format!(
            "[devices.{name}]\nkind = \"switch\"\naddress = \"{}\"\nuser = \"admin\"\nhost-key = {:?}\n\
             password-file = \"switch.password\"\nenable-password-file = \"switch.enable\"\n",
            sim.addr(),
            sim.fingerprint(),
        )
    }

    /// An agent with this configuration.
    pub(super) fn join(&self, node: &str, config: &str) -> Proc {
        let file = self.file(&format!("{node}.toml"));
        fs::write(&file, config).unwrap();
        self.bed.join_by(self.bed.agent(node).arg("--config").arg(file), node)
    }

    /// Declares a VLAN; with a file, its checks pass when that is there, and have so many seconds.
    pub(super) fn vlan(&mut self, node: &str, device: &str, (vlan, name): (u16, &str), go: Option<(&Path, u32)>) {
        writeln!(
            self.fleet,
            "[group.{node}-{vlan}]\non = {node:?}\n[group.{node}-{vlan}.score.vlan]\nkind = \"switch.vlan/1\"\n\
             [group.{node}-{vlan}.score.vlan.spec]\ndevice = {device:?}\nvlan = {vlan}\nname = {name:?}"
        )
        .unwrap();
        if let Some((go, seconds)) = go {
            writeln!(
                self.fleet,
                "[group.{node}-{vlan}.score.vlan.policy]\ncheck_seconds = {seconds}\n\
                 checks = [{{ type = \"exec\", command = [\"test\", \"-e\", {go:?}] }}]"
            )
            .unwrap();
        }
    }

    pub(super) fn publish(&self) {
        fs::write(self.file("fleet.toml"), &self.fleet).unwrap();
        self.bed.admin(["apply", "fleet.toml", "--no-wait", "--yes"]).ok();
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.bed.path().join(name)
    }

    pub(super) fn in_order(&self, nodes: u64) {
        until("the fleet in order", DEADLINE, || {
            let status = self.bed.json(["status"]);
            if status["in_order"] == nodes { Ok(()) } else { Err(status) }
        });
    }
}
