//! Three machines in namespaces of their own, with a cluster of PostgreSQL between them, a coordinator, and clients.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::{DEADLINE, Lan, Namespace, Proc, Quality, until};

use super::coordinators::{Coordinators, HOSTS};
use super::faults::{Fault, Moves, Needs};
use super::figures::{Row, longest_gap};
use super::ledger::{Ack, Clients, PSQL, Place, overlaps};
use crate::failover::halves::join;
use crate::failover::stage::signal_to;
use crate::processes::bed::{Bed, ready};

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
/// The file that fills a disk.
const FILLER: &str = "filler";

pub(super) struct Stage {
    clients: Option<Clients>,
    pub(super) agents: Vec<Proc>,
    /// What changes the machines, where that is another process than the agent.
    pub(super) hands: Vec<Proc>,
    pub(super) coordinators: Coordinators,
    pub(super) bed: Bed,
    // Cables before their ends.
    pub(super) lan: Arc<Lan>,
    hosts: Vec<Namespace>,
    _disks: Vec<Disk>,
    dir: tempfile::TempDir,
}

/// The nodes but these.
pub(super) fn others(than: &[&str]) -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| !than.contains(name)).collect()
}

/// A small file system.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf) -> Self {
        std::fs::create_dir(&at).unwrap();
        // More than PostgreSQL keeps of its log (`wal_keep_size` and `max_wal_size`), or many runs fill those that nobody
        // means to.
        testkit::Program::new("mount").args(["-t", "tmpfs", "-o", "size=1600m,mode=0755", "tmpfs"]).arg(&at).ok();
        Self(at)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.0.display());
        }
    }
}

impl Stage {
    /// A cluster that is writable, with both standbys following, and clients at work.
    pub(super) fn set(coordinators: usize, needs: &Needs) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let mut lan = Lan::new(1);
        let hosts: Vec<Namespace> = (1..=HOSTS[2]).map(|number| Namespace::new(&format!("host{number}"))).collect();
        for host in &hosts {
            if needs.slow_cables {
                lan.attach_by(host, Quality::default())
            } else {
                lan.attach(host)
            };
        }
        let lan = Arc::new(lan);
        let dir = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let small = NAMES.iter().filter(|_| needs.small_disks);
        let disks = small.map(|name| Disk::mount(dir.path().join(name))).collect();
        let bed = Bed::found_on(&lan);
        let coordinators = Coordinators::start(&bed, &lan, &hosts, coordinators);
        let nodes = hosts.iter().zip(NAMES);
        let (hands, agents) = if needs.halves {
            bed.open_to_others();
            nodes.map(|(host, name)| join(&bed, name, Some(host))).unzip()
        } else {
            (Vec::new(), nodes.map(|(host, name)| bed.join_by(bed.agent_in(host, name), name)).collect())
        };
        let mut stage = Self { clients: None, agents, hands, coordinators, bed, lan, hosts, _disks: disks, dir };
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
            let namespace = stage.hosts[host - 1].name().to_owned();
            let base = "user=app dbname=app connect_timeout=3 keepalives_idle=2 keepalives_interval=1 keepalives_count=2 \
                        tcp_user_timeout=4000";
            // One through the node's route, and one that knows only the node itself, writable or not.
            let conninfo = format!("host=127.0.0.1 port={ROUTE} {base}");
            places.push(Place { namespace: namespace.clone(), conninfo, again: Duration::from_millis(100) });
            // One that knows this node alone. While it is no primary, a client that tries too often takes all of a small machine.
            let conninfo = format!("host={} port={PORT} {base}", stage.lan.address(host));
            places.push(Place { namespace, conninfo, again: Duration::from_millis(500) });
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
        let succession = std::env::var("FLT_FAILOVER_SETTINGS").unwrap_or_else(|_| "profile = \"fast\"".into());
        let dir = self.dir.path().display();
        let text = format!(
            "[group.edge]\non = \"role=edge\"\n\n[group.edge.score.orders]\nkind = \"postgres/1\"\n\n\
             [group.edge.score.orders.spec]\nname = \"orders\"\n\
             succession = {{ candidates = [\"a\", \"b\", \"c\"], first = \"a\", {succession} }}\n\
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
        let output = command.args(["20", PSQL, "-XAtqw", "-d", &conninfo, "-c", sql]).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn sql(&self, node: &str, database: &str, sql: &str) -> String {
        self.ask(node, database, sql).unwrap_or_else(|| panic!("{node} does not answer `{sql}`{}", self.said()))
    }

    /// The node that is writable.
    pub(super) fn primary(&self) -> Option<&'static str> {
        NAMES.into_iter().find(|node| self.is_writable(node))
    }

    /// The number of a node's host in the network.
    pub(super) fn host(node: &str) -> usize {
        NAMES.iter().position(|name| *name == node).unwrap() + 1
    }

    pub(super) fn agent(&mut self, node: &str) -> &mut Proc {
        &mut self.agents[Self::host(node) - 1]
    }

    /// The half with root of an agent of two processes.
    pub(super) fn hand(&mut self, node: &str) -> &mut Proc {
        &mut self.hands[Self::host(node) - 1]
    }

    /// Waits until one node is writable and both others follow it.
    pub(super) fn well(&self) {
        self.follows(2);
    }

    /// Waits until one node is writable and so many follow it.
    pub(super) fn follows(&self, wanted: usize) {
        until(&format!("a primary that {wanted} others follow"), WELL, || {
            let primary = self.primary().ok_or_else(|| self.said())?;
            // Asked of them: to the primary, one that is copied looks as if it followed.
            let follows = |node: &&str| {
                let status = self.ask(node, "postgres", "SELECT status FROM pg_stat_wal_receiver");
                status.as_deref() == Some("streaming")
            };
            match NAMES.into_iter().filter(follows).count() {
                count if count == wanted => Ok(()),
                count => Err(format!("{primary} has {count} followers{}", self.said())),
            }
        });
    }

    /// Waits until a node takes writes.
    pub(super) fn wait_for_primary(&self, node: &str) {
        until(&format!("{node} to be the primary"), RECOVERY, || {
            if self.is_writable(node) { Ok(()) } else { Err(self.said()) }
        });
    }

    /// Removes a node from the fleet, and waits until the others go by that.
    pub(super) fn remove(&self, node: &str) {
        self.bed.admin(["node", "remove", node, "--yes"]).run().expect(0);
        until("the others' settings to be in force", RECOVERY, || {
            let status = self.bed.json(["failover", "status"]);
            let cluster = &status["clusters"][0];
            let left = cluster["left_out"].as_array().is_some_and(|left| left.iter().any(|name| name == node));
            if left && cluster["in_force"] == true { Ok(()) } else { Err(format!("{status}{}", self.said())) }
        });
    }

    /// Starts a node's agent anew.
    pub(super) fn restart(&mut self, node: &str) {
        let agent = self.agent(node);
        agent.restart();
        ready(agent);
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
        let data = if self.hands.is_empty() { self.bed.data(node) } else { self.bed.path().join(node).join("hands") };
        let clusters = std::fs::read_dir(data.join("failover")).ok()?;
        let lock = clusters.flatten().map(|entry| entry.path().join("hold.lock")).find(|path| path.exists())?;
        Some(std::fs::read_to_string(lock).ok()?.trim().to_owned())
    }

    /// Lets something happen to the primary, waits until rows are acknowledged by a later one where that must be, heals,
    /// waits until all are well again, and moves the primary back.
    pub(super) fn suffer(&mut self, fault: Fault, row: &mut Row) {
        let node = self.primary().unwrap_or_else(|| panic!("no primary{}", self.said()));
        let before = self.timeline();
        let begun = Instant::now();
        fault.strike(self, node);
        if fault.moves() == Moves::Always {
            until(&format!("rows after {fault} of {node}"), RECOVERY, || {
                fault.goes_on(self, node);
                if self.timeline() > before { Ok(()) } else { Err(self.said()) }
            });
        }
        fault.linger();
        fault.heal(self, node);
        self.well();
        self.writes(&format!("rows after all is well, after {fault} of {node}"));
        let (acks, moved) = (self.acks(), self.timeline() > before);
        assert!(!moved || fault.moves() != Moves::Never, "{node} lost its lease by {fault}{}", self.said());
        row.gaps.push(longest_gap(&acks, begun));
        row.moved += usize::from(moved);
        println!("{fault}: {:.2} s without a writable primary", row.gaps.last().unwrap().as_secs_f64());
        if moved && self.primary() != Some(node) {
            row.back.push(self.move_back(node));
        }
        row.overlapping = overlaps(&self.acks()).len();
    }

    /// A planned switchover to a node that all is well with; gives how long nothing was acknowledged.
    fn move_back(&self, node: &str) -> Duration {
        let mut begun = Instant::now();
        until(&format!("a switchover to {node}"), RECOVERY, || {
            begun = Instant::now();
            let order = self.bed.admin(["failover", "switchover", "postgres/orders", "--to", node]);
            let output = order.limit(RECOVERY * 2).run();
            // Refused as long as it has not said what it holds; and on a slow machine it may not begin to write in time.
            if output.code == Some(0) { Ok(()) } else { Err(output.stderr) }
        });
        until(&format!("{node} to be the primary again"), RECOVERY, || {
            if self.primary() == Some(node) { Ok(()) } else { Err(self.said()) }
        });
        self.well();
        self.writes("rows after the switchover");
        longest_gap(&self.acks(), begun)
    }

    /// The latest timeline in which a row was acknowledged.
    fn timeline(&self) -> u32 {
        self.acks().iter().map(|ack| ack.timeline).max().unwrap()
    }

    /// Waits until more rows are acknowledged.
    pub(super) fn writes(&self, what: &str) {
        let after = self.acks().len();
        until(what, RECOVERY, || if self.acks().len() > after + 20 { Ok(()) } else { Err(self.said()) });
    }

    /// Whether a node takes writes.
    pub(super) fn is_writable(&self, node: &str) -> bool {
        self.ask(node, "postgres", "SELECT pg_is_in_recovery()").as_deref() == Some("f")
    }

    /// Nothing that a host sends to the coordinators arrives, or it does again.
    pub(super) fn cut_from_coordinators(&self, host: usize, cut: bool) {
        let change = if cut { "add" } else { "del" };
        for coordinator in HOSTS {
            let address = self.lan.address(coordinator);
            self.hosts[host - 1].ip(&format!("route {change} blackhole {address}/32"));
        }
    }

    /// Fills the file system of a node, and has PostgreSQL want more of it.
    pub(super) fn fill_disk(&self, node: &str) {
        let filler = std::fs::File::create(self.folder(node).join(FILLER)).unwrap();
        let zeros = vec![0_u8; 1 << 16];
        while std::io::Write::write_all(&mut &filler, &zeros).is_ok() {}
        // Each wants a new file of the log, until there is none. Nothing else of it grows: that would be an error of a
        // statement, and no reason to end.
        let more = "SELECT pg_logical_emit_message(false, 'filler', 'x'); SELECT pg_switch_wal()";
        until("the log to find no room", RECOVERY, || {
            self.ask(node, "app", more);
            if self.is_writable(node) { Err(self.said()) } else { Ok(()) }
        });
    }

    pub(super) fn empty_disk(&self, node: &str) {
        std::fs::remove_file(self.folder(node).join(FILLER)).unwrap();
    }

    /// Ends the clients, and holds what they were told against what is there.
    pub(super) fn strike<'a>(mut self, rows: impl Iterator<Item = &'a mut Row>) {
        let acks = self.clients.take().unwrap().finish();
        let found = overlaps(&acks);
        let primary = until("a primary", RECOVERY, || self.primary());
        let text = self.sql(primary, "app", "SELECT writer || ' ' || n FROM rows");
        let row = |line: &str| {
            let (writer, n) = line.split_once(' ').unwrap();
            (writer.parse().unwrap(), n.parse().unwrap())
        };
        let there: BTreeSet<(u32, u64)> = text.lines().map(row).collect();
        let lost: Vec<&Ack> = acks.iter().filter(|ack| !there.contains(&ack.row)).collect();
        if let Some(first) = found.first().or_else(|| lost.first().copied()) {
            println!("{} lost, {} by two at once, for example {first:?}{}", lost.len(), found.len(), self.said());
        }
        for row in rows {
            (row.lost, row.overlapping, row.acknowledged) = (lost.len(), found.len(), acks.len());
        }
    }

    /// What the agents said last, for a test that fails.
    pub(super) fn said(&self) -> String {
        let mut said = String::new();
        for agent in self.agents.iter().chain(&self.hands) {
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
        self.hands.clear();
        for name in NAMES {
            for pid in self.supervisor(name).into_iter().chain(self.processes(name)) {
                signal_to("KILL", &pid);
            }
        }
        until("PostgreSQL to be gone", DEADLINE, || NAMES.iter().all(|name| self.processes(name).is_empty()));
    }
}
