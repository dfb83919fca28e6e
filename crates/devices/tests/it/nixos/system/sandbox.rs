//! A machine of its own for one test: mount and process namespaces, a `/nix` for the admin and one for the node, an own
//! `/etc`, `/run` and `/boot`; once with the Nix of this Debian and once with a recent one.
//!
//! The test starts itself again inside; everything ends with it, also when it is killed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use devices::nixos::{Nix, Published, publish};
use protocols::SecretKey;
use scores::nixos::{NixosScore, StorePath};
use testkit::closure::System;

use super::agent::{Agent, Blobs};

/// What a sandbox is made of: two stores and a blob store, in a folder.
pub(crate) struct Sandbox {
    pub(crate) dir: PathBuf,
    pub(crate) key: SecretKey,
    pub(crate) blobs: Blobs,
    generation: u64,
}

/// Runs a test with each Nix.
macro_rules! on_each_nix {
    ($(#[$doc:meta])* $name:ident, |$sandbox:ident| $body:block) => {
        $(#[$doc])*
        #[test]
        fn $name() {
            $crate::nixos::system::sandbox::on_each(concat!(module_path!(), "::", stringify!($name)), |$sandbox| $body);
        }
    };
}
pub(crate) use on_each_nix;

/// The test itself, inside; or both sandboxes, outside.
pub(crate) fn on_each(path: &str, body: impl FnOnce(&mut Sandbox)) {
    if let Ok(dir) = std::env::var(INSIDE) {
        return body(&mut Sandbox::enter(Path::new(&dir)));
    }
    let (_, name) = path.rsplit_once("::").unwrap();
    if !testkit::require(name, TOOLS) {
        return;
    }
    let test = path.split_once("::").unwrap().1;
    let forky = forky();
    // Each waits more than it works, so both at once.
    std::thread::scope(|scope| {
        let host = scope.spawn(|| run(test, "2.8", HOST, Path::new("/")));
        let recent = scope.spawn(|| run(test, "recent", FORKY, &forky));
        for sandbox in [host, recent] {
            if let Err(panic) = sandbox.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// Makes sure of the file system with the recent Nix.
fn forky() -> PathBuf {
    let script = testkit::closure::scripts().join("forky-root.sh");
    let output = Command::new(&script).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{} failed", script.display());
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

fn run(test: &str, nix: &str, script: &str, root: &Path) {
    let dir = tempfile::Builder::new().prefix("flt-nixos-").tempdir_in("/var/tmp").unwrap();
    // For a test that is killed. What runs inside is killed with it, and may still be at it for a moment.
    let name = dir.path().display();
    let killed = testkit::Undo::later(&format!(
        "for turn in 1 2 3 4 5 6 7 8 9; do rm -rf '{name}' && break; sleep 1; done; [ ! -e '{name}' ]"
    ));
    let started = Instant::now();
    let mut command = Command::new("setpriv");
    command
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--propagation",
            "private",
        ])
        .args(["sh", "-euc", script, "sh"])
        .arg(dir.path())
        .arg(root)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(INSIDE, dir.path())
        .env("NIX_CONFIG", NIX_CONFIG)
        .env("NIX_REMOTE", "local")
        .env("HOME", "/root")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null());
    let mut child = command.spawn().unwrap();
    let end = started + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{test} with Nix {nix}: not done after {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{test} failed with Nix {nix}, see above ({status})");
    eprintln!("{test} with Nix {nix}: {:?}", started.elapsed());
    drop(dir);
    killed.cancel();
}

impl Sandbox {
    pub(super) fn enter(dir: &Path) -> Self {
        let version = Command::new("nix-store").arg("--version").output().unwrap();
        eprint!("{}", String::from_utf8_lossy(&version.stdout));
        let blobs = Blobs::new(dir.join("blobs"));
        Self { dir: dir.to_owned(), key: SecretKey::from_seed(&[7; 32]), blobs, generation: 10 }
    }

    /// Does something with the admin's store at `/nix`.
    pub(crate) fn at_admin<R>(&self, work: impl FnOnce() -> R) -> R {
        sh(&format!("mount --bind {}/admin /nix", self.dir.display()));
        let result = work();
        sh("umount /nix");
        result
    }

    /// Builds a system in the admin's store.
    pub(crate) fn build(&self, system: &System) -> StorePath {
        self.at_admin(|| system.build().unwrap().parse().unwrap())
    }

    /// Publishes a system from the admin's store, and puts what came out into the blob store.
    pub(crate) fn publish(&self, system: &System) -> (NixosScore, Published) {
        let path = self.build(system);
        self.publish_path(&path)
    }

    pub(crate) fn publish_path(&self, path: &StorePath) -> (NixosScore, Published) {
        let cache = self.dir.join("cache");
        let made = self.at_admin(|| {
            let nix = Nix { home: Some(self.dir.join("home")), ..Nix::default() };
            block_on(publish(&nix, path, &self.key, &cache, |_| {})).unwrap()
        });
        for (file, blob) in &made.nars {
            self.blobs.add_file(file, blob);
        }
        assert_eq!(self.blobs.add(&made.manifest), made.manifest_ref);
        (NixosScore::new(path.clone(), made.manifest_ref), made)
    }

    /// Gives the node a first system: in its store, in the profile, running and booted.
    pub(crate) fn install(&mut self, system: &System) -> StorePath {
        let path = self.build(system);
        sh(&format!("cp -a {dir}/admin/. {dir}/node/", dir = self.dir.display()));
        sh(&format!(
            "mkdir -p /nix/var/nix/profiles && nix-env -p /nix/var/nix/profiles/system --set {path} 2>/dev/null"
        ));
        sh(&format!("ln -sfn {path} /run/booted-system && {path}/activate {path}"));
        sh(&format!("{path}/bin/switch-to-configuration boot"));
        assert_eq!(running(), path);
        path
    }

    /// What plays scores on the node.
    pub(crate) fn agent(&self) -> Agent {
        Agent::new(&self.dir, &[self.key.id()])
    }

    /// The next generation's number.
    pub(crate) fn next(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// Turns the machine off and on: what the boot loader names is what runs.
    pub(crate) fn reboot(&self) {
        let booted = booting();
        sh("rm -rf /run/nixos /run/current-system /run/booted-system");
        sh(&format!("ln -sfn {booted} /run/booted-system && {booted}/activate {booted}"));
    }
}

/// The system that runs.
pub(crate) fn running() -> StorePath {
    std::fs::canonicalize("/run/current-system").unwrap().to_str().unwrap().parse().unwrap()
}

/// The system that the boot loader was told last.
pub(crate) fn booting() -> StorePath {
    std::fs::read_to_string("/boot/loader/default").unwrap().parse().unwrap()
}

/// The system that the profile names.
pub(crate) fn profile() -> StorePath {
    std::fs::canonicalize("/nix/var/nix/profiles/system").unwrap().to_str().unwrap().parse().unwrap()
}

/// Whether the node's store has a path.
pub(crate) fn valid(path: &StorePath) -> bool {
    let status = Command::new("nix-store").args(["--check-validity", path.as_str()]).stderr(Stdio::null()).status();
    status.unwrap().success()
}

/// Runs a line of a shell, which must succeed.
pub(crate) fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-euc", line]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "`{line}`: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

/// Says that the process is inside, and where its folder is.
const INSIDE: &str = "FLT_NIXOS_SANDBOX";
const TOOLS: &[&str] =
    &["nix-store", "nix-build", "nix", "unshare", "setpriv", "setsid", "flock", "debootstrap", "perl"];
/// What one test may take in one sandbox: far more than it does, for machines that are slow and busy.
const LIMIT: Duration = Duration::from_secs(600);
const NIX_CONFIG: &str = "build-users-group =\nsandbox = false\nsubstituters =\n";

/// This Debian: an own `/etc`, `/run`, `/boot` and `/nix`.
const HOST: &str = r#"
dir=$1; shift 2
mkdir -p "$dir/etc" "$dir/etc.work" "$dir/admin" "$dir/node" "$dir/blobs" /nix
mount -t proc proc /proc
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$dir/etc,workdir=$dir/etc.work" /etc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /boot
mount --bind "$dir/node" /nix
touch /etc/NIXOS
"$@"
"#;

/// Another root, under an overlay, with the folder of the test and the test itself in it.
const FORKY: &str = r#"
dir=$1; root=$2; exe=$3; shift 3
mkdir -p "$dir/up" "$dir/up.work" "$dir/root" "$dir/admin" "$dir/node" "$dir/blobs"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$dir/up,workdir=$dir/up.work" "$dir/root"
cd "$dir/root"
mkdir -p ".$dir" .old nix
: > test
mount --rbind "$dir" ".$dir"
mount --bind "$exe" test
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs boot
pivot_root . .old
umount -l /.old
mount --bind "$dir/node" /nix
touch /etc/NIXOS
/test "$@"
"#;
