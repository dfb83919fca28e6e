//! A node whose agent is two processes, in a fleet of real processes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use testkit::{DEADLINE, Proc, Program, until};

use crate::processes::bed::{Bed, ready};

/// A user that nothing else on this machine runs as.
pub(super) const USER: u32 = 64_711;
/// Another one.
pub(super) const STRANGER: u32 = 64_712;
/// What these tests need: root, to become somebody else.
pub(super) const TOOLS: &[&str] = &["setpriv"];

/// A fleet with a coordinator, and a node.
pub(super) struct Split {
    pub(super) bed: Bed,
    pub(super) coordinator: Proc,
}

impl Split {
    pub(super) fn found() -> Self {
        let bed = Bed::found();
        bed.open_to_others();
        let coordinator = bed.start_coordinator();
        Self { bed, coordinator }
    }

    pub(super) fn node(&self) -> PathBuf {
        self.bed.path().join("edge-1")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.node().join("hands.sock")
    }

    /// `flt agent hands` for the node, pinned to the fleet of a ticket.
    pub(super) fn hands(&self, ticket: &str) -> Program {
        let root = self.bed.root("edge-1");
        fs::create_dir_all(&root).unwrap();
        let file = self.node().join("ticket");
        fs::write(&file, ticket).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let hands = self.bed.flt().named("hands").args(["agent", "hands", "--hands-user", &USER.to_string()]);
        let hands = hands.arg("--hands").arg(self.socket()).arg("--hands-data").arg(self.node().join("hands"));
        hands.arg("--ticket-file").arg(file).arg("--files-root").arg(root)
    }

    /// `flt agent run` as another user, with the node's key and a folder of its own.
    pub(super) fn network_half(&self, user: u32, ticket: &str) -> Program {
        let home = self.node().join(format!("of-{user}"));
        let data = home.join("data");
        fs::create_dir_all(&data).unwrap();
        for own in [&home, &data] {
            chown(own, Some(user), Some(user)).unwrap();
        }
        // What systemd does with a credential.
        let key = home.join("key");
        fs::copy(self.node().join("hands/key"), &key).unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o400)).unwrap();
        chown(&key, Some(user), Some(user)).unwrap();
        let own = user.to_string();
        let half = Program::new("setpriv").named(format!("edge-1 as {user}"));
        let half = half.args(["--reuid", &own, "--regid", &own, "--clear-groups", "--no-new-privs"]);
        let half = half.args(["--bounding-set", "-all", "--inh-caps", "-all"]).arg(self.bed.path().join("flt"));
        let half = half.args(["agent", "run", "--name", "edge-1", "--listen", "127.0.0.1:0", "--metrics", "off"]);
        let half = half.args(["--heartbeat-seconds", "2", "--join", ticket, "--data"]).arg(data);
        let half = half.arg("--key-file").arg(key).arg("--hands").arg(self.socket());
        let half = half.arg("--files-root").arg(self.bed.root("edge-1")).env("HOME", &home).folder("/");
        ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "RUST_BACKTRACE", "RUST_LOG", "FLT_LOG", "NOTIFY_SOCKET"]
            .into_iter()
            .fold(half, Program::without_env)
    }

    /// Both processes, and a node that has joined.
    pub(super) fn join(&self) -> (Proc, Proc) {
        let ticket = self.bed.invite();
        let hands = self.hands(&ticket).spawn();
        ready(&hands);
        let half = self.network_half(USER, &ticket).spawn();
        half.wait_for("joined the fleet");
        until("the facts of edge-1", DEADLINE, || {
            let node = self.bed.json(["node", "show", "edge-1"]);
            if node["facts"]["kinds"].is_array() { Ok(()) } else { Err((node, hands.stderr(), half.stderr())) }
        });
        (hands, half)
    }

    pub(super) fn apply(&self, limit: &str) -> testkit::Output {
        self.bed.admin(["apply", "fleet.toml", "--timeout", limit]).limit(DEADLINE * 3).run()
    }
}

/// The users that a process has: real, effective, saved, of the file system; and what it may do beyond that.
pub(super) fn rights(pid: u32) -> (String, String) {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    (field("Uid:"), [field("CapEff:"), field("CapPrm:"), field("CapBnd:")].join(" "))
}
