//! Where it is measured: mount, network and process namespaces of their own, a `/nix` for the admin and one for each node.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use scores::nixos::StorePath;

/// The folder that holds everything.
pub(crate) struct Bed {
    dir: PathBuf,
}

impl Bed {
    pub(crate) fn enter(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Does something with the admin's store at `/nix`.
    pub(crate) fn at_admin<R>(&self, work: impl FnOnce() -> R) -> R {
        let _mounted = Mounted::at_nix(&self.dir.join("admin"));
        work()
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    }
}

/// A node with an empty store, which is at `/nix` as long as this lives. Nothing is left of it then.
pub(crate) struct Node {
    pub(crate) dir: PathBuf,
    mounted: Option<Mounted>,
}

impl Node {
    pub(crate) fn fresh(bed: &Bed, name: &str) -> Self {
        let dir = bed.folder(name);
        let store = dir.join("nix");
        std::fs::create_dir(&store).unwrap();
        let mounted = Some(Mounted::at_nix(&store));
        sh("nix-store --init");
        Self { dir, mounted }
    }

    /// Makes sure that what was delivered is there, with all that it needs.
    pub(crate) fn must_hold(&self, path: &StorePath) {
        let all = sh(&format!("nix-store --check-validity {path} && nix-store --query --requisites {path}"));
        assert!(all.lines().all(|path| Path::new(path).exists()) && all.contains("-lib-18\n"), "{all}");
        assert!(self.dir.join("nix/store").join(path.base()).join("bin").exists(), "{path} came to another store");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.mounted.take());
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

struct Mounted;

impl Mounted {
    fn at_nix(folder: &Path) -> Self {
        sh(&format!("mount --bind {} /nix", folder.display()));
        Self
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        sh("umount /nix");
    }
}

/// Starts this program again, inside; everything ends with it, also when it is killed.
///
/// `rate` is what loopback may carry, in `tc`'s words.
pub(crate) fn run_inside(rounds: usize, rate: Option<&str>, limit: Duration) {
    let dir = tempfile::Builder::new().prefix("flt-closure-").tempdir_in("/var/tmp").unwrap();
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"])
        .args(["--propagation", "private", "sh", "-euc", ENTER, "sh"])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .arg(rounds.to_string())
        .env(INSIDE, dir.path())
        .env(RATE, rate.unwrap_or_default())
        .env("NIX_CONFIG", "build-users-group =\nsandbox = false\nsubstituters =\n")
        .env("NIX_REMOTE", "local")
        .env("HOME", dir.path())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + limit;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("not done after {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
}

/// Runs a line of a shell, which must succeed.
pub(crate) fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-euc", line]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "`{line}`: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// How much loopback may carry, for people.
pub(crate) fn limit_of_loopback() -> String {
    std::env::var(RATE).ok().filter(|rate| !rate.is_empty()).map_or_else(String::new, |rate| format!("; {rate} link"))
}

/// Bytes that went over loopback so far, headers and acknowledgements of both directions included.
pub(crate) fn on_the_wire() -> u64 {
    let text = std::fs::read_to_string("/proc/self/net/dev").unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Says that the process is inside, and where its folder is.
pub(crate) const INSIDE: &str = "FLT_CLOSURE_BENCH";
const RATE: &str = "FLT_CLOSURE_BENCH_RATE";
pub(crate) const TOOLS: &[&str] =
    &["nix-store", "nix-build", "nix", "unshare", "setpriv", "ip", "tc", "perl", "python3"];
const ENTER: &str = r#"
dir=$1; shift
mkdir -p "$dir/admin" /nix
mount -t proc proc /proc
ip link set lo up
[ -z "$FLT_CLOSURE_BENCH_RATE" ] || tc qdisc add dev lo root tbf rate "$FLT_CLOSURE_BENCH_RATE" burst 256kb latency 50ms
exec "$@"
"#;
