//! A fleet whose agents keep one writer of a file, and the file, by which two at once are found out.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use testkit::{DEADLINE, Lan, Proc, until};

use crate::processes::bed::{Bed, ready};

/// How long a cluster may take to have a writer again: many times what it takes.
pub(super) const RECOVERY: Duration = Duration::from_secs(90);
/// The ttl of the settings that are declared.
pub(super) const TTL: Duration = Duration::from_secs(5);

pub(super) const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three agents, a coordinator, and the writer that they keep.
pub(super) struct Stage {
    pub(super) agents: Vec<Proc>,
    /// What changes the machines, where that is another process than the agent.
    pub(super) hands: Vec<Proc>,
    pub(super) coordinator: Proc,
    pub(super) bed: Bed,
}

/// One line of the writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) nanos: u128,
    pub(super) node: String,
    pub(super) epoch: u64,
}

impl Stage {
    /// On this machine's loopback.
    pub(super) fn set() -> Self {
        let bed = Bed::found();
        let coordinator = bed.start_coordinator();
        let agents = NAMES.map(|name| bed.join(name)).into();
        Self { agents, hands: Vec::new(), coordinator, bed }.declared()
    }

    /// The coordinator on host 0 of a network with 4, and an agent on each other.
    pub(super) fn set_on(lan: &Arc<Lan>) -> Self {
        let bed = Bed::found_on(lan);
        let coordinator = bed.start_coordinator();
        let agents = (1..).zip(NAMES);
        let agents = agents.map(|(host, name)| bed.join_by(bed.agent_in(lan.host(host), name), name)).collect();
        Self { agents, hands: Vec::new(), coordinator, bed }.declared()
    }

    pub(super) fn declared(self) -> Self {
        std::fs::create_dir(self.shared()).unwrap();
        std::fs::write(self.shared().join("writer.sh"), WRITER).unwrap();
        self.declare("");
        until("a first writer", RECOVERY, || self.writes());
        self
    }

    /// Publishes the declaration, with more about the succession.
    pub(super) fn declare(&self, more: &str) {
        self.declare_for(&NAMES, more);
    }

    /// The same with these candidates alone.
    pub(super) fn declare_for(&self, candidates: &[&str], more: &str) {
        self.write_file(candidates, more, "");
        let apply = self.bed.admin(["apply", "fleet.toml"]).ok();
        assert!(apply.contains("converged"), "{apply}");
    }

    /// The same, for a declaration that is refused; gives what is said.
    pub(super) fn try_declare(&self, candidates: &[&str], more: &str) -> String {
        self.write_file(candidates, more, "");
        let refused = self.bed.admin(["apply", "fleet.toml", "--no-wait"]).run();
        assert_ne!(refused.code, Some(0), "{}", refused.stdout);
        refused.stderr
    }

    /// Writes the declaration down, with more about the succession and about the service.
    pub(super) fn write_file(&self, candidates: &[&str], more: &str, service: &str) {
        let (script, shared) = (self.shared().join("writer.sh"), self.shared());
        let text = format!(
            "[group.edge]\non = \"role=edge\"\n\n[group.edge.score.ledger]\nkind = \"service/1\"\n\n\
             [group.edge.score.ledger.spec]\nname = \"ledger\"\n\
             succession = {{ candidates = {candidates:?}, profile = \"fast\"{more} }}\n\
             run = {{ program = {{ command = [\"bash\", {script:?}, {shared:?}] }} }}\n{service}"
        );
        std::fs::write(self.bed.path().join("fleet.toml"), text).unwrap();
    }

    /// Publishes that nothing is to be written any more.
    pub(super) fn withdraw(&self) {
        let text = "[group.edge]\non = \"role=edge\"\n\n[group.edge.score.motd]\nkind = \"files/1\"\n\n\
                    [group.edge.score.motd.spec]\nroot = \"/etc\"\nentries.motd = { content = \"x\", mode = \"0644\" }\n";
        std::fs::write(self.bed.path().join("fleet.toml"), text).unwrap();
        let published = self.bed.admin(["apply", "fleet.toml", "--prune", "--yes", "--no-wait"]).ok();
        assert!(published.contains("withdrawn"), "{published}");
    }

    /// Waits until nothing is written, held or told of any more, and no supervisor is left.
    pub(super) fn wait_until_over(&self) {
        until("that nobody writes", RECOVERY, || self.writes().map_or(Ok(()), Err));
        until("that nothing is told of it", RECOVERY, || {
            let status = self.bed.json(["failover", "status"]);
            let none = |list: &str| status[list].as_array().is_some_and(Vec::is_empty);
            if none("clusters") && none("withdrawn") { Ok(()) } else { Err(format!("{status}{}", self.said())) }
        });
        for name in NAMES {
            self.wait_until_forgotten(name);
        }
    }

    /// Waits until nothing of it is left on a node but what its driver must not forget.
    pub(super) fn wait_until_forgotten(&self, node: &str) {
        let folder = self.folder(node);
        until(&format!("nothing to be left on {node}"), RECOVERY, || {
            let mut free = std::process::Command::new("flock");
            let free = free.arg("--nonblock").arg(folder.join("hold.lock")).arg("true").status().unwrap();
            let (held, driven) = (!free.success(), folder.join("driven").exists());
            if held || driven { Err(format!("held: {held}, driven: {driven}{}", self.said())) } else { Ok(()) }
        });
        assert!(folder.join("durable.json").exists());
    }

    fn shared(&self) -> PathBuf {
        self.bed.path().join("shared")
    }

    /// The agent that keeps a node.
    pub(super) fn agent(&mut self, node: &str) -> &mut Proc {
        let place = NAMES.iter().position(|name| *name == node).unwrap();
        &mut self.agents[place]
    }

    /// Everything that was written.
    pub(super) fn lines(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(self.shared().join("log")).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split(' ');
            let nanos = words.next()?.parse().ok()?;
            Some(Line { nanos, node: words.next()?.to_owned(), epoch: words.next()?.parse().ok()? })
        };
        text.lines().filter_map(line).collect()
    }

    /// Who writes at this moment.
    pub(super) fn writes(&self) -> Result<Line, String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        match self.lines().pop() {
            Some(line) if now.saturating_sub(line.nanos) < 500_000_000 => Ok(line),
            last => Err(format!("nobody writes; the last was {last:?}{}", self.said())),
        }
    }

    /// Waits for a writer of a later epoch than this.
    pub(super) fn writer_after(&self, epoch: u64) -> Line {
        until(&format!("a writer after epoch {epoch}"), RECOVERY, || {
            let line = self.writes()?;
            if line.epoch > epoch { Ok(line) } else { Err(format!("{line:?}{}", self.said())) }
        })
    }

    /// What the agents said last, for a test that fails.
    fn said(&self) -> String {
        let mut said = String::new();
        for agent in self.agents.iter().chain(&self.hands) {
            let text = agent.stderr();
            let lines: Vec<&str> =
                text.lines().filter(|line| line.contains("failover") || line.contains("hold")).collect();
            let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
            writeln!(said, "\n{}:\n  {last}", agent.name()).unwrap();
        }
        said
    }

    /// Sends something to the supervisor of a node's workload.
    pub(super) fn signal_supervisor(&self, node: &str, signal: &str) {
        let pid = std::fs::read_to_string(self.hold(node).with_extension("lock")).unwrap();
        assert!(signal_to(signal, pid.trim()), "the supervisor {pid} of {node} is not there");
    }

    fn hold(&self, node: &str) -> PathBuf {
        self.folder(node).join("hold")
    }

    /// What is kept of the cluster on a node.
    pub(super) fn folder(&self, node: &str) -> PathBuf {
        let clusters = std::fs::read_dir(self.clusters(node)).unwrap();
        clusters.map(|entry| entry.unwrap().path()).next().unwrap()
    }

    fn clusters(&self, node: &str) -> PathBuf {
        let data = if self.hands.is_empty() { self.bed.data(node) } else { self.bed.path().join(node).join("hands") };
        data.join("failover")
    }

    /// The writer's process, as this machine numbers it.
    pub(super) fn writer_pid(&self) -> String {
        self.find_writer().unwrap()
    }

    /// The same, if there is one.
    pub(super) fn find_writer(&self) -> Option<String> {
        let script = self.shared().join("writer.sh");
        let found = testkit::Program::new("pgrep").args(["-f", &format!("^bash {}", script.display())]).run();
        found.stdout.lines().next().map(str::to_owned)
    }

    /// Asserts that never two wrote, and that each epoch had one writer.
    #[track_caller]
    pub(super) fn never_two(&self) {
        let overlap = std::fs::read_to_string(self.shared().join("overlap")).unwrap_or_default();
        assert_eq!(overlap, "", "two wrote at once");
        let mut before: Option<Line> = None;
        for line in self.lines() {
            if let Some(before) = before {
                assert!(line.epoch >= before.epoch, "{line:?} after {before:?}");
                assert!(line.epoch > before.epoch || line.node == before.node, "{line:?} after {before:?}");
            }
            before = Some(line);
        }
    }

    /// The coordinator is dead for three ttls, and nobody fences for that; gives who writes.
    pub(super) fn writes_on_without_its_coordinator(&mut self) -> Line {
        let first = self.writes().unwrap();
        self.coordinator.kill();
        let down = std::time::Instant::now();
        until("three ttls", DEADLINE, || {
            let line = self.writes()?;
            assert_eq!((&line.node, line.epoch), (&first.node, first.epoch));
            if down.elapsed() > TTL * 3 { Ok(()) } else { Err(String::new()) }
        });
        self.coordinator.restart();
        ready(&self.coordinator);
        first
    }

    /// Ends all agents in order; nothing may write after that.
    pub(super) fn strike(mut self) {
        self.never_two();
        for agent in self.hands.iter().chain(&self.agents) {
            agent.terminate();
        }
        for agent in self.hands.iter_mut().chain(&mut self.agents) {
            if agent.is_running() {
                agent.wait(DEADLINE);
            }
        }
        until("that nobody writes", DEADLINE, || self.writes().map_or(Ok(()), Err));
        self.never_two();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for name in NAMES {
            for cluster in std::fs::read_dir(self.clusters(name)).into_iter().flatten().flatten() {
                if let Ok(pid) = std::fs::read_to_string(cluster.path().join("hold.lock")) {
                    signal_to("KILL", pid.trim());
                }
            }
        }
    }
}

pub(super) fn signal_to(signal: &str, pid: &str) -> bool {
    std::process::Command::new("kill").args(["-s", signal, pid]).status().is_ok_and(|status| status.success())
}

/// Writes a line every 20 ms. The lock is held by the processes that have it open, whoever started them: who does not get
/// it writes beside another.
const WRITER: &str = r#"
exec 9>"$1/lock"
flock --nonblock 9 || echo "$FLT_NODE $FLT_EPOCH beside $(tail -n 1 "$1/log")" >> "$1/overlap"
while true; do
    echo "$(date +%s%N) $FLT_NODE $FLT_EPOCH" >> "$1/log"
    sleep 0.02
done
"#;
