//! Real machines with a real systemd: units stop and start, the agent is one of them, timers fire, the power goes.
//!
//! The agent is this test, started as a service of the system that it activates.

use std::path::{Path, PathBuf};
use std::time::Duration;

use protocols::{SecretKey, Verdict};
use scores::nixos::{NixosScore, StorePath};
use serde::{Deserialize, Serialize};
use testkit::closure::System;
use testkit::{Machine, MachineSpec};

use super::agent::Agent;
use super::sandbox::{Sandbox, sh};

/// A machine that runs the first of some systems, and the scores of the others.
struct Bed {
    machine: Machine,
    first: StorePath,
    scores: Vec<NixosScore>,
}

/// What the agent is told to play.
#[derive(Serialize, Deserialize)]
struct Order {
    score: NixosScore,
    generation: u64,
    check_seconds: u32,
}

/// What the agent says of it.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    verdict: Verdict,
    message: String,
    /// The version of the system that the agent is part of.
    by: String,
}

#[test]
fn agent_update_survives_its_own_activation() {
    let Some(bed) = bed("agent_update_survives_its_own_activation", || vec![system(1), system(2), system(3)]) else {
        return;
    };
    assert_eq!(bed.agent_version(), "1");
    for (n, version) in [(0, "2"), (1, "3")] {
        let generation = 11 + n as u64;
        bed.order(&bed.scores[n], generation, 60);
        let said = bed.wait_for(generation);
        assert_eq!(said.verdict, Verdict::Converged, "{said:?}\n{}", bed.journal());
        assert_eq!(said.by, version, "the new agent ended what the old one began");
        bed.assert_runs(&bed.scores[n].toplevel);
        assert_eq!(bed.agent_version(), version);
        assert_eq!(bed.machine.unit_state("demo.service"), "active");
    }
}

#[test]
fn a_unit_that_fails_takes_the_machine_back() {
    let broken = || vec![system(1), System { broken_unit: true, ..system(2) }];
    let Some(bed) = bed("a_unit_that_fails_takes_the_machine_back", broken) else { return };
    bed.order(&bed.scores[0], 11, 60);
    let said = bed.wait_for(11);
    assert_eq!(said.verdict, Verdict::Quarantined, "{said:?}\n{}", bed.journal());
    assert!(said.message.contains("units failed (exit status 4)"), "{}", said.message);
    bed.assert_runs(&bed.first);
    assert_eq!(bed.machine.unit_state("demo.service"), "active", "the old unit runs again");
    assert_eq!(bed.agent_version(), "1");
}

#[test]
fn a_system_without_an_agent_is_taken_back_by_the_timer() {
    let silent = || {
        let mut silent = system(2);
        let unit = silent.units["flt-agent.service"].replace("/usr/local/bin/flt-test", "/bin/sleep infinity #");
        silent.units.insert("flt-agent.service".into(), unit);
        vec![system(1), silent]
    };
    let Some(bed) = bed("a_system_without_an_agent_is_taken_back_by_the_timer", silent) else { return };
    let score = NixosScore { revert_seconds: 15, ..bed.scores[0].clone() };
    bed.order(&score, 11, 60);
    testkit::until("the new system runs", testkit::DEADLINE, || bed.current() == score.toplevel);
    assert!(bed.machine.ok("systemctl list-timers --all").contains("flotilla-back-"), "no timer is armed");
    let said = bed.wait_for(11);
    assert_eq!(said.verdict, Verdict::Quarantined, "{said:?}\n{}", bed.journal());
    assert!(said.message.contains("nobody confirmed the change within 15 seconds"), "{}", said.message);
    assert_eq!(said.by, "1", "the old agent tells of it");
    bed.assert_runs(&bed.first);
}

#[test]
fn a_machine_that_loses_power_on_probation_boots_what_was_confirmed() {
    let Some(mut bed) =
        bed("a_machine_that_loses_power_on_probation_boots_what_was_confirmed", || vec![system(1), system(2)])
    else {
        return;
    };
    bed.machine.write(&format!("{HOME}/unhealthy"), "g2");
    bed.order(&bed.scores[0], 11, 600);
    testkit::until("the new system runs", testkit::DEADLINE, || bed.current() == bed.scores[0].toplevel);
    bed.machine.wait_until(&format!("grep -q contact {HOME}/stage.log"), testkit::DEADLINE);
    bed.machine.ok("sync");
    bed.machine.power_cut();
    bed.machine.start();
    bed.machine.wait_for_unit("flt-agent.service");
    assert_eq!(bed.current(), bed.first, "the power cut brought the old system back");
    // The cut was not the system's doing: it is played again, and holds.
    bed.machine.ok(&format!("rm -f {HOME}/unhealthy"));
    let said = bed.wait_for(11);
    assert_eq!(said.verdict, Verdict::Converged, "{said:?}\n{}", bed.journal());
    bed.assert_runs(&bed.scores[0].toplevel);
    bed.machine.power_cut();
    bed.machine.start();
    assert_eq!(bed.current(), bed.scores[0].toplevel, "what was confirmed is what boots");
}

#[test]
fn a_machine_that_loses_power_before_the_boot_entry_is_written_tries_again() {
    let Some(mut bed) =
        bed("a_machine_that_loses_power_before_the_boot_entry_is_written_tries_again", || vec![system(1), system(2)])
    else {
        return;
    };
    let new = bed.scores[0].toplevel.clone();
    // The boot loader waits for a reader that never comes: the checks have passed by then, and nothing boots the system.
    bed.machine.ok("mkfifo /boot/loader/new");
    bed.order(&bed.scores[0], 11, 60);
    let decided = format!("grep -qx confirmed {HOME}/trials/*/undo/decision");
    bed.machine.wait_until(&decided, testkit::DEADLINE);
    let named = format!("test \"$(readlink -f /nix/var/nix/profiles/system)\" = {new}");
    bed.machine.wait_until(&named, testkit::DEADLINE);
    // Processes do not end at one instant, as they do when the power goes: the agent must not see the others end.
    bed.machine.ok("systemctl kill --signal=STOP flt-agent.service");
    assert_eq!(bed.current(), new);
    bed.machine.ok("sync");
    bed.machine.power_cut();
    bed.machine.start();
    // The cut was not the system's doing: it is undone, played again, and holds.
    let said = bed.wait_for(11);
    assert_eq!(said.verdict, Verdict::Converged, "{said:?}\n{}", bed.journal());
    let interrupted = "the agent or the node went down during this change; undone";
    let recovered = bed.machine.read(&format!("{HOME}/recovered.log"));
    assert!(recovered.starts_with(&format!("11: {} {interrupted}\n", Verdict::Failed)), "{recovered}");
    bed.assert_runs(&new);
    bed.machine.power_cut();
    bed.machine.start();
    assert_eq!(bed.current(), new, "what was confirmed is what boots");
}

/// A system whose agent is a service of it, another one in every version.
fn system(version: u32) -> System {
    let mut system = System::new(version);
    let unit = format!(
        "[Unit]\nDescription=agent of system {version}\n[Service]\nEnvironment=VERSION={version} {ROLE}=agent\n\
         EnvironmentFile=/etc/flt-test.env\nExecStart=/usr/local/bin/flt-test --exact ${{TEST}} --nocapture\n\
         Restart=always\nRestartSec=1\n"
    );
    system.units.insert("flt-agent.service".into(), unit);
    system
}

/// A machine for a test; nothing when this process is itself something in such a machine, or tests like it are skipped.
fn bed(test: &str, systems: fn() -> Vec<System>) -> Option<Bed> {
    match std::env::var(ROLE).as_deref() {
        Ok("build") => build(&systems()),
        Ok(_) => live(),
        Err(_) if testkit::require(test, testkit::MACHINES) => return Some(Bed::new(test, systems().len())),
        Err(_) => {}
    }
    None
}

impl Bed {
    fn new(test: &str, systems: usize) -> Self {
        let path = module_path!().split_once("::").unwrap().1;
        let env = format!("TEST={path}::{test}\nNIX_REMOTE=local\nHOME=/root\n");
        let machine = MachineSpec::new(testkit::rootfs(), "nixos")
            .bind(std::env::current_exe().unwrap(), "/usr/local/bin/flt-test")
            .file("/etc/NIXOS", "", 0o644)
            .file("/etc/flt-test.env", env, 0o644)
            .file("/usr/local/bin/start-system", START_SYSTEM, 0o755)
            .file("/etc/systemd/system/start-system.service", START_UNIT, 0o644)
            .boot();
        machine.ok("systemctl enable start-system.service 2>&1");
        let build = format!(
            "mkdir -p {HOME}/admin/nix-unused {HOME}/blobs /nix; ln -sfn /nix {HOME}/node; rmdir {HOME}/admin/nix-unused; \
             . /etc/flt-test.env; export NIX_REMOTE HOME {ROLE}=build; \
             unshare --mount --propagation private /usr/local/bin/flt-test --exact $TEST --nocapture"
        );
        machine.shell(&build).limit(Duration::from_secs(300)).ok();
        machine.ok("systemctl start start-system.service");
        let scores: Vec<NixosScore> = serde_json::from_str(&machine.read(&format!("{HOME}/scores.json"))).unwrap();
        assert_eq!(scores.len(), systems - 1);
        machine.wait_for_unit("flt-agent.service");
        let first = machine.ok("readlink -f /run/current-system").trim().parse().unwrap();
        Self { machine, first, scores }
    }

    fn order(&self, score: &NixosScore, generation: u64, check_seconds: u32) {
        let order = Order { score: score.clone(), generation, check_seconds };
        self.machine.write(&format!("{HOME}/order.json"), serde_json::to_vec(&order).unwrap());
    }

    /// Waits until the agent, whichever it is by then, has said what became of a generation for good.
    fn wait_for(&self, generation: u64) -> Said {
        testkit::until(&format!("the end of generation {generation}"), Duration::from_secs(180), || {
            let output = self.machine.exec(&format!("cat {HOME}/said-{generation}.json"));
            let said = serde_json::from_str::<Said>(&output.stdout).ok().filter(|said| said.verdict.is_final());
            said.ok_or_else(|| format!("{}{}", output.stdout, self.journal()))
        })
    }

    fn current(&self) -> StorePath {
        self.machine.ok("readlink -f /run/current-system").trim().parse().unwrap()
    }

    fn agent_version(&self) -> String {
        let line = self.machine.ok("systemctl show -p Environment --value flt-agent.service");
        line.split_whitespace().find_map(|word| word.strip_prefix("VERSION=")).unwrap_or_default().to_owned()
    }

    fn journal(&self) -> String {
        // Of every boot: the machine's own name for this one is not the one that the journal has.
        self.machine.exec("journalctl --no-pager -o cat | tail -60").stdout
    }

    /// That this system runs, is the default, boots, and that nothing is left of what led there.
    fn assert_runs(&self, system: &StorePath) {
        let at = |path: &str| self.machine.ok(&format!("readlink -f {path}")).trim().to_owned();
        assert_eq!(at("/run/current-system"), system.as_str());
        assert_eq!(at("/nix/var/nix/profiles/system"), system.as_str());
        assert_eq!(self.machine.read("/boot/loader/default").trim(), system.as_str());
        assert_eq!(self.machine.unit_state("flt-agent.service"), "active");
        let left = || self.machine.ok("systemctl list-units --all --no-legend 'flotilla-*'");
        testkit::until("nothing is armed or at work", testkit::DEADLINE, || {
            let left = left();
            if left.trim().is_empty() { Ok(()) } else { Err(left) }
        });
    }
}

/// In the machine: builds the systems in an admin's store, installs the first, publishes the others.
fn build(systems: &[System]) {
    let mut sandbox = Sandbox::enter(Path::new(HOME));
    sandbox.install(&systems[0]);
    let scores: Vec<NixosScore> = systems[1..].iter().map(|system| sandbox.publish(system).0).collect();
    std::fs::write(Path::new(HOME).join("scores.json"), serde_json::to_vec(&scores).unwrap()).unwrap();
}

/// In the machine: the agent, as a service. It brings to an end what it finds open, and plays what it is told to.
fn live() {
    let home = PathBuf::from(HOME);
    let key = SecretKey::from_seed(&[7; 32]);
    let mut agent = Agent::new(&home, &[key.id()]);
    let say = |generation: u64, verdict, message: &str| {
        let said = Said { verdict, message: message.into(), by: std::env::var("VERSION").unwrap_or_default() };
        let file = home.join(format!("said-{generation}.json"));
        scores::durable::write(&file, &serde_json::to_vec(&said).unwrap()).unwrap();
    };
    for one in agent.recover() {
        let Some(assignment) = one.assignment else { continue };
        let line = format!("{}: {} {}\n", assignment.generation, one.report.verdict, one.report.message);
        let before = std::fs::read_to_string(home.join("recovered.log")).unwrap_or_default();
        std::fs::write(home.join("recovered.log"), before + &line).unwrap();
        say(assignment.generation, one.report.verdict, &one.report.message);
    }
    loop {
        let order = std::fs::read(home.join("order.json")).ok();
        if let Some(order) = order.and_then(|order| serde_json::from_slice::<Order>(&order).ok()) {
            let file = home.join(format!("said-{}.json", order.generation));
            let said = std::fs::read(file).ok().and_then(|said| serde_json::from_slice::<Said>(&said).ok());
            if !said.is_some_and(|said| said.verdict.is_final()) {
                agent.policy.check_seconds = order.check_seconds;
                let report = agent.play(&order.score, order.generation);
                say(order.generation, report.verdict, &report.message);
            }
        }
        std::thread::sleep(Duration::from_millis(100));
        sh(":");
    }
}

/// What this process is, if it is not the test itself.
const ROLE: &str = "FLT_NIXOS_ROLE";
/// The folder of the agent, the admin and the blobs, in the machine.
const HOME: &str = "/var/lib/flt-test";

/// What the first stages of a NixOS boot do: take the system that the boot loader names, and start its units. And a name
/// for the boot, since a machine that shares its kernel has the kernel's.
const START_SYSTEM: &str = r#"#!/bin/sh
set -eu
if ! mountpoint -q /proc/sys/kernel/random/boot_id; then
  cat /proc/sys/kernel/random/uuid > /run/boot_id
  mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
fi
[ -e /boot/loader/default ] || exit 0
rm -f /boot/loader/new
system=$(cat /boot/loader/default)
ln -sfn "$system" /run/booted-system
"$system/activate" "$system"
for unit in "$system"/etc/systemd/system/*.service; do
  ln -sfn "/etc/static/systemd/system/${unit##*/}" "/etc/systemd/system/${unit##*/}"
done
systemctl daemon-reload
for unit in "$system"/etc/systemd/system/*.service; do systemctl start --no-block "${unit##*/}"; done
"#;
const START_UNIT: &str = "[Unit]\nDescription=Start the system\n[Service]\nType=oneshot\nRemainAfterExit=no\n\
    ExecStart=/usr/local/bin/start-system\n[Install]\nWantedBy=multi-user.target\n";
