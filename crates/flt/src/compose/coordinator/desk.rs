//! The coordinator's counter for its own machine: a socket in the data folder, by which a command gets a consistent copy of
//! the ledger while the daemon goes on writing.

use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coordinator::Coordinator;
use protocols::Millis;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::backup::{Header, Writer};

/// Name of the socket in a coordinator's data folder.
const SOCKET: &str = "desk";
/// How many are served at once.
const AT_ONCE: usize = 4;
/// How long a reader may take for one piece.
const PIECE_DEADLINE: Duration = Duration::from_secs(30);
/// How many entries are read at once.
const ENTRIES_AT_ONCE: usize = 256;

/// Where the socket is.
pub(crate) fn socket(data: &Path) -> PathBuf {
    data.join(SOCKET)
}

/// Opens the socket; only the folder's owner may use it. Without one (a path that is too long) backups need the daemon
/// stopped.
pub(super) fn open(data: &Path) -> Option<UnixListener> {
    let path = socket(data);
    // Left by a process that was killed; the folder's lock says that it is gone.
    let _absent = std::fs::remove_file(&path);
    let bound = UnixListener::bind(&path).and_then(|listener| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    match bound {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "cannot open the socket that backups are made by");
            None
        }
    }
}

/// Gives copies of the ledger until `stop`.
pub(super) async fn serve(
    listener: UnixListener,
    role: Arc<Coordinator>,
    now: fn() -> Millis,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "cannot take a caller at the desk");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        // More than that wait to be closed: whoever is turned away sees an empty answer.
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { continue };
        let role = Arc::clone(&role);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = give(&stream_of(stream), &role, now()) {
                tracing::debug!(%error, "a copy of the ledger was not taken whole");
            }
            drop(permit);
        });
    }
}

fn stream_of(stream: UnixStream) -> io::Result<StdUnixStream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PIECE_DEADLINE))?;
    Ok(stream)
}

/// Writes the ledger as it is now. Entries that come meanwhile are no part of it: it only ever grows at its end.
fn give(stream: &io::Result<StdUnixStream>, role: &Coordinator, now: Millis) -> anyhow::Result<()> {
    let Ok(stream) = stream else { anyhow::bail!("the caller's socket cannot be used") };
    let state = role.state();
    let out = BufWriter::new(stream);
    let mut writer = Writer::begin(out, &header_of(&state, now))?;
    copy(&mut writer, state.head().seq, |from, count| Ok(role.entries(from, count)?))?;
    writer.end()?;
    Ok(())
}

/// What a backup of this state says of itself.
pub(crate) fn header_of(state: &protocols::FleetState, now: Millis) -> Header {
    Header {
        flotilla_backup: 1,
        fleet: state.fleet(),
        name: state.name().clone(),
        head: state.head(),
        entries: state.head().seq + 1,
        made: now,
        version: env!("CARGO_PKG_VERSION").into(),
    }
}

/// Copies all entries up to `last`.
pub(crate) fn copy<W: Write>(
    writer: &mut Writer<W>,
    last: u64,
    entries: impl Fn(u64, usize) -> anyhow::Result<Vec<protocols::SignedEntry>>,
) -> anyhow::Result<()> {
    let mut next = 0;
    while next <= last {
        let left = usize::try_from(last - next + 1).unwrap_or(usize::MAX);
        let batch = entries(next, left.min(ENTRIES_AT_ONCE))?;
        anyhow::ensure!(!batch.is_empty(), "the ledger ends before entry {next}");
        for entry in &batch {
            writer.entry(entry)?;
        }
        next += batch.len() as u64;
    }
    Ok(())
}
