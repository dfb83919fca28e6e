//! The machine with the coordinator and the admin's store, and the network between it and the nodes.

use std::net::Ipv4Addr;
use std::ops::Deref;
use std::time::Duration;

use testkit::{Lan, Machine, MachineSpec, Output, flt_binary};

pub(super) struct Hub {
    _lan: Lan,
    machine: Machine,
    address: Ipv4Addr,
}

impl Hub {
    /// Boots it with these nodes, and connects them.
    pub(super) fn boot(nodes: impl Iterator<Item = MachineSpec>) -> (Self, Vec<Machine>) {
        let hub = machine("hub").file("/etc/systemd/system/flotilla-coordinator.service", COORDINATOR, 0o644);
        let mut machines = MachineSpec::boot_all(std::iter::once(hub).chain(nodes));
        let nodes = machines.split_off(1);
        let machine = machines.remove(0);
        let mut lan = Lan::new(0);
        let number = lan.attach(machine.network());
        let address = lan.address(number);
        for node in &nodes {
            lan.attach(node.network());
        }
        (Self { _lan: lan, machine, address }, nodes)
    }

    /// Founds the fleet, and starts its coordinator.
    pub(super) fn found(&self) {
        self.flt("admin init --name acme --dir /etc/flotilla/coordinator");
        let listen = format!("LISTEN=0.0.0.0:4433\nADVERTISE={}:4433\n", self.address);
        self.write("/etc/flotilla/coordinator.env", listen);
        self.ok("systemctl start flotilla-coordinator.service");
        self.flt("admin use $(cat /var/lib/flotilla-coordinator/ticket)");
    }

    /// Gives a node a ticket of its own.
    pub(super) fn invite(&self, node: &Machine) {
        let ticket = self.flt(&format!("admin invite --name {}", node.name()));
        node.write_with_mode("/etc/flotilla/ticket", ticket, 0o600);
    }

    /// Runs `flt` where the admin is, which must succeed.
    pub(super) fn flt(&self, words: &str) -> String {
        self.shell(&format!("{ENV}flt {words}")).limit(LIMIT).ok()
    }

    /// Runs it, whatever becomes of it.
    pub(super) fn try_flt(&self, words: &str) -> Output {
        self.shell(&format!("{ENV}flt {words}")).limit(LIMIT).run()
    }
}

impl Deref for Hub {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}

/// A machine that has `flt`.
pub(super) fn machine(name: &str) -> MachineSpec {
    MachineSpec::new(testkit::rootfs(), name).bind(flt_binary(), "/usr/local/bin/flt")
}

/// The agent's configuration on a node.
pub(super) fn agent_config(name: &str, metrics: &str) -> String {
    format!(
        "data = \"/var/lib/flotilla-agent\"\nticket-file = \"/etc/flotilla/ticket\"\nname = \"{name}\"\n\
         metrics = \"{metrics}\"\nheartbeat-seconds = 2\n"
    )
}

/// What a person at the hub has.
pub(super) const ENV: &str = "export HOME=/root NIX_REMOTE=local; cd /root; ";
/// How long one command of the admin's may take.
const LIMIT: Duration = Duration::from_secs(300);

const COORDINATOR: &str = "[Unit]\nDescription=coordinator\n[Service]\nType=notify\nNotifyAccess=main\n\
    EnvironmentFile=/etc/flotilla/coordinator.env\n\
    ExecStart=/usr/local/bin/flt coordinator run --config /etc/flotilla/coordinator/coordinator.toml \
    --data /var/lib/flotilla-coordinator --listen ${LISTEN} --advertise ${ADVERTISE}\n\
    Restart=always\nWatchdogSec=60\nTimeoutStopSec=30\nKillMode=mixed\n";
