//! A group of two switches in the configuration of an agent: what is declared for it is on both, or on none.

use std::fs;

use switchsim::{Profile, Sim};
use testkit::{DEADLINE, Proc, until};

use crate::processes::racks::Racks;

/// A fleet, and two switches.
struct Pair {
    racks: Racks,
    sims: Vec<Sim>,
}

fn profile(side: u8) -> Profile {
    let profile = if side == 0 { Profile::fastiron_8030() } else { Profile::fastiron_8095() };
    profile.seed([side + 1; 32])
}

impl Pair {
    fn found() -> Self {
        let racks = Racks::found();
        let sims = [0, 1].map(|side| racks.switch(profile(side))).into();
        Self { racks, sims }
    }

    fn device(&self, name: &str, side: usize) -> String {
        Racks::device(name, &self.sims[side])
    }

    /// The agent that has both as a group.
    fn join(&self) -> Proc {
        let group = "[device-groups.core]\nmembers = [\"core-1\", \"core-2\"]\n";
        let config = format!("{}{}{group}", self.device("core-1", 0), self.device("core-2", 1));
        self.racks.join("edge-1", &config)
    }

    /// The node says this of a declaration.
    fn told(&self, text: &str) {
        until(text, DEADLINE, || {
            let node = self.racks.bed.json(["node", "show", "edge-1"]).to_string();
            if node.contains(text) { Ok(()) } else { Err(node) }
        });
    }

    /// Which switches have it, now and after a boot.
    fn have(&self, text: &str) -> [(bool, bool); 2] {
        [0, 1].map(|side: usize| {
            (self.sims[side].running_config().contains(text), self.sims[side].startup_config().contains(text))
        })
    }

    fn run_on_both(&self, text: &str) {
        until(&format!("{text:?} on both"), DEADLINE, || {
            let have = self.have(text);
            if have.iter().all(|(running, _)| *running) { Ok(()) } else { Err(have) }
        });
    }

    /// How often one was brought into configuration mode.
    fn configured(&self, side: usize) -> usize {
        self.sims[side].commands().iter().filter(|command| command.starts_with("conf")).count()
    }
}

const BOTH: [(bool, bool); 2] = [(true, true); 2];
const NONE: [(bool, bool); 2] = [(false, false); 2];

#[test]
fn what_is_declared_for_a_group_is_on_both_or_on_none() {
    let mut pair = Pair::found();
    let _agent = pair.join();
    pair.racks.vlan("edge-1", "core", (20, "servers"), None);
    fs::write(pair.racks.file("fleet.toml"), &pair.racks.fleet).unwrap();
    let plan = pair.racks.bed.admin(["plan", "fleet.toml", "--preview"]).ok();
    for member in ["core-1", "core-2"] {
        assert!(plan.contains(&format!("{member}: make VLAN 20 \"servers\"")), "{plan}");
    }
    assert_eq!((pair.configured(0), pair.configured(1)), (0, 0), "a plan changes nothing");
    pair.racks.publish();
    pair.racks.in_order(1);
    assert_eq!(pair.have("servers"), BOTH);
    // The same again is nothing.
    let configured = (pair.configured(0), pair.configured(1));
    pair.racks.fleet = pair.racks.fleet.replace("kind =", "note = \"again\"\nkind =");
    pair.racks.publish();
    pair.racks.in_order(1);
    assert_eq!((pair.configured(0), pair.configured(1)), configured);

    // The second one is away: the first one is left as it is, and the outcome says which it was.
    let port = pair.sims[1].addr().port();
    drop(pair.sims.pop());
    pair.racks.vlan("edge-1", "core", (30, "storage"), None);
    pair.racks.publish();
    pair.told("make core ready: core-2: ");
    assert!(!pair.sims[0].running_config().contains("storage"));
    assert_eq!(pair.configured(0), configured.0);
    // It is back, as it was made.
    pair.sims.push(pair.racks.switch(profile(1).port(port)));
    pair.racks.in_order(1);
    assert_eq!(pair.have("storage"), BOTH);
}

#[test]
fn a_group_is_on_both_in_the_end_where_a_connection_is_lost_in_the_middle() {
    let mut pair = Pair::found();
    let _agent = pair.join();
    // One to begin with: its first look and its first login are no part of what follows.
    pair.racks.vlan("edge-1", "core", (20, "servers"), None);
    pair.racks.publish();
    pair.racks.in_order(1);
    for (side, position, vlan) in [(1, 4, 30), (0, 6, 40), (1, 8, 50), (0, 9, 60)] {
        let name = format!("lost-{vlan}");
        pair.sims[side].drop_after(position);
        pair.racks.vlan("edge-1", "core", (vlan, &name), None);
        pair.racks.publish();
        pair.racks.in_order(1);
        assert_eq!(pair.have(&name), BOTH, "{side} {position}: {:?}", pair.sims[side].commands());
    }
}

#[test]
fn what_a_killed_agent_began_on_a_group_is_kept_on_both() {
    let mut pair = Pair::found();
    let mut agent = pair.join();
    let go = pair.racks.file("go");
    pair.racks.vlan("edge-1", "core", (20, "servers"), Some((&go, 150)));
    pair.racks.publish();
    pair.run_on_both("servers");
    agent.kill();
    agent.wait(DEADLINE);
    assert_eq!(pair.have("servers"), [(true, false); 2]);
    fs::write(&go, "").unwrap();
    agent.restart();
    pair.racks.in_order(1);
    assert_eq!(pair.have("servers"), BOTH);
}

#[test]
fn what_a_killed_agent_began_on_a_group_is_undone_on_both() {
    let mut pair = Pair::found();
    let mut agent = pair.join();
    let never = pair.racks.file("never");
    pair.racks.vlan("edge-1", "core", (20, "servers"), Some((&never, 20)));
    pair.racks.publish();
    pair.run_on_both("servers");
    agent.kill();
    agent.wait(DEADLINE);
    agent.restart();
    pair.told("quarantined");
    assert_eq!(pair.have("servers"), NONE);
}

#[test]
fn a_group_waits_for_an_agent_that_changes_one_of_its_members() {
    let mut pair = Pair::found();
    let one = pair.join();
    let other = pair.device("rack-3", 1);
    let _two = pair.racks.join("edge-2", &other);
    let go = pair.racks.file("go");
    pair.racks.vlan("edge-2", "rack-3", (30, "storage"), Some((&go, 150)));
    pair.racks.publish();
    until("the other changes it", DEADLINE, || {
        let config = pair.sims[1].running_config();
        if config.contains("storage") { Ok(()) } else { Err(config) }
    });
    pair.racks.vlan("edge-1", "core", (20, "servers"), None);
    pair.racks.publish();
    one.wait_for("core-2: wait for `edge-2`, which is changing the same device");
    assert_eq!(pair.have("servers"), NONE);
    fs::write(&go, "").unwrap();
    pair.racks.in_order(2);
    assert_eq!(pair.have("servers"), BOTH);
    assert!(pair.sims[1].startup_config().contains("storage"));
}

#[test]
fn a_group_that_makes_no_sense_is_refused_with_what_to_do() {
    let pair = Pair::found();
    let devices = format!("{}{}", pair.device("core-1", 0), pair.device("core-2", 1));
    let check = |text: &str| {
        let file = pair.racks.file("check.toml");
        fs::write(&file, format!("{devices}{text}")).unwrap();
        pair.racks.bed.flt().args(["agent", "check-config", "--config"]).arg(file).run()
    };
    assert_eq!(check("[device-groups.core]\nmembers = [\"core-1\", \"core-2\"]\n").code, Some(0));
    let alone = check("[device-groups.core]\nmembers = [\"core-1\", \"core-3\"]\n");
    assert_eq!(alone.code, Some(64), "{}", alone.stderr);
    assert!(alone.stderr.contains("`core`: there is no device `core-3`; did you mean `core-"), "{}", alone.stderr);
}
