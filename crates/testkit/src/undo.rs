//! What has to be undone when a test is over, however it ends.
//!
//! Each act to undo is a small shell script in a folder that belongs to this process and is locked by it for as long
//! as it lives. Dropping the [`Undo`] runs the script. Where the process is killed, its lock goes with it, and
//! whoever gets the lock then runs what is left: a small process that waits for just that, or, if that was killed
//! too, the next test process that starts.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Something to undo: a shell script that runs once, on drop or after the death of the process.
///
/// The script may run when it is half done already, so it has to bear that.
#[derive(Debug)]
#[must_use = "dropping it undoes at once"]
pub struct Undo {
    script: Option<PathBuf>,
}

impl Undo {
    /// Registers a script. Register first, then act: a kill in between must not leave anything behind.
    pub fn later(script: &str) -> Self {
        let owner = OWNER.get_or_init(Owner::new);
        let file = owner.folder.join(format!("{:010}.sh", owner.next.fetch_add(1, Ordering::Relaxed)));
        let draft = file.with_extension("draft");
        fs::write(&draft, script)
            .and_then(|()| fs::rename(&draft, &file))
            .unwrap_or_else(|error| panic!("cannot register what to undo in {}: {error}", file.display()));
        Self { script: Some(file) }
    }

    /// Drops it without running it: what it would undo is gone already.
    pub fn cancel(mut self) {
        self.take();
    }

    fn take(&mut self) -> Option<PathBuf> {
        let script = self.script.take()?;
        // Whoever removes it has it; nobody else can run it after that.
        fs::remove_file(&script).ok().map(|()| script)
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let Some(script) = &self.script else { return };
        // The file is removed only afterwards: if this process is killed meanwhile, another one does it again.
        if let Err(error) = run(script) {
            eprintln!("undoing {} failed: {error}", script.display());
        }
        self.take();
    }
}

/// The folder and the lock of this process.
struct Owner {
    folder: PathBuf,
    next: AtomicU64,
    _lock: File,
}

impl Owner {
    fn new() -> Self {
        let base = base();
        sweep(&base);
        Self::claim(&base).unwrap_or_else(|error| panic!("cannot prepare {}: {error}", base.display()))
    }

    fn claim(base: &Path) -> io::Result<Self> {
        fs::create_dir_all(base)?;
        // It gets its name only when it is locked: a folder under that name and without a lock has no owner.
        let draft = tempfile::Builder::new().prefix(DRAFT).tempdir_in(base)?;
        let lock = File::create(draft.path().join(LOCK))?;
        lock.lock()?;
        let folder = base.join(format!("{}-{}", std::process::id(), started_at()));
        fs::rename(draft.keep(), &folder)?;
        watch(&folder);
        Ok(Self { folder, next: AtomicU64::new(0), _lock: lock })
    }
}

/// Starts the process that cleans up if this one is killed.
fn watch(folder: &Path) {
    let started = Command::new("flock")
        .arg(folder.join(LOCK))
        .args(["sh", "-c", CLEAN, "sh"])
        .arg(folder)
        .current_dir("/")
        // A signal to the group of the tests must not reach it.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = started {
        eprintln!("without flock(1) a killed test cleans up only when the next one starts: {error}");
    }
}

/// Cleans up after processes that died, and whose watchers died too.
fn sweep(base: &Path) {
    let Ok(folders) = fs::read_dir(base) else { return };
    for folder in folders.flatten().map(|entry| entry.path()) {
        let named = folder.file_name().is_some_and(|name| !name.to_string_lossy().starts_with(DRAFT));
        let Ok(lock) = File::open(folder.join(LOCK)) else { continue };
        if named && lock.try_lock().is_ok() {
            let cleaned = Command::new("sh").args(["-c", CLEAN, "sh"]).arg(&folder).stdin(Stdio::null()).output();
            if let Err(error) = cleaned {
                eprintln!("cannot clean up {}: {error}", folder.display());
            }
        }
    }
}

fn run(script: &Path) -> io::Result<()> {
    let output =
        Command::new("timeout").args([LIMIT, "sh"]).arg(script).stdin(Stdio::null()).stdout(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
}

/// Where the folders are. Root's are in /run, which is empty after a restart of the machine, as is all that it names.
fn base() -> PathBuf {
    let user = rustix::process::geteuid();
    if user.is_root() {
        PathBuf::from("/run/flotilla-testkit")
    } else {
        std::env::temp_dir().join(format!("flotilla-testkit-{}", user.as_raw()))
    }
}

/// Tells this process from an earlier one with the same number.
fn started_at() -> String {
    started(std::process::id()).unwrap_or_default()
}

/// When a process started, in ticks since the machine did, as the kernel counts; `None` if there is no such process.
pub(crate) fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses that may hold anything; the start is the 20th field after it.
    stat.rsplit_once(") ")?.1.split(' ').nth(19).map(str::to_owned)
}

static OWNER: OnceLock<Owner> = OnceLock::new();
const LOCK: &str = "lock";
const DRAFT: &str = ".new-";
/// How long one script may take, in seconds, as timeout(1) reads it.
const LIMIT: &str = "60";
/// Runs the scripts of a folder, the newest first, and removes it.
const CLEAN: &str = r#"cd "$1" 2>/dev/null || exit 0
for script in $(ls -r); do case $script in *.sh) timeout 60 sh "./$script";; esac; done >/dev/null 2>&1
cd / && rm -rf "$1""#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_on_drop_and_not_when_cancelled() {
        let folder = tempfile::tempdir().unwrap();
        let (done, not) = (folder.path().join("done"), folder.path().join("not"));
        let undo = Undo::later(&format!("touch {}", done.display()));
        Undo::later(&format!("touch {}", not.display())).cancel();
        assert!(!done.exists());
        drop(undo);
        assert!(done.exists());
        assert!(!not.exists());
    }

    #[test]
    fn what_a_dead_process_left_is_swept_and_what_a_living_one_has_is_not() {
        let base = tempfile::tempdir().unwrap();
        let living = Owner::claim(base.path()).unwrap();
        let dead = base.path().join("1-1");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let order = base.path().join("order");
        fs::write(dead.join("1.sh"), format!("echo first >> {}", order.display())).unwrap();
        fs::write(dead.join("2.sh"), format!("echo second >> {}", order.display())).unwrap();
        sweep(base.path());
        assert_eq!(fs::read_to_string(&order).unwrap(), "second\nfirst\n");
        assert!(!dead.exists());
        assert!(living.folder.exists());
    }
}
