//! A hub with the coordinator and the admin's store, and nodes that run the first of some systems.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

pub(crate) use testkit::closure::System;
use testkit::{DEADLINE, Machine, Output, until};

use super::hub::{ENV, Hub, agent_config, machine};

/// A founded fleet of machines.
pub(crate) struct Fleet {
    hub: Hub,
    nodes: Vec<Machine>,
    /// The path of each system in the store, by its version.
    pub(crate) systems: BTreeMap<String, String>,
}

/// A system whose agent is a service of it, another one in every version.
pub(crate) fn node_system(version: &str) -> System {
    let mut system = System::new(version);
    system.shared_kib = 1024;
    // An earlier system may have left it down.
    system.hook = "PATH=/usr/sbin:/usr/bin ip link set eth0 up".into();
    let unit = format!(
        "[Unit]\nDescription=agent of system {version}\n[Service]\nType=notify\nNotifyAccess=main\n\
         Environment=VERSION={version} NIX_REMOTE=local\n\
         ExecStart=/usr/local/bin/flt agent run --config /etc/flotilla/agent.toml\n\
         Restart=always\nRestartSec=1\nWatchdogSec=60\nTimeoutStopSec=30\nKillMode=mixed\n"
    );
    system.units.insert("flotilla-agent.service".into(), unit);
    system
}

impl Fleet {
    /// Nothing, if tests that need machines are skipped.
    pub(crate) fn found(test: &str, names: &[&str], systems: &[System]) -> Option<Self> {
        if !testkit::require(test, testkit::MACHINES) {
            return None;
        }
        let nodes = names.iter().map(|name| {
            machine(name)
                .file("/etc/NIXOS", "", 0o644)
                .file("/etc/flotilla/agent.toml", agent_config(name, "127.0.0.1:9478"), 0o644)
                .file("/usr/local/bin/stage-2", STAGE_2, 0o755)
                .file("/etc/systemd/system/stage-2.service", STAGE_2_UNIT, 0o644)
        });
        let (hub, nodes) = Hub::boot(nodes);
        let mut fleet = Self { hub, nodes, systems: BTreeMap::new() };
        fleet.build(systems);
        fleet.hub.found();
        let first = fleet.systems.get(&systems[0].app).cloned()?;
        fleet.hub.ok(&format!("{ENV}nix-store --export $(nix-store -qR {first}) > /var/lib/first.closure"));
        for node in &fleet.nodes {
            fleet.hub.invite(node);
            node.put(fleet.hub.changes().join("var/lib/first.closure"), "/var/lib/first.closure");
            // What an installer does.
            node.ok(&format!(
                "{ENV}nix-store --import < /var/lib/first.closure >/dev/null && mkdir -p /nix/var/nix/profiles && \
                 nix-env -p /nix/var/nix/profiles/system --set {first} && mkdir -p /boot/loader && \
                 printf %s {first} > /boot/loader/default && systemctl enable stage-2.service 2>&1 && \
                 systemctl start stage-2.service"
            ));
            until(&format!("the agent of {} runs", node.name()), DEADLINE, || {
                let state = node.unit_state("flotilla-agent.service");
                let journal = || {
                    node.exec("journalctl --no-pager -o cat -u 'flotilla-*' | tail -40; systemctl status --no-pager 'flotilla-*' | head -40").stdout
                };
                if state == "active" { Ok(()) } else { Err(format!("{state}\n{}", journal())) }
            });
        }
        for name in names {
            until(&format!("{name} offers nixos/1"), DEADLINE, || {
                let facts = fleet.hub.exec(&format!("{ENV}flt admin facts {name}"));
                if facts.stdout.contains("nixos/1") { Ok(()) } else { Err(facts) }
            });
        }
        Some(fleet)
    }

    /// Builds the systems in the admin's store.
    fn build(&mut self, systems: &[System]) {
        let nix = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/nix"));
        self.hub.ok("mkdir -p /root/nix");
        for file in ["closure.nix", "switch-to-configuration.sh"] {
            self.hub.put(nix.join(file), &format!("/root/nix/{file}"));
        }
        for system in systems {
            self.hub.write("/root/nix/spec.json", serde_json::to_vec(system).unwrap());
            let build = "nix-build --quiet --out-link /root/nix/result --argstr spec \"$(cat /root/nix/spec.json)\" \
                         /root/nix/closure.nix";
            let made = self.hub.shell(&format!("{ENV}{build}")).limit(Duration::from_secs(180)).ok();
            self.systems.insert(system.app.clone(), made.trim().to_owned());
        }
    }

    /// Runs `flt` where the admin is, which must succeed.
    pub(crate) fn flt(&self, words: &str) -> String {
        self.hub.flt(words)
    }

    /// Writes the fleet file that declares a system for all nodes.
    pub(crate) fn declare(&self, version: &str, checks: &str, check_seconds: u32) {
        let text = format!(
            "[group.fleet]\non = \"node-*\"\n[group.fleet.score.os]\nkind = \"nixos/1\"\n\
             [group.fleet.score.os.spec]\ntoplevel = \"{}\"\n[group.fleet.score.os.policy]\n\
             check_seconds = {check_seconds}\nchecks = [{{ type = \"unit\", name = \"demo.service\" }}, {{ type = \"contact\" }}{checks}]\n",
            self.systems[version]
        );
        self.hub.write("/root/fleet.toml", text);
    }

    /// Applies a system to all nodes.
    pub(crate) fn apply(&self, version: &str) -> Output {
        self.declare(version, "", 20);
        let apply = format!("{ENV}flt --json admin apply /root/fleet.toml --timeout 4m");
        self.hub.shell(&apply).limit(Duration::from_secs(300)).run()
    }

    pub(crate) fn node(&self, name: &str) -> &Machine {
        self.nodes.iter().find(|node| node.name() == name).unwrap()
    }

    pub(crate) fn node_mut(&mut self, name: &str) -> &mut Machine {
        self.nodes.iter_mut().find(|node| node.name() == name).unwrap()
    }

    /// How many bytes a node has received over the network.
    pub(crate) fn received(&self, name: &str) -> u64 {
        self.node(name).ok("cat /sys/class/net/eth0/statistics/rx_bytes").trim().parse().unwrap()
    }

    /// That a system runs on every node, is what boots, has its own agent, and that nothing is left of what led there.
    #[track_caller]
    pub(crate) fn assert_run(&self, version: &str) {
        let system = &self.systems[version];
        for node in &self.nodes {
            let at = |path: &str| node.ok(&format!("readlink -f {path}")).trim().to_owned();
            let agent = || node.ok("systemctl show -p Environment --value flotilla-agent.service");
            let journal = || node.exec("journalctl -b --no-pager -o cat | tail -60").stdout;
            assert_eq!(&at("/run/current-system"), system, "{} runs\n{}", node.name(), journal());
            assert_eq!(&at("/nix/var/nix/profiles/system"), system, "the profile of {}\n{}", node.name(), journal());
            assert_eq!(node.read("/boot/loader/default").trim(), system, "what {} boots", node.name());
            assert_eq!(node.unit_state("flotilla-agent.service"), "active");
            assert_eq!(node.unit_state("demo.service"), "active");
            assert!(agent().contains(&format!("VERSION={version} ")), "{}", agent());
            assert_eq!(node.ok(HEALTH).trim(), "200 ok", "the health of {}", node.name());
            assert!(node.ok(METRICS).contains("\nflotilla_connected "), "the metrics of {}", node.name());
            until("nothing is armed or at work", DEADLINE, || {
                let left = node.ok("systemctl list-units --all --no-legend 'flotilla-*'");
                let ours = ["flotilla-agent.service", "flotilla-hands.service"];
                let left: Vec<&str> =
                    left.lines().filter(|line| !ours.iter().any(|unit| line.contains(unit))).collect();
                if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
            });
        }
    }
}

const HEALTH: &str = "python3 -c 'import urllib.request as r; a = r.urlopen(\"http://127.0.0.1:9478/healthz\"); \
    print(a.status, a.read().decode())'";
const METRICS: &str = "python3 -c 'import urllib.request as r; \
    print(r.urlopen(\"http://127.0.0.1:9478/metrics\").read().decode())'";

/// What the later half of a NixOS boot does: activates what the boot loader named and starts its units. And a name for
/// the boot, since a machine that shares its kernel has the kernel's.
const STAGE_2: &str = r#"#!/bin/sh
set -eu
if ! mountpoint -q /proc/sys/kernel/random/boot_id; then
  cat /proc/sys/kernel/random/uuid > /run/boot_id
  mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
fi
system=$(cat /boot/loader/default)
ln -sfn "$system" /run/booted-system
"$system/activate" "$system"
for unit in "$system"/etc/systemd/system/*.service; do
  ln -sfn "/etc/static/systemd/system/${unit##*/}" "/etc/systemd/system/${unit##*/}"
done
systemctl daemon-reload
for unit in "$system"/etc/systemd/system/*.service; do systemctl start --no-block "${unit##*/}"; done
"#;
const STAGE_2_UNIT: &str = "[Unit]\nDescription=Start the system\n[Service]\nType=oneshot\n\
    ExecStart=/usr/local/bin/stage-2\n[Install]\nWantedBy=multi-user.target\n";
