//! What of a rotation needs the network, or the network half's folder, where the agent is two processes: done as the user
//! of that half, for a [command of root's](super::apart), which gives it both keys and takes entries from it.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use admin::workspace::KeyFiles;
use agent::hands::wire;
use anyhow::{Context as _, anyhow};
use protocols::control::{SubmitError, Tail};
use protocols::entry::{Head, Role};
use protocols::key::KeyFormat;
use protocols::standing::{STANDING_FILE, Standing};
use protocols::store::Ledger;
use protocols::{FleetId, NodeId, SecretKey, SignedEntry, Ticket, alpn};
use serde::{Deserialize, Serialize};
use tokio::io::Stdout;

use super::super::{TICKET_FILE, without_dumps};
use super::apart::{free, remedy};
use super::{AGAIN_AFTER, ANSWER_WITHIN, BYTES_MAX, ENTRIES_MAX, carry_over, connect, enter};

/// What is to be done.
#[derive(Serialize, Deserialize)]
pub(super) struct Task {
    /// The network half's folder.
    pub(super) data: PathBuf,
    /// Where that half has a key of its own, if it has: what systemd hands over is not there while it is stopped.
    pub(super) copy: PathBuf,
    /// What to listen on.
    pub(super) listen: Vec<SocketAddr>,
    /// Whether to look for coordinators on the local network.
    pub(super) mdns: bool,
    /// The fleet that the hands are pinned to.
    pub(super) fleet: FleetId,
    /// The key of before.
    pub(super) old: [u8; 32],
    /// The one that follows.
    pub(super) new: [u8; 32],
    /// The newest entry that the hands have.
    pub(super) head: Option<Head>,
}

/// What is said of it.
#[derive(Serialize, Deserialize)]
pub(super) enum Said {
    /// These entries follow what the hands have.
    Entries(Vec<SignedEntry>),
    /// This is in the way, and is tried again.
    Waiting(String),
    /// The fleet does not take the new key.
    Refused(String),
    /// It cannot be done.
    Cannot { why: String, hint: String },
    /// The ledger shows it, and so does the folder.
    Done,
}

/// Why it was not done.
enum Halt {
    Refused(String),
    Cannot { why: String, hint: &'static str },
}

impl From<anyhow::Error> for Halt {
    fn from(error: anyhow::Error) -> Self {
        Self::Cannot { why: scores::chain(error.as_ref()), hint: "" }
    }
}

impl From<Halt> for Said {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Refused(why) => Self::Refused(why),
            Halt::Cannot { why, hint } => Self::Cannot { why, hint: hint.to_owned() },
        }
    }
}

/// Reads a task, does it, and says what became of it.
///
/// # Errors
/// If nobody listens.
pub(crate) async fn run() -> anyhow::Result<()> {
    without_dumps()?;
    // Nobody is to go on with it alone.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let task: Task = wire::read(&mut tokio::io::stdin()).await?.context("nobody says what to do")?;
    let mut out = tokio::io::stdout();
    let said = match work(&task, &mut out).await {
        Ok(()) => Said::Done,
        Err(halt) => halt.into(),
    };
    Ok(wire::write(&mut out, &said).await?)
}

async fn work(task: &Task, out: &mut Stdout) -> Result<(), Halt> {
    let (old, new) = (SecretKey::from_seed(&task.old), SecretKey::from_seed(&task.new));
    let ticket = ticket(task)?;
    may_go_on(&task.data)?;
    let store = free(&task.data).await;
    let store = store.map_err(|error| Halt::Cannot { hint: remedy(&error), why: scores::chain(&error) })?;
    let store = Arc::new(store);
    let mut ledger = Ledger::open(Arc::clone(&store), Some(task.fleet)).context("cannot read the ledger")?;
    let Some(state) = ledger.state() else {
        return Err(anyhow!("the agent has not joined the fleet yet").into());
    };
    if !state.members().contains_key(&old.id()) && state.successor(old.id()) != Some(new.id()) {
        let why = "the key of the hands is not the one of a node of the fleet".to_owned();
        return Err(Halt::Cannot {
            why,
            hint: "an admin lets another key take its place: flt admin node replace NAME",
        });
    }
    // The key of the hands, or one that it followed: hands that were started meanwhile put a new one in its place alone.
    let ours = |key| key == old.id() || state.successor(key).is_some_and(|last| last == old.id() || last == new.id());
    let copy = Copy::prepare(&task.copy, ours, &new)?;
    while !shows(&ledger, &old, &new) {
        match again(&mut ledger, task, &ticket, (&old, &new)).await {
            Ok(()) if shows(&ledger, &old, &new) => break,
            Ok(()) => {}
            Err(Tried::Refused(refused)) => {
                copy.leave();
                return Err(Halt::Refused(scores::chain(&refused)));
            }
            Err(Tried::Not(error)) => {
                let why = Said::Waiting(scores::chain(error.as_ref()));
                wire::write(out, &why).await.context("nobody listens")?;
            }
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
    carry_over(store, old.id(), &new)?;
    copy.replace()?;
    // Last, so that root's half has the rotation when all else is done.
    let mut from = task.head.map_or(0, |head| head.seq.saturating_add(1));
    loop {
        let entries =
            ledger.range(from, wire::ENTRIES_MAX, wire::ENTRIES_BYTES_MAX).context("cannot read the ledger")?;
        if entries.is_empty() {
            return Ok(());
        }
        from = from.saturating_add(entries.len() as u64);
        wire::write(out, &Said::Entries(entries)).await.context("nobody listens")?;
    }
}

fn ticket(task: &Task) -> Result<Ticket, Halt> {
    let path = task.data.join(TICKET_FILE);
    let read = || -> anyhow::Result<Ticket> { Ok(fs::read_to_string(&path)?.trim().parse::<Ticket>()?) };
    let ticket = read().map_err(|error| Halt::Cannot {
        why: format!("cannot use the ticket {}: {}", path.display(), scores::chain(error.as_ref())),
        hint: "name the folder of the half with the network: --data DIR; it must have run once",
    })?;
    if ticket.fleet != task.fleet {
        return Err(anyhow!("{} is of another fleet than the hands", path.display()).into());
    }
    Ok(ticket)
}

/// A node that takes no more entries is not given more by a rotation.
fn may_go_on(data: &Path) -> Result<(), Halt> {
    let Ok(text) = fs::read(data.join(STANDING_FILE)) else { return Ok(()) };
    match serde_json::from_slice::<Standing>(&text).ok().and_then(|standing| standing.refuses) {
        Some(why) => Err(Halt::Cannot {
            why: format!("when the agent ran last it took no more entries: {why}"),
            hint: "say first which history counts, `flt agent resolve`, and start the agent",
        }),
        None => Ok(()),
    }
}

fn shows(ledger: &Ledger, old: &SecretKey, new: &SecretKey) -> bool {
    ledger.state().is_some_and(|state| state.successor(old.id()) == Some(new.id()))
}

/// Why one try was not enough.
enum Tried {
    Refused(SubmitError),
    Not(anyhow::Error),
}

impl From<anyhow::Error> for Tried {
    fn from(error: anyhow::Error) -> Self {
        Self::Not(error)
    }
}

/// Catches up and enters the rotation with the old key, if that is the node's still; and looks with the new one.
async fn again(
    ledger: &mut Ledger,
    task: &Task,
    ticket: &Ticket,
    (old, new): (&SecretKey, &SecretKey),
) -> Result<(), Tried> {
    let place = (task.listen.as_slice(), task.mdns);
    let Some(state) = ledger.state().cloned() else { return Ok(()) };
    let link = connect(old, &state, ticket, &task.data, place).await?;
    let caught_up = catch_up(ledger, link.mesh()).await;
    let mut entered = Ok(());
    if caught_up.is_ok()
        && !shows(ledger, old, new)
        && let Some(state) = ledger.state()
    {
        entered = enter(link.mesh(), state, old, new).await;
    }
    link.close().await;
    entered.map_err(Tried::Refused)?;
    if shows(ledger, old, new) {
        return Ok(());
    }
    let link = connect(new, &state, ticket, &task.data, place).await?;
    let proven = catch_up(ledger, link.mesh()).await;
    link.close().await;
    // Before it is entered, the new key is nobody's.
    caught_up.or(proven)?;
    if shows(ledger, old, new) { Ok(()) } else { Err(Tried::Not(anyhow!("the ledger does not show the rotation yet"))) }
}

/// Adds to the ledger what the first coordinator that answers has more.
async fn catch_up(ledger: &mut Ledger, mesh: &mesh::Mesh) -> anyhow::Result<()> {
    let state = ledger.state().context("no ledger is here")?;
    let coordinators: Vec<NodeId> = state.with_role(Role::Coordinator).map(|(id, _)| id).collect();
    let mut failed = anyhow!("the fleet has no coordinator");
    for coordinator in coordinators {
        match tokio::time::timeout(ANSWER_WITHIN, catch_up_by(ledger, mesh, coordinator)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = anyhow!("no answer in time"),
        }
        failed = failed.context(format!("cannot read the ledger from the coordinator {}", coordinator.short()));
    }
    Err(failed)
}

async fn catch_up_by(ledger: &mut Ledger, mesh: &mesh::Mesh, coordinator: NodeId) -> anyhow::Result<()> {
    let client = mesh.client::<protocols::control::Control>(coordinator, alpn::CONTROL);
    let (mut count, mut bytes) = (0, 0);
    let mut batches = client.server_streaming(Tail { after: ledger.head(), follow: false }, 4).await?;
    while let Some(batch) = batches.recv().await? {
        count += batch.entries.len();
        bytes += batch.entries.iter().map(|entry| entry.bytes.len()).sum::<usize>();
        anyhow::ensure!(count <= ENTRIES_MAX && bytes <= BYTES_MAX, "too many entries");
        ledger.append(batch.entries)?;
    }
    Ok(())
}

/// The network half's own file with the key, where it has one.
struct Copy(Option<KeyFiles>);

impl Copy {
    /// Writes the new key beside it, so that it is known before anything is entered that this can be done.
    fn prepare(path: &Path, ours: impl Fn(NodeId) -> bool, new: &SecretKey) -> Result<Self, Halt> {
        if !path.exists() {
            return Ok(Self(None));
        }
        let files = KeyFiles::at(path);
        let prepare = || -> anyhow::Result<bool> {
            let found = SecretKey::read(path, || None)?.id();
            if found == new.id() {
                return Ok(false);
            }
            anyhow::ensure!(ours(found), "it is not the key of the hands, nor one that it followed");
            match fs::remove_file(files.next()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            new.write_new(&files.next(), KeyFormat::OpenSsh, "flotilla agent")?;
            let mode = fs::metadata(path)?.permissions().mode() & 0o700;
            fs::set_permissions(files.next(), Permissions::from_mode(mode))?;
            Ok(true)
        };
        match prepare() {
            Ok(needed) => Ok(Self(needed.then_some(files))),
            Err(error) => Err(Halt::Cannot {
                why: format!("cannot replace the key {}: {}", path.display(), scores::chain(error.as_ref())),
                hint: "it is a copy of the key of the hands, in a folder of the user that the agent runs as; name it: \
                       --key-file FILE",
            }),
        }
    }

    fn replace(&self) -> Result<(), Halt> {
        let Some(files) = &self.0 else { return Ok(()) };
        files.install().context("cannot put the new key in the place of the agent's copy of the old one")?;
        Ok(())
    }

    /// What was written beside it goes.
    fn leave(&self) {
        if let Some(files) = &self.0
            && let Err(error) = fs::remove_file(files.next())
        {
            tracing::warn!(%error, file = %files.next().display(), "cannot remove the refused key");
        }
    }
}
