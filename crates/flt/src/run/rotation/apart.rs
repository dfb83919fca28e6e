//! The rotation of a node whose agent is two processes, by root and while both are stopped.
//!
//! Root makes the new key and puts it in its place. It does so when its own copy of the ledger shows the rotation, entry
//! by entry verified. What needs the network, or the network half's folder, is done by a [process of that half's
//! user](super::half), whose word is not believed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use admin::workspace::KeyFiles;
use agent::hands::wire;
use anyhow::{Context as _, anyhow, ensure};
use protocols::outcome::{MESSAGE_BYTES_MAX, shorten};
use protocols::store::{Ledger, Store, StoreError};
use protocols::{FleetId, NodeId, SecretKey, SignedEntry};
use tokio::process::{Child, Command};

use super::super::{hands, read_key};
use super::half::{Said, Task};
use super::{BYTES_MAX, ENTRIES_MAX, install, keys, next_key};
use crate::config::AgentConfig;
use crate::report::Advise as _;

/// The word that has this program be the half with the network.
pub(crate) const HALF: &str = "rotate-half";
/// How long a process that is about to end may hold a folder, and how often that is looked at.
const FREE_WITHIN: Duration = Duration::from_secs(5);
const FREE_LOOK: Duration = Duration::from_millis(100);
/// What to do about a folder that somebody holds.
const STOP_BOTH: &str = "stop both halves of the agent first: systemctl stop flotilla-agent flotilla-hands; then again: flt agent rotate --stopped";

/// A rotation, as far as it came.
pub(crate) struct Rotation {
    /// The node's key until now.
    pub(crate) old: NodeId,
    /// The one that follows.
    pub(crate) new: NodeId,
    /// The file of root's.
    pub(crate) key_file: PathBuf,
    /// How far.
    pub(crate) ended: Ended,
}

/// How far a rotation came.
pub(crate) enum Ended {
    /// The new key is in its place.
    Done,
    /// The fleet does not take the new key, which was put aside.
    Refused(String),
    /// Not in time; what was in the way last. The same command goes on.
    NotYet(Option<String>),
}

/// Finishes a rotation that the hands' own ledger shows, and says so if one was begun that it does not show.
pub(in crate::run) fn settle(data: &Path, store: &Arc<Store>, fleet: FleetId) -> anyhow::Result<()> {
    let files = KeyFiles::at(data.join("key"));
    if !files.next().exists() || !files.current().exists() {
        return Ok(());
    }
    let (old, next) = keys(&files)?;
    let ledger = Ledger::open(Arc::clone(store), Some(fleet))?;
    if ledger.state().is_some_and(|state| state.successor(old.id()) == Some(next.id())) {
        return install(data, &files, old.id(), next.id());
    }
    tracing::warn!("a rotation of the node's key has not come to its end: {STOP_BOTH}");
    Ok(())
}

/// Rotates the key of a node whose two halves are stopped, within a time.
///
/// # Errors
/// If one of them is not stopped, somebody else than root asks, a file cannot be used, or the ledger does not know the key.
pub(crate) async fn rotate(config: &AgentConfig, within: Duration) -> anyhow::Result<Rotation> {
    hands::without_dumps()?;
    let data = &config.hands_data;
    let user = users(data, &config.hands_user)?;
    let files = KeyFiles::at(data.join("key"));
    ensure_made(&files)?;
    hands::ours(files.current())?;
    let store = free(data).await.map_err(|error| (remedy(&error), error));
    let store = Arc::new(store.or_else(|(remedy, error)| Err(error).hint(remedy))?);
    let fleet = hands::pinned(data)?.context("the hands know no fleet yet").hint("start them once: flt agent hands")?;
    let mut ledger = Ledger::open(Arc::clone(&store), Some(fleet))?;
    let old = read_key(files.current()).with_context(|| format!("cannot use the key {}", files.current().display()))?;
    let next = next_key(&files)?;
    known(&ledger, &files, &old, &next)?;
    let key_file = files.current().to_owned();
    let mut rotation = Rotation { old: old.id(), new: next.id(), key_file, ended: Ended::NotYet(None) };
    // Also where the ledger here shows it already: halves that ran meanwhile have brought the entry, and not the copy of the
    // key. What is done is not done again.
    let task = Task {
        data: config.data.clone(),
        copy: config.key_path(),
        listen: config.listen.clone(),
        mdns: config.mdns,
        fleet,
        old: *old.seed(),
        new: *next.seed(),
        head: ledger.head(),
    };
    let (mut half, mut hindrance) = (start(user)?, None);
    let talked = tokio::time::timeout(within, talk(&mut half, &task, &mut ledger, &mut hindrance)).await;
    // It ends with this process at the latest, and has nothing to do any more.
    drop(half.start_kill());
    drop(half.wait().await);
    match talked {
        Err(_) => rotation.ended = Ended::NotYet(hindrance),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(Some(why))) => {
            let aside = files.current().with_extension("refused");
            fs::rename(files.next(), &aside).context("cannot put the new key aside")?;
            rotation.ended = Ended::Refused(why);
        }
        Ok(Ok(None)) => {
            ensure!(shows(&ledger, &old, &next), "the entries that came do not show the rotation");
            install(data, &files, old.id(), next.id())?;
            rotation.ended = Ended::Done;
        }
    }
    Ok(rotation)
}

/// Who the network half is; that root asks, or whoever both halves are.
fn users(data: &Path, name: &str) -> anyhow::Result<(u32, u32)> {
    let found =
        fs::metadata(data).with_context(|| format!("cannot look at the folder of the hands, {}", data.display()));
    let found = found.hint("name it, if the agent is two processes: --hands-data DIR")?;
    let me = rustix::process::geteuid().as_raw();
    let user = hands::account(name, Path::new("/etc/passwd")).context("cannot find the user of the network half");
    let user = user.hint("name the user that the agent runs as: --hands-user USER")?;
    let mine = found.uid() == me && (me == 0 || user.0 == me);
    if mine { Ok(user) } else { Err(anyhow!("the folder {} is root's", data.display())).hint("run it as root") }
}

fn ensure_made(files: &KeyFiles) -> anyhow::Result<()> {
    let made = files.current().exists().then_some(());
    made.with_context(|| format!("the hands made no key of their own: there is no {}", files.current().display())).hint(
        "one that somebody named is not theirs to replace; an admin lets another key take the node's place: flt \
             admin node replace NAME",
    )
}

/// Opens a folder that a process which is about to end may still hold.
pub(super) async fn free(data: &Path) -> Result<Store, StoreError> {
    let end = tokio::time::Instant::now() + FREE_WITHIN;
    loop {
        match Store::open(data) {
            Err(StoreError::InUse { .. }) if tokio::time::Instant::now() < end => tokio::time::sleep(FREE_LOOK).await,
            opened => return opened,
        }
    }
}

/// What to do if a folder cannot be opened.
pub(super) const fn remedy(error: &StoreError) -> &'static str {
    match error {
        StoreError::InUse { .. } => STOP_BOTH,
        _ => "look at the folder, and try again",
    }
}

/// Whether the ledger, if there is one, knows the key as the node's.
fn known(ledger: &Ledger, files: &KeyFiles, old: &SecretKey, next: &SecretKey) -> anyhow::Result<()> {
    let Some(state) = ledger.state() else { return Ok(()) };
    let is = state.members().contains_key(&old.id()) || state.successor(old.id()) == Some(next.id());
    if is {
        return Ok(());
    }
    let error = anyhow!("the key in {} is not the one of a node of the fleet", files.current().display());
    Err(error).hint("an admin lets another key take the node's place: flt admin node replace NAME")
}

fn shows(ledger: &Ledger, old: &SecretKey, next: &SecretKey) -> bool {
    ledger.state().is_some_and(|state| state.successor(old.id()) == Some(next.id()))
}

/// Starts this program as the user of the network half.
fn start((user, group): (u32, u32)) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut half = Command::new(&program);
    half.args(["agent", HALF]).env_clear().current_dir("/").kill_on_drop(true);
    half.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    if user != rustix::process::geteuid().as_raw() {
        // Root's other groups go with it.
        half.gid(group).uid(user);
    }
    let started = half.spawn().with_context(|| format!("cannot start {} as user {user}", program.display()));
    started.hint("that user must be able to run it")
}

/// Gives the half its task, and takes what it brings. Nothing if it is through, or why the fleet refuses.
async fn talk(
    half: &mut Child,
    task: &Task,
    ledger: &mut Ledger,
    hindrance: &mut Option<String>,
) -> anyhow::Result<Option<String>> {
    let mut to = half.stdin.take().context("the process with the network has no input")?;
    let mut from = half.stdout.take().context("the process with the network has no output")?;
    wire::write(&mut to, task).await.context("cannot tell the process with the network what to do")?;
    let (mut count, mut bytes) = (0, 0);
    loop {
        let said: Option<Said> =
            wire::read(&mut from).await.context("cannot understand the process with the network")?;
        match said.context("the process with the network ended before it was through")? {
            Said::Entries(entries) => {
                count += entries.len();
                bytes += entries.iter().map(|entry| entry.bytes.len()).sum::<usize>();
                ensure!(count <= ENTRIES_MAX && bytes <= BYTES_MAX, "too many entries");
                take(ledger, entries, task.fleet)?;
            }
            Said::Waiting(why) => *hindrance = Some(plain(&why)),
            Said::Refused(why) => return Ok(Some(plain(&why))),
            Said::Cannot { why, hint } => {
                let error = anyhow!("{}", plain(&why));
                return if hint.is_empty() { Err(error) } else { Err(error).hint(plain(&hint)) };
            }
            Said::Done => return Ok(None),
        }
    }
}

/// Verifies entries and adds them to the hands' ledger.
fn take(ledger: &mut Ledger, mut entries: Vec<SignedEntry>, fleet: FleetId) -> anyhow::Result<()> {
    if ledger.state().is_none() && !entries.is_empty() {
        ledger.found(entries.remove(0), fleet).context("cannot keep the fleet's first entry")?;
    }
    ledger.append(entries).context("cannot keep the entries that show the rotation")?;
    Ok(())
}

/// What the other half says, as a line for a terminal of root's.
fn plain(text: &str) -> String {
    let plain: String = text.chars().filter(|c| !c.is_control()).collect();
    shorten(&plain, MESSAGE_BYTES_MAX)
}
