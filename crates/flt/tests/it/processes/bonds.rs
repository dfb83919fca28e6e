//! A bond of a node and its switch as one change: a real fleet, a simulated switch behind real SSH, and a host below a
//! folder, where a stand-in does with the files of systemd-networkd what the real one does, and tells of the bond as the
//! kernel does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use switchsim::{Profile, Sim};
use testkit::{DEADLINE, Proc, until};

use super::bed::ready;
use super::racks::Racks;

/// Makes what is declared below its folder: a bond stays until it is deleted, and has the members that say so. Takes
/// nothing that lasts while there is a file `refuse`, and does nothing before there is none called `hold`.
const NETWORKCTL: &str = r#"#!/bin/sh
root=ROOT
[ -e $root/refuse ] && ls $root/etc/systemd/network/05-* >/dev/null 2>&1 && { echo 'Failed to reload' >&2; exit 1; }
case $1 in
delete) rm -r $root/sys/class/net/$2; rm -f $root/proc/net/bonding/$2 ;;
reload)
    while [ -e $root/hold ]; do sleep 0.1; done
    files=$(ls $root/run/systemd/network/*.net* $root/etc/systemd/network/*.net* 2>/dev/null | sed 's|\(.*\)/\([^/]*\)$|\2 \1/\2|' | sort | cut -d' ' -f2)
    for netdev in $(printf '%s\n' $files | grep 'netdev$'); do
        name=$(sed -n 's/^Name=//p' $netdev)
        mkdir -p $root/sys/class/net/$name $root/proc/net/bonding
    done
    for bond in $(cd $root/sys/class/net; ls -d bond* 2>/dev/null); do
        out=$root/proc/net/bonding/$bond
        printf 'Bonding Mode: IEEE 802.3ad Dynamic link aggregation\nMII Status: up\n\n802.3ad info\nActive Aggregator Info:\n\tAggregator ID: 1\n\tPartner Mac Address: cc:4e:24:39:2a:40\n' > $out.new
        for nic in t1 t2; do
            for network in $(printf '%s\n' $files | grep 'network$'); do
                grep -q "^Name=$nic\$" $network || continue
                grep -q "^Bond=$bond\$" $network && printf '\nSlave Interface: %s\nMII Status: up\nAggregator ID: 1\n' $nic >> $out.new
                break
            done
        done
        mv $out.new $out
    done ;;
esac
exit 0
"#;

/// A host below a folder, with two interfaces that are plugged into the first two ports of a switch.
pub(crate) struct Host {
    root: PathBuf,
    programs: PathBuf,
}

impl Host {
    /// `root` is the folder that the agent is confined to; programs are put into another one.
    pub(crate) fn below(root: &Path, programs: &Path) -> Self {
        for (n, nic) in ["t1", "t2"].into_iter().enumerate() {
            let folder = root.join("sys/class/net").join(nic);
            fs::create_dir_all(&folder).unwrap();
            // What the simulated switch has plugged into its first ports.
            fs::write(folder.join("address"), format!("52:54:00:aa:00:0{n}\n")).unwrap();
            fs::write(folder.join("carrier"), "1\n").unwrap();
        }
        fs::create_dir_all(programs).unwrap();
        let program = programs.join("networkctl");
        fs::write(&program, NETWORKCTL.replace("ROOT", &root.display().to_string())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { root: root.to_owned(), programs: programs.to_owned() }
    }

    /// A search path that begins with its programs.
    pub(crate) fn path(&self) -> String {
        format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", self.programs.display())
    }

    /// The files of its bond: on probation, and after a boot.
    pub(crate) fn files(&self) -> [Vec<(String, String)>; 2] {
        ["run", "etc"].map(|place| {
            let entries = fs::read_dir(self.root.join(place).join("systemd/network")).into_iter().flatten();
            let mut all: Vec<(String, String)> = entries
                .map(|entry| {
                    let path = entry.unwrap().path();
                    (
                        path.file_name().unwrap().to_str().unwrap().to_owned(),
                        fs::read_to_string(&path).unwrap_or_default(),
                    )
                })
                .collect();
            all.sort();
            all
        })
    }

    pub(crate) fn members(&self) -> Option<usize> {
        let state = fs::read_to_string(self.root.join("proc/net/bonding/bond0")).ok()?;
        Some(state.matches("Slave Interface").count())
    }

    /// Both ends: what the host has and will have after a boot, and what the switch has and will have.
    pub(crate) fn with(&self, sim: &Sim) -> impl PartialEq + std::fmt::Debug + use<> {
        (self.files(), self.members(), sim.running_config(), sim.startup_config())
    }

    /// Makes sure that both ends are bonded, now and after a boot.
    pub(crate) fn is_bonded_with(&self, sim: &Sim, address: &str) {
        let [now, always] = self.files();
        assert!(now.is_empty(), "{now:?}");
        let network = always.iter().find(|(name, _)| name == "05-flotilla-bond-bond0.network");
        assert!(network.is_some_and(|(_, text)| text.contains(address)), "{always:?}");
        assert_eq!((always.len(), self.members()), (4, Some(2)), "{always:?}");
        for config in [sim.running_config(), sim.startup_config()] {
            assert!(config.contains("lag bond0 dynamic") && config.contains("1/1/1 to 1/1/2"), "{config}");
        }
    }

    /// A file that its program heeds.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

/// A fleet file with a bond; with checks, and what they may take.
pub(crate) fn fleet(address: &str, checks: &str, policy: &str) -> String {
    format!(
        "[group.rack]\non = \"edge-1\"\n\n[group.rack.score.uplink]\nkind = \"net.bond/1\"\n\n\
         [group.rack.score.uplink.spec]\nname = \"bond0\"\nnics = [\"t1\", \"t2\"]\ndevice = \"rack-3\"\n\
         addresses = [{address:?}]\n\n[group.rack.score.uplink.policy]\nchecks = [{checks}]\n{policy}\n"
    )
}

struct Rack {
    racks: Racks,
    host: Host,
    sim: Sim,
}

impl Rack {
    fn found(profile: Profile) -> Self {
        let racks = Racks::found();
        let sim = racks.switch(profile);
        let host = Host::below(&racks.bed.root("edge-1"), &racks.file("programs"));
        Self { racks, host, sim }
    }

    fn join(&self) -> Proc {
        let file = self.racks.file("agent.toml");
        fs::write(&file, Racks::device("rack-3", &self.sim)).unwrap();
        let agent = self.racks.bed.agent("edge-1").arg("--config").arg(file);
        self.racks.bed.join_by(agent.env("PATH", self.host.path()), "edge-1")
    }

    fn declare(&self, address: &str, checks: &str, policy: &str) {
        fs::write(self.racks.file("fleet.toml"), fleet(address, checks, policy)).unwrap();
    }

    fn apply(&self) -> testkit::Output {
        self.racks.bed.admin(["apply", "fleet.toml", "--yes", "--timeout", "2m"]).limit(DEADLINE * 4).run()
    }

    fn in_order(&self, agent: &Proc) {
        until("the fleet in order", DEADLINE * 2, || {
            let status = self.racks.bed.json(["status"]);
            if status["in_order"] == 1 { Ok(()) } else { Err((status, agent.stderr())) }
        });
    }

    fn both(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        self.host.with(&self.sim)
    }
}

#[test]
fn a_bond_is_made_on_both_ends_and_undone_on_both() {
    if !testkit::require("a_bond_is_made_on_both_ends_and_undone_on_both", &[]) {
        return;
    }
    let rack = Rack::found(Profile::fastiron_8095());
    let agent = rack.join();
    let before = rack.both();
    rack.declare("10.0.0.5/24", "", "");
    let plan = rack.racks.bed.admin(["plan", "fleet.toml", "--preview"]).ok();
    for line in ["host: bond t1 t2 by LACP as bond0, plugged into 1/1/1 1/1/2 of rack-3", "switch: make port channel"] {
        assert!(plan.contains(line), "{plan}");
    }
    assert_eq!(rack.both(), before, "a plan changes nothing");
    // An end that fails, here when both are made and the host's shall last, puts back the other.
    fs::write(rack.host.file("refuse"), "").unwrap();
    rack.racks.bed.admin(["apply", "fleet.toml", "--yes", "--no-wait"]).ok();
    until("the host refuses, and both ends are as before", DEADLINE * 2, || {
        let node = rack.racks.bed.json(["node", "show", "edge-1"]).to_string();
        let begun = rack.sim.commands().iter().any(|command| command.starts_with("lag bond0"));
        let told = node.contains("Failed to reload") && node.contains("undone");
        if begun && told && rack.both() == before { Ok(()) } else { Err((node, agent.stderr())) }
    });
    fs::remove_file(rack.host.file("refuse")).unwrap();
    rack.in_order(&agent);
    rack.host.is_bonded_with(&rack.sim, "10.0.0.5/24");
    let node = rack.racks.bed.json(["node", "show", "edge-1"]);
    let part = &node["parts"][0];
    assert_eq!((part["subject"].as_str(), part["verdict"].as_str()), (Some("bond/rack-3/bond0"), Some("converged")));
    let made = rack.both();
    // What fails its checks leaves both ends as they were.
    rack.declare("10.0.0.6/24", "{ type = \"exec\", command = [\"false\"] }", "check_seconds = 1");
    let output = rack.apply();
    assert_ne!(output.code, Some(0), "{}", output.stdout);
    assert!(format!("{}{}", output.stdout, output.stderr).contains("undone"), "{} {}", output.stdout, output.stderr);
    assert_eq!(rack.both(), made);
    // So it is as declared again, without a word to either end.
    rack.declare("10.0.0.5/24", "", "");
    rack.apply().expect(0);
    assert_eq!(rack.both(), made);
    // What is not declared any more stays as it is.
    fs::write(rack.racks.file("fleet.toml"), "[group.rack]\non = \"edge-1\"\n").unwrap();
    rack.racks.bed.admin(["apply", "fleet.toml", "--prune", "--yes"]).ok();
    until("nothing is declared", DEADLINE, || {
        let node = rack.racks.bed.json(["node", "show", "edge-1"]);
        if node["parts"].as_array().is_some_and(Vec::is_empty) { Ok(()) } else { Err(node) }
    });
    assert_eq!(rack.both(), made);
}

#[test]
fn a_switch_that_never_speaks_lacp_takes_the_host_back() {
    if !testkit::require("a_switch_that_never_speaks_lacp_takes_the_host_back", &[]) {
        return;
    }
    let rack = Rack::found(Profile::fastiron_8030().without_partners());
    let agent = rack.join();
    let before = rack.both();
    rack.declare("10.0.0.5/24", "", "apply_seconds = 10\nattempts = 1");
    rack.racks.bed.admin(["apply", "fleet.toml", "--yes", "--no-wait"]).ok();
    until("both ends are made", DEADLINE, || {
        let made = rack.host.members() == Some(2) && rack.sim.running_config().contains("bond0");
        if made { Ok(()) } else { Err((rack.sim.running_config(), agent.stderr())) }
    });
    until("both ends are as before", DEADLINE, || {
        let now = rack.both();
        if now == before { Ok(()) } else { Err((format!("{now:?}"), agent.stderr())) }
    });
    until("it is told", DEADLINE, || {
        let node = rack.racks.bed.json(["node", "show", "edge-1"]).to_string();
        if node.contains("undone") { Ok(()) } else { Err(node) }
    });
}

#[test]
fn an_agent_that_is_killed_in_the_middle_of_a_bond_ends_it_as_declared() {
    if !testkit::require("an_agent_that_is_killed_in_the_middle_of_a_bond_ends_it_as_declared", &[]) {
        return;
    }
    let rack = Rack::found(Profile::fastiron_8095());
    let mut agent = rack.join();
    let before = rack.both();
    // While the host makes its end; the switch knows nothing yet.
    fs::write(rack.host.file("hold"), "").unwrap();
    let go = rack.racks.file("go");
    let check = format!("{{ type = \"exec\", command = [\"test\", \"-e\", {go:?}] }}");
    rack.declare("10.0.0.5/24", &check, "check_seconds = 150");
    rack.racks.bed.admin(["apply", "fleet.toml", "--yes", "--no-wait"]).ok();
    until("the host's files are written", DEADLINE, || {
        if rack.host.files()[0].is_empty() { Err(agent.stderr()) } else { Ok(()) }
    });
    agent.kill();
    agent.wait(DEADLINE);
    assert!(!rack.sim.running_config().contains("bond0"));
    fs::remove_file(rack.host.file("hold")).unwrap();
    agent.restart();
    ready(&agent);
    // While both ends are on probation: what was killed before is undone, and begun again.
    until("both ends are made", DEADLINE, || {
        let made = rack.host.members() == Some(2) && rack.sim.running_config().contains("bond0");
        if made { Ok(()) } else { Err((rack.sim.running_config(), agent.stderr())) }
    });
    assert!(rack.host.files()[1].is_empty() && !rack.sim.startup_config().contains("bond0"));
    agent.kill();
    agent.wait(DEADLINE);
    // The host is booted as well: what was on probation is gone from it, and the switch waits for LACP.
    for place in ["run/systemd/network", "sys/class/net/bond0"] {
        fs::remove_dir_all(rack.host.file(place)).unwrap();
    }
    fs::remove_file(rack.host.file("proc/net/bonding/bond0")).unwrap();
    assert_ne!(rack.both(), before);
    fs::write(&go, "").unwrap();
    agent.restart();
    ready(&agent);
    rack.in_order(&agent);
    rack.host.is_bonded_with(&rack.sim, "10.0.0.5/24");
}
