//! Three machines in namespaces of their own, with a cluster of PostgreSQL between them, a coordinator, and clients.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::{DEADLINE, Lan, Proc, until};

use super::faults::Fault;
use super::ledger::{Ack, Clients, overlaps};
use crate::failover::stage::signal_to;
use crate::processes::bed::Bed;

/// What the tests need beside root.
pub(super) const TOOLS: &[&str] = &["ip", "tc", "nft", "flock", "getent", "psql", "unshare"];
/// The password of the clients' role.
pub(super) const PASSWORD: &str = "secret";
/// What PostgreSQL stores of it.
const VERIFIER: &str = "SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$bpSY5Ze9NUH+I35LC3gVq+DpBfK46iXBxvhAKqVu9pE=:VpYlBuxyzeCI1KnctrefdljpB1mk3Gp7sBI/t11+NkQ=";
/// How long the cluster may take to be writable again: many times what it takes.
const RECOVERY: Duration = Duration::from_secs(120);
/// How long it may take until all three are well: copying included.
const WELL: Duration = Duration::from_secs(240);
const NAMES: [&str; 3] = ["a", "b", "c"];
const PORT: u16 = 5433;
const ROUTE: u16 = 5432;

pub(super) struct Stage {
    clients: Option<Clients>,
    pub(super) agents: Vec<Proc>,
    pub(super) coordinator: Proc,
    bed: Bed,
    pub(super) lan: Arc<Lan>,
    dir: tempfile::TempDir,
    figures: Vec<String>,
}

impl Stage {
    /// A cluster that is writable, with both standbys following, and clients at work.
    pub(super) fn set() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let lan = Arc::new(Lan::new(4));
        let dir = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let bed = Bed::found_on(&lan);
        let coordinator = bed.start_coordinator();
        let agents = (1..).zip(NAMES);
        let agents = agents.map(|(host, name)| bed.join_by(bed.agent_in(lan.host(host), name), name)).collect();
        let mut stage = Self { clients: None, agents, coordinator, bed, lan, dir, figures: Vec::new() };
        stage.declare();
        let primary = until("a first primary", RECOVERY, || stage.primary().ok_or_else(|| stage.said()));
        stage.well();
        stage.sql(
            primary,
            "app",
            "CREATE TABLE rows (writer bigint, n bigint, PRIMARY KEY (writer, n)); ALTER TABLE rows OWNER TO app",
        );
        let mut places = Vec::new();
        for host in 1..=NAMES.len() {
            let namespace = stage.lan.host(host).name().to_owned();
            let base = "user=app dbname=app connect_timeout=3 keepalives_idle=2 keepalives_interval=1 keepalives_count=2 \
                        tcp_user_timeout=4000";
            // One through the node's route, and one that knows only the node itself, writable or not.
            places.push((namespace.clone(), format!("host=127.0.0.1 port={ROUTE} {base}")));
            places.push((namespace, format!("host={} port={PORT} {base}", stage.lan.address(host))));
        }
        stage.clients = Some(Clients::start(&places));
        until("rows to be acknowledged", RECOVERY, || stage.acks().len() > 100);
        stage
    }

    fn declare(&self) {
        let mut authorities = String::new();
        for name in NAMES {
            let pem = devices::postgres::make_authority(&self.dir.path().join(format!("site-{name}")), name).unwrap();
            writeln!(authorities, "authorities.site-{name} = \"\"\"{pem}\"\"\"").unwrap();
        }
        let address = |host| format!("{}:{PORT}", self.lan.address(host));
        let dir = self.dir.path().display();
        let text = format!(
            "[group.edge]\non = \"role=edge\"\n\n[group.edge.score.orders]\nkind = \"postgres/1\"\n\n\
             [group.edge.score.orders.spec]\nname = \"orders\"\n\
             succession = {{ candidates = [\"a\", \"b\", \"c\"], first = \"a\", profile = \"fast\" }}\n\
             addresses = {{ a = \"{}\", b = \"{}\", c = \"{}\" }}\nroute = \"127.0.0.1:{ROUTE}\"\n\
             folder = \"{dir}/{{node}}\"\n\
             parameters = {{ shared_buffers = \"16MB\", max_connections = \"40\", wal_keep_size = \"256MB\" }}\n\
             users = {{ app = {{ verifier = \"{VERIFIER}\" }} }}\ndatabases = {{ app = \"app\" }}\n\n\
             [group.edge.score.orders.spec.tls]\nfolder = \"{dir}/site-{{node}}\"\n{authorities}",
            address(1),
            address(2),
            address(3),
        );
        std::fs::write(self.bed.path().join("fleet.toml"), text).unwrap();
        let apply = self.bed.admin(["apply", "fleet.toml"]).ok();
        assert!(apply.contains("converged"), "{apply}");
    }

    pub(super) fn folder(&self, node: &str) -> PathBuf {
        self.dir.path().join(node)
    }

    pub(super) fn acks(&self) -> Vec<Ack> {
        self.clients.as_ref().map(Clients::acks).unwrap_or_default()
    }

    /// Asks one node's PostgreSQL, over its socket; nothing where it does not answer.
    fn ask(&self, node: &str, database: &str, sql: &str) -> Option<String> {
        let conninfo = format!(
            "host={}/run port={PORT} user=postgres dbname={database} connect_timeout=3 options='-c synchronous_commit=local'",
            self.folder(node).display()
        );
        let mut command = Command::new("timeout");
        let output = command.args(["20", "psql", "-XAtqw", "-d", &conninfo, "-c", sql]).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn sql(&self, node: &str, database: &str, sql: &str) -> String {
        self.ask(node, database, sql).unwrap_or_else(|| panic!("{node} does not answer `{sql}`{}", self.said()))
    }

    /// The node that is writable.
    pub(super) fn primary(&self) -> Option<&'static str> {
        NAMES.into_iter().find(|node| self.ask(node, "postgres", "SELECT pg_is_in_recovery()").as_deref() == Some("f"))
    }

    /// The number of a node's host in the network.
    pub(super) fn host(node: &str) -> usize {
        NAMES.iter().position(|name| *name == node).unwrap() + 1
    }

    pub(super) fn agent(&mut self, node: &str) -> &mut Proc {
        &mut self.agents[Self::host(node) - 1]
    }

    /// Waits until one node is writable and both others follow it.
    pub(super) fn well(&self) {
        until("a primary that both others follow", WELL, || {
            let primary = self.primary().ok_or_else(|| self.said())?;
            let followers = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
            match self.ask(primary, "postgres", followers) {
                Some(count) if count == "2" => Ok(()),
                other => Err(format!("{primary} has {other:?} followers{}", self.said())),
            }
        });
    }

    /// The processes of a node's PostgreSQL, as this machine numbers them, the main one first.
    pub(super) fn processes(&self, node: &str) -> Vec<String> {
        let data = self.folder(node).join("data");
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            let folder = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let program = std::fs::read_link(entry.path().join("exe")).unwrap_or_default();
            if folder == data && program.ends_with("postgres") {
                let title = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let is_main = !title.starts_with(b"postgres: ");
                found.insert(if is_main { 0 } else { found.len() }, pid);
            }
        }
        found
    }

    /// The supervisor of a node's PostgreSQL.
    pub(super) fn supervisor(&self, node: &str) -> Option<String> {
        let clusters = std::fs::read_dir(self.bed.data(node).join("failover")).ok()?;
        let lock = clusters.flatten().map(|entry| entry.path().join("hold.lock")).find(|path| path.exists())?;
        Some(std::fs::read_to_string(lock).ok()?.trim().to_owned())
    }

    /// Lets something happen to the primary, waits until rows are acknowledged by a later one, heals, and waits until all
    /// are well again.
    pub(super) fn suffer(&mut self, fault: Fault) {
        let node = self.primary().unwrap_or_else(|| panic!("no primary{}", self.said()));
        let before = self.acks().iter().map(|ack| ack.timeline).max().unwrap();
        let begun = Instant::now();
        fault.strike(self, node);
        if fault.moves() {
            let again = until(&format!("rows after {fault} of {node}"), RECOVERY, || {
                let acks = self.acks();
                let later = acks.iter().filter(|ack| ack.timeline > before).map(|ack| ack.told).min();
                later.ok_or_else(|| self.said())
            });
            let last = self.acks().iter().filter(|ack| ack.timeline == before).map(|ack| ack.told).max().unwrap();
            let gap = again.saturating_duration_since(last.max(begun));
            self.figures.push(format!("{fault}: {:.2} s without a writable primary", gap.as_secs_f64()));
        }
        fault.linger();
        fault.heal(self, node);
        self.well();
        let after = self.acks().len();
        until(&format!("rows after all is well, after {fault} of {node}"), RECOVERY, || self.acks().len() > after + 20);
        let found = overlaps(&self.acks());
        assert!(found.is_empty(), "after {fault}, {} rows of two at once: {:?}", found.len(), found.first());
        println!("{}", self.figures.last().map_or_else(|| format!("{fault}: nothing moved"), Clone::clone));
    }

    /// Ends the clients, and holds what they were told against what is there, on every node.
    pub(super) fn strike(mut self) {
        let acks = self.clients.take().unwrap().finish();
        let found = overlaps(&acks);
        assert!(found.is_empty(), "{} rows of two at once: {:?}", found.len(), found.first());
        let primary = until("a primary", RECOVERY, || self.primary());
        let text = self.sql(primary, "app", "SELECT writer || ' ' || n FROM rows");
        let row = |line: &str| {
            let (writer, n) = line.split_once(' ').unwrap();
            (writer.parse().unwrap(), n.parse().unwrap())
        };
        let there: BTreeSet<(u32, u64)> = text.lines().map(row).collect();
        let lost: Vec<&Ack> = acks.iter().filter(|ack| !there.contains(&ack.row)).collect();
        assert!(lost.is_empty(), "{} of {} acknowledged rows are lost: {:?}", lost.len(), acks.len(), lost.first());
        println!("{} rows acknowledged, 0 lost, 0 by two at once", acks.len());
    }

    /// What the agents said last, for a test that fails.
    pub(super) fn said(&self) -> String {
        let mut said = String::new();
        for agent in &self.agents {
            let text = agent.stderr();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(10)..].join("\n  ");
            writeln!(said, "\n{}:\n  {last}", agent.name()).unwrap();
        }
        said
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for name in NAMES {
            for pid in self.processes(name).into_iter().chain(self.supervisor(name)) {
                signal_to("CONT", &pid);
            }
        }
        self.agents.clear();
        for name in NAMES {
            for pid in self.supervisor(name).into_iter().chain(self.processes(name)) {
                signal_to("KILL", &pid);
            }
        }
        until("PostgreSQL to be gone", DEADLINE, || NAMES.iter().all(|name| self.processes(name).is_empty()));
    }
}
