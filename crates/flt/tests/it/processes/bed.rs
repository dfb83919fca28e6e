//! A founded fleet in a folder of its own, and the programs that run in it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use testkit::{DEADLINE, Lan, Namespace, Proc, Program, free_port, until};

/// A fleet that `flt admin init` founded.
pub(crate) struct Bed {
    dir: tempfile::TempDir,
    /// Where the coordinator listens, also after it was started anew.
    listen: SocketAddr,
    /// Where it answers questions about its health.
    pub(crate) metrics: SocketAddr,
    /// The network whose first host the coordinator and the admin use, if it is not this machine's own loopback.
    lan: Option<Arc<Lan>>,
}

impl Bed {
    pub(crate) fn found() -> Self {
        let dir = tempfile::Builder::new().prefix("flt-processes-").tempdir().unwrap();
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { dir, listen: at(free_port()), metrics: at(free_port()), lan: None }.init()
    }

    /// One whose coordinator and admin are on the first host of a network.
    pub(crate) fn found_on(lan: &Arc<Lan>) -> Self {
        let dir = tempfile::Builder::new().prefix("flt-processes-").tempdir().unwrap();
        let listen = SocketAddr::from((lan.address(0), 4433));
        Self { dir, listen, metrics: SocketAddr::from((Ipv4Addr::LOCALHOST, 9479)), lan: Some(Arc::clone(lan)) }.init()
    }

    fn init(self) -> Self {
        self.flt().args(["admin", "init", "--name", "acme"]).ok();
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where the coordinator listens.
    pub(crate) const fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// `flt` in the fleet's folder, with nothing of this machine's own configuration.
    pub(crate) fn flt(&self) -> Program {
        let flt = self.bare_flt();
        match &self.lan {
            Some(lan) => flt.in_namespace(lan.host(0)),
            None => flt,
        }
    }

    fn bare_flt(&self) -> Program {
        let home = self.path().join("home");
        let flt = Program::flt().folder(self.path()).env("HOME", &home).env("USER", "alice");
        ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "RUST_BACKTRACE", "RUST_LOG", "FLT_LOG", "NOTIFY_SOCKET", "NO_COLOR"]
            .into_iter()
            .fold(flt, Program::without_env)
    }

    /// `flt admin …`.
    pub(crate) fn admin<const N: usize>(&self, words: [&str; N]) -> Program {
        self.flt().arg("admin").args(words).named(format!("flt admin {}", words.join(" ")))
    }

    /// What `flt --json admin …` answers.
    pub(crate) fn json<const N: usize>(&self, words: [&str; N]) -> Value {
        serde_json::from_str(&self.flt().args(["--json", "admin"]).args(words).ok()).unwrap()
    }

    /// A node's key, as leases name it.
    pub(crate) fn lease_id(&self, name: &str) -> failover::NodeId {
        let key = protocols::SecretKey::read(&self.data(name).join("key"), || None).unwrap();
        failover::NodeId::from_bytes(*key.id().as_bytes())
    }

    pub(crate) fn coordinator(&self) -> Program {
        let (listen, metrics) = (self.listen.to_string(), self.metrics.to_string());
        self.flt().named("coordinator").args(["coordinator", "run", "--config", "coordinator/coordinator.toml"]).args([
            "--listen",
            &listen,
            "--metrics",
            &metrics,
        ])
    }

    /// Lets other users get to their own folders in it, and gives them an `flt` that they can run.
    pub(crate) fn open_to_others(&self) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(self.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let binary = self.path().join("flt");
        if std::fs::hard_link(testkit::flt_binary(), &binary).is_err() {
            std::fs::copy(testkit::flt_binary(), &binary).unwrap();
        }
    }

    pub(crate) fn start_coordinator(&self) -> Proc {
        let coordinator = self.coordinator().spawn();
        ready(&coordinator);
        coordinator
    }

    pub(crate) fn ticket(&self) -> String {
        std::fs::read_to_string(self.path().join("coordinator/data/ticket")).unwrap().trim().to_owned()
    }

    /// A ticket that works once.
    pub(crate) fn invite(&self) -> String {
        let output = self.admin(["invite", "--label", "role=edge"]).run().expect(0);
        assert!(output.stderr.contains("it is a secret"), "{}", output.stderr);
        output.stdout.trim().to_owned()
    }

    /// `flt agent run` with a data folder and a root named like the node.
    pub(crate) fn agent(&self, name: &str) -> Program {
        self.agent_of(self.flt(), name, "127.0.0.1:0")
    }

    /// The same, in another place.
    pub(crate) fn agent_in(&self, host: &Namespace, name: &str) -> Program {
        self.agent_of(self.bare_flt().in_namespace(host), name, "0.0.0.0:0")
    }

    fn agent_of(&self, flt: Program, name: &str, listen: &str) -> Program {
        let root = self.root(name);
        std::fs::create_dir_all(&root).unwrap();
        flt.named(name)
            .args(["agent", "run", "--name", name, "--listen", listen, "--metrics", "off"])
            .args(["--heartbeat-seconds", "2", "--data"])
            .arg(self.data(name))
            .arg("--files-root")
            .arg(root)
    }

    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.path().join(name).join("data")
    }

    pub(crate) fn root(&self, name: &str) -> PathBuf {
        self.path().join(name).join("root")
    }

    /// A new node, that has joined.
    pub(crate) fn join(&self, name: &str) -> Proc {
        self.join_by(self.agent(name), name)
    }

    pub(crate) fn join_by(&self, agent: Program, name: &str) -> Proc {
        let agent = agent.args(["--join", &self.invite()]).spawn();
        agent.wait_for("joined the fleet");
        until(&format!("the facts of {name}"), DEADLINE, || {
            let node = self.json(["node", "show", name]);
            if node["facts"]["kinds"].is_array() { Ok(()) } else { Err(node) }
        });
        agent
    }

    /// Writes a fleet file that declares one file on every edge node, and a command that must succeed afterwards.
    pub(crate) fn declare(&self, file: &str, content: &str, check: &[&str]) {
        let text = format!(
            "[group.edge]\non = \"role=edge\"\n\n[group.edge.score.motd]\nkind = \"files/1\"\n\n\
             [group.edge.score.motd.spec]\nroot = \"/etc\"\nentries.motd = {{ content = {content:?}, mode = \"0644\" }}\n\n\
             [group.edge.score.motd.policy]\nchecks = [{{ type = \"exec\", command = {check:?} }}]\ncheck_seconds = 1\n"
        );
        std::fs::write(self.path().join(file), text).unwrap();
    }

    pub(crate) fn motd(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.root(name).join("etc/motd")).ok()
    }

    /// Waits until a node has a file.
    pub(crate) fn wait_for_motd(&self, name: &str, content: &str) {
        until(&format!("{content:?} on {name}"), DEADLINE, || {
            let motd = self.motd(name);
            if motd.as_deref() == Some(content) { Ok(()) } else { Err(motd) }
        });
    }
}

/// Waits until a daemon says that it is ready.
pub(crate) fn ready(daemon: &Proc) {
    daemon.wait_for("ready status=");
}

/// What is answered at a path over HTTP.
pub(crate) fn get(at: SocketAddr, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
