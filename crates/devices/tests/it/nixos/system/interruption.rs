//! `kill -9` of the agent at every step of an activation, and at moments between them: it always goes on to the same end.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use protocols::Verdict;
use scores::nixos::{NixosScore, StorePath};
use testkit::closure::System;

use super::agent::Agent;
use super::sandbox::{Sandbox, booting, on_each_nix, profile, running, sh, valid};

on_each_nix!(activation_survives_kill_at_every_step, |sandbox| {
    if let Some(life) = Life::of_this_process() {
        return life.live(sandbox);
    }
    sandbox.install(&System::new(1));
    // A switch takes long enough to be killed in it.
    let system = |app: u32| System { hook: "sleep 0.2".into(), ..System::new(app) };
    let scores: Vec<NixosScore> = [2, 3].map(|app| sandbox.publish(&system(app)).0).into();
    let mut steps = 0;
    let kills =
        (1..=MOST_STEPS).map(|step| (step, LONG)).chain((1..=12).map(|n| (usize::MAX, Duration::from_millis(n * 75))));
    for (turn, (die_at, kill_after)) in kills.enumerate() {
        if die_at != usize::MAX && steps > 0 && die_at > steps {
            continue;
        }
        let score = &scores[turn % 2];
        let generation = sandbox.next();
        let agent = sandbox.agent();
        let before = running();
        // The half of the closure that differs is gone again, so that it has to be brought.
        sh("nix-store --gc >/dev/null 2>&1");
        let killed = die(sandbox, score, generation, die_at, kill_after);
        if !killed {
            // It was done before it could die; as many steps as that there are.
            steps = steps.max(die_at.min(MOST_STEPS));
        }
        let recovered = agent.recover();
        for one in &recovered {
            eprintln!("  recovered: {} {}", one.report.verdict, one.report.message);
            assert!(one.assignment.is_some());
        }
        let report = agent.play(score, generation);
        assert_eq!(report.verdict, Verdict::Converged, "killed at {die_at} or {kill_after:?}: {}", report.message);
        settled(sandbox, &score.toplevel, &before);
    }
    assert!(steps >= 6, "an activation has {steps} steps only");
});

on_each_nix!(a_dead_agents_activation_is_taken_back_by_the_machine, |sandbox| {
    if let Some(life) = Life::of_this_process() {
        return life.live(sandbox);
    }
    let old = sandbox.install(&System::new(1));
    let (score, _) = sandbox.publish(&System::new(2));
    let score = NixosScore { revert_seconds: 10, ..score };
    let agent = sandbox.agent();
    agent.set_unhealthy(Some("g2"));
    let generation = sandbox.next();
    // The agent dies while the checks run, and stays away.
    let mut child = start(sandbox, &score, generation, usize::MAX);
    testkit::until("the new system runs", testkit::DEADLINE, || running() == score.toplevel);
    testkit::until("checks run", testkit::DEADLINE, || agent.stage.log().contains("contact"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((running(), profile(), booting()), (score.toplevel.clone(), old.clone(), old.clone()));
    testkit::until("the machine goes back", testkit::DEADLINE, || running() == old);
    // The next agent finds it so, says so, and does not try again.
    let recovered = agent.recover();
    assert_eq!(recovered.len(), 1);
    let report = &recovered[0].report;
    assert_eq!(report.verdict, Verdict::Quarantined, "{}", report.message);
    let why = "the machine went back by itself, because nobody confirmed the change within 10 seconds";
    assert!(report.message.contains(why), "{}", report.message);
    assert_eq!(agent.play(&score, generation).verdict, Verdict::Quarantined);
    settled(sandbox, &old, &old);
});

on_each_nix!(a_power_cut_before_confirmation_boots_the_old_system, |sandbox| {
    if let Some(life) = Life::of_this_process() {
        return life.live(sandbox);
    }
    let old = sandbox.install(&System::new(1));
    let (score, _) = sandbox.publish(&System::new(2));
    let mut agent = sandbox.agent();
    agent.set_unhealthy(Some("g2"));
    let generation = sandbox.next();
    let mut child = start(sandbox, &score, generation, usize::MAX);
    testkit::until("checks run", testkit::DEADLINE, || agent.stage.log().contains("contact"));
    child.kill().unwrap();
    child.wait().unwrap();
    // Everything stops, and another boot begins.
    sh(&format!("for pid in $(cat {}/trials/*/undo/back.pid); do kill -9 $pid; done", sandbox.dir.display()));
    sandbox.reboot();
    sh(
        "echo 11111111-2222-3333-4444-555555555555 >/run/boot_id; mount --bind /run/boot_id /proc/sys/kernel/random/boot_id",
    );
    assert_eq!(running(), old);
    agent.set_unhealthy(None);
    let recovered = agent.recover();
    assert_eq!(recovered[0].report.verdict, Verdict::Failed, "{}", recovered[0].report.message);
    assert_eq!((running(), profile()), (old.clone(), old));
    // It was the cut, not the system: it is played again.
    agent.policy.attempts = 1;
    let report = agent.play(&score, generation);
    assert_eq!((report.verdict, running(), booting()), (Verdict::Converged, score.toplevel.clone(), score.toplevel));
});

/// That nothing is left of a trial: no way back, no half import, no root but those of what was confirmed.
fn settled(sandbox: &Sandbox, system: &StorePath, before: &StorePath) {
    assert_eq!((running(), profile(), booting()), (system.clone(), system.clone(), system.clone()));
    assert!(valid(system));
    assert_eq!(sh(&format!("ls -A {}/state/imports 2>/dev/null || :", sandbox.dir.display())), "");
    let roots = sh("cd /nix/var/nix/gcroots/flotilla; for root in *; do echo $root $(readlink $root); done");
    assert!(roots.contains(&format!("confirmed {system}")) && !roots.contains("candidate"), "{roots}");
    assert!(valid(before), "the system before is still there to go back to");
    let armed = || processes().any(|command| command.contains("/undo/"));
    testkit::until("no way back is armed", testkit::DEADLINE, || !armed());
}

/// The command lines of all processes here.
fn processes() -> impl Iterator<Item = String> {
    let commands =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    commands.map(|command| String::from_utf8_lossy(&command).into_owned())
}

/// Plays a score in a process that dies at a step or after a while; says whether it died before it was done.
fn die(sandbox: &Sandbox, score: &NixosScore, generation: u64, die_at: usize, after: Duration) -> bool {
    let mut child = start(sandbox, score, generation, die_at);
    let end = std::time::Instant::now() + after;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            use std::os::unix::process::ExitStatusExt as _;
            assert!(status.success() || status.signal() == Some(9), "the agent ended with {status}");
            return !status.success();
        }
        if std::time::Instant::now() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts this test again as an agent that plays one score.
fn start(sandbox: &Sandbox, score: &NixosScore, generation: u64, die_at: usize) -> Child {
    let order = sandbox.dir.join("order.json");
    std::fs::write(&order, serde_json::to_vec(&(score, generation, die_at)).unwrap()).unwrap();
    let this: Vec<String> = std::env::args().collect();
    Command::new("/proc/self/exe")
        .args(&this[1..])
        .env(ORDER, &order)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The life of an agent that plays one score and may die of it.
struct Life {
    score: NixosScore,
    generation: u64,
    die_at: usize,
}

impl Life {
    fn of_this_process() -> Option<Self> {
        let order = std::fs::read(Path::new(&std::env::var_os(ORDER)?)).unwrap();
        let (score, generation, die_at) = serde_json::from_slice(&order).unwrap();
        Some(Self { score, generation, die_at })
    }

    fn live(self, sandbox: &Sandbox) {
        let mut agent: Agent = sandbox.agent();
        agent.stage.die_at = self.die_at;
        agent.policy.check_seconds = 600;
        agent.play(&self.score, self.generation);
    }
}

const ORDER: &str = "FLT_NIXOS_ORDER";
const LONG: Duration = Duration::from_secs(120);
/// More steps than an activation tells of.
const MOST_STEPS: usize = 20;
