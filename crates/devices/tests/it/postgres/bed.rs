//! Clusters of real instances on loopback, each under a hold of the test's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use devices::postgres::{Acks, Instance, Place, Setup, make_authority};
use failover::{Epoch, LocalTime, Span};
use protocols::{Name, SecretKey};
use rustix::process::{Pid, Signal, kill_process};
use scores::postgres::PostgresScore;
use scores::workload::{Hold, HookEnd, Nudge, Program};
use scores::{BoxFuture, DeviceError};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

pub(super) const BIN: &str = "/usr/lib/postgresql/15/bin";

/// Nodes of one cluster, of one site each.
pub(super) struct Cluster {
    dir: TempDir,
    score: PostgresScore,
    pub(super) nodes: BTreeMap<&'static str, Node>,
}

pub(super) struct Node {
    pub(super) name: Name,
    pub(super) instance: Arc<Instance>,
    pub(super) hold: Arc<TestHold>,
    pub(super) folder: PathBuf,
    pub(super) address: SocketAddr,
}

impl Cluster {
    /// Nodes with these names; the first makes the first copy. Each is a site of its own.
    pub(super) async fn new(names: &[&'static str]) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut authorities = serde_json::Map::new();
        let mut addresses = serde_json::Map::new();
        for name in names {
            let pem = make_authority(&dir.path().join(format!("site-{name}")), name).unwrap();
            authorities.insert(format!("site-{name}"), pem.into());
            addresses.insert((*name).into(), format!("127.0.0.1:{}", testkit::free_port()).into());
        }
        let payload = serde_json::json!({
            "name": "orders", "succession": {"candidates": names, "first": names[0]}, "addresses": addresses,
            "programs": BIN, "folder": format!("{}/{{node}}", dir.path().display()),
            "tls": {"folder": format!("{}/site-{{node}}", dir.path().display()), "authorities": authorities},
            "parameters": {"shared_buffers": "16MB", "max_connections": "40", "wal_keep_size": "128MB"},
        });
        let score: PostgresScore = scores::score::parse(&payload.to_string()).unwrap();
        let mut cluster = Self { dir, score, nodes: BTreeMap::new() };
        for name in names {
            cluster.open(name).await;
        }
        cluster
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The declaration as a node has it: in a test all nodes share a machine, so each has folders of its own.
    pub(super) fn setup(&self, name: &str) -> Setup {
        Setup::new(self.score.clone(), name.parse().unwrap())
    }

    /// Opens a node's instance, anew as an agent does that has restarted: the hold stays.
    pub(super) async fn open(&mut self, name: &'static str) {
        let hold = self.nodes.get(name).map_or_else(|| Arc::new(TestHold::default()), |node| Arc::clone(&node.hold));
        let setup = self.setup(name);
        let (folder, address) = (PathBuf::from(&setup.score.folder), setup.address().unwrap());
        let kept = self.dir.path().join(format!("kept-{name}"));
        std::fs::create_dir_all(&kept).unwrap();
        let instance = Instance::open(setup, &kept, Arc::clone(&hold) as Arc<dyn Hold>).await.unwrap();
        let instance = Arc::new(instance.with_keys(Arc::from([key()])));
        let node = Node { name: name.parse().unwrap(), instance, hold, folder, address };
        self.nodes.insert(name, node);
    }

    pub(super) fn node(&self, name: &str) -> &Node {
        &self.nodes[name]
    }
}

/// The key that secrets are sealed to here.
pub(super) fn key() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in self.nodes.values() {
            node.kill();
        }
    }
}

impl Node {
    pub(super) async fn detach(&self) -> Option<Place> {
        let begun = Instant::now();
        let detached = self.instance.detach().await;
        println!("{}: detached in {} ms", self.name, begun.elapsed().as_millis());
        detached.unwrap_or_else(|error| panic!("{}: {}", self.name, scores::chain(&error)))
    }

    pub(super) async fn start(&self, epoch: u64, acks: Option<Acks>) {
        let begun = Instant::now();
        let started = self.instance.start(Epoch(epoch), soon(60), acks).await;
        println!("{}: started in {} ms", self.name, begun.elapsed().as_millis());
        started.unwrap_or_else(|error| panic!("{}: {}", self.name, scores::chain(&error)));
    }

    pub(super) async fn attach(&self, to: &Self, epoch: u64) {
        let begun = Instant::now();
        let attached = self.instance.attach(&to.name, Epoch(epoch)).await;
        println!("{}: attached in {} ms", self.name, begun.elapsed().as_millis());
        attached.unwrap_or_else(|error| panic!("{} to {}: {}", self.name, to.name, scores::chain(&error)));
    }

    pub(super) fn acks(&self) -> Option<Acks> {
        Some(Acks { num: 1, names: vec![self.name.clone()] })
    }

    pub(super) async fn session(&self) -> Client {
        self.try_session().await.unwrap()
    }

    pub(super) async fn try_session(&self) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.folder.join("run")).port(self.address.port()).user("postgres").dbname("postgres");
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// The first column of all rows.
    pub(super) async fn ask(&self, sql: &str) -> Vec<String> {
        rows(&self.session().await, sql).await.unwrap()
    }

    /// Waits until this is the answer.
    pub(super) async fn says(&self, sql: &str, wanted: &str) {
        testkit::until_async(&format!("`{sql}` to say {wanted}"), testkit::DEADLINE, async || {
            let found = self.ask(sql).await;
            if found == [wanted] { Ok(()) } else { Err(found) }
        })
        .await;
    }

    /// Ends everything at once, as a power cut does to processes.
    pub(super) fn kill(&self) {
        self.hold.kill_all();
    }

    /// The number of the main process.
    pub(super) fn postmaster(&self) -> Pid {
        self.hold.main().unwrap()
    }
}

pub(super) async fn rows(client: &Client, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = client.simple_query(sql).await?.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    Ok(rows.collect())
}

/// An instant so many seconds from now, on the machine's clock.
pub(super) fn soon(seconds: u64) -> LocalTime {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    LocalTime::from_micros(u64::try_from(time.tv_sec).unwrap() * 1_000_000) + Span::from_secs(seconds + 1)
}

/// Holds one main program, as the supervisor does, within the test.
#[derive(Debug, Default)]
pub(super) struct TestHold {
    main: Mutex<Option<std::process::Child>>,
}

impl TestHold {
    fn locked(&self) -> std::sync::MutexGuard<'_, Option<std::process::Child>> {
        self.main.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> bool {
        self.locked().as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    fn main(&self) -> Option<Pid> {
        let mut main = self.locked();
        let child = main.as_mut()?;
        child.try_wait().unwrap().is_none().then(|| Pid::from_child(child))
    }

    fn kill_all(&self) {
        let Some(main) = self.main() else { return };
        // Stopped first, so that it starts no more while its children are looked for.
        let _gone = kill_process(main, Signal::STOP);
        for child in children(main) {
            let _gone = kill_process(child, Signal::KILL);
        }
        let _gone = kill_process(main, Signal::KILL);
        if let Some(child) = self.locked().as_mut() {
            child.wait().unwrap();
        }
    }
}

fn children(of: Pid) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<i32>().ok());
        parent == Some(of.as_raw_nonzero().get())
    };
    pids.filter(is_child).filter_map(Pid::from_raw).collect()
}

fn command(program: &Program) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(&program.command[0]);
    command.args(&program.command[1..]).envs(&program.environment).stdin(Stdio::null()).kill_on_drop(true);
    command.current_dir(program.folder.as_deref().unwrap_or_else(|| Path::new("/")));
    if let Some(user) = &program.user {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        let line = passwd.lines().find(|line| line.starts_with(&format!("{user}:"))).unwrap().to_owned();
        let number = |place| line.split(':').nth(place).unwrap().parse().unwrap();
        command.uid(number(2)).gid(number(3));
    }
    command
}

impl Hold for TestHold {
    fn arm(&self, _until: LocalTime) -> BoxFuture<'_, Result<(), DeviceError>> {
        Box::pin(async { Ok(()) })
    }

    fn run<'a>(&'a self, program: &'a Program, _until: LocalTime) -> BoxFuture<'a, Result<(), DeviceError>> {
        Box::pin(async move {
            if self.running() {
                return Err(DeviceError::permanent("start: one runs already"));
            }
            let mut command = command(program).into_std();
            command.stdout(Stdio::null()).stderr(Stdio::null());
            *self.locked() = Some(command.spawn().unwrap());
            Ok(())
        })
    }

    fn hook<'a>(&'a self, program: &'a Program, within: Duration) -> BoxFuture<'a, Result<HookEnd, DeviceError>> {
        Box::pin(async move {
            let output = tokio::time::timeout(within, command(program).output()).await.unwrap().unwrap();
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]).into_owned();
            Ok(HookEnd { status: output.status.code(), output: text })
        })
    }

    fn signal(&self, signal: Nudge) -> BoxFuture<'_, Result<(), DeviceError>> {
        Box::pin(async move {
            let signal = match signal {
                Nudge::Hup => Signal::HUP,
                Nudge::Int => Signal::INT,
                Nudge::Quit => Signal::QUIT,
                other => panic!("{other:?} is not for PostgreSQL"),
            };
            let main = self.main().ok_or_else(|| DeviceError::transient("signal: none runs"))?;
            kill_process(main, signal).map_err(|error| DeviceError::io("signal", error.into()))
        })
    }

    fn ended(&self) -> BoxFuture<'_, String> {
        Box::pin(async {
            while self.running() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            "it is gone".into()
        })
    }

    fn is_running(&self) -> BoxFuture<'_, Result<bool, DeviceError>> {
        Box::pin(async { Ok(self.running()) })
    }

    fn kill(&self) -> BoxFuture<'_, Result<(), DeviceError>> {
        Box::pin(async {
            self.kill_all();
            Ok(())
        })
    }

    fn kill_hard(&self) -> BoxFuture<'_, Result<(), DeviceError>> {
        self.kill()
    }
}
