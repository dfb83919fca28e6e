//! An agent that changes its own key: the new one is on disk first, the old one signs its last entry, and only what the
//! ledger shows makes the new one the node's.
//!
//! `flt agent rotate` puts the new key beside the old one. Whatever is cut short, and wherever, the next start finds it
//! and goes on: nothing but the files and the ledger says how far it came. Where the agent is two processes, the
//! command does all of it while both are [stopped](apart).

pub(crate) mod apart;
pub(crate) mod half;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use admin::workspace::KeyFiles;
use anyhow::Context as _;
use protocols::control::{Receipt, Submit, SubmitError, TAIL_BATCH_BYTES_MAX, Tail};
use protocols::entry::{Role, Rotate};
use protocols::key::KeyFormat;
use protocols::store::{Ledger, Records, Store, StoreError};
use protocols::{Body, Entry, FleetState, NodeId, SecretKey, SignedEntry, SignedRecord, Ticket, alpn};

use super::read_key;
use crate::compose::admin::AdminLink;
use crate::compose::agent::RunningAgent;
use crate::compose::hands::former;
use crate::compose::{self, now};

/// How often it is looked whether a new key lies beside the node's.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a coordinator may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The pause before all of it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How long an agent may take to leave its folder, and how often that is looked at.
const LEFT_WITHIN: Duration = Duration::from_secs(20);
const LEFT_LOOK: Duration = Duration::from_millis(50);
/// The most entries that are read to find the rotation, and the most bytes of them.
const ENTRIES_MAX: usize = 100_000;
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Finishes a rotation that the node's own copy of the ledger shows. Nothing else may have the folder open.
///
/// # Errors
/// If a file or the folder cannot be used.
pub(super) fn settle(data: &Path, files: &KeyFiles, ticket: &Ticket) -> anyhow::Result<()> {
    if !files.next().exists() || !files.current().exists() {
        return Ok(());
    }
    let (old, next) = keys(files)?;
    if old.id() == next.id() {
        std::fs::remove_file(files.next()).context("cannot remove a copy of the key")?;
        return Ok(());
    }
    let store = Arc::new(Store::open(data)?);
    let ledger = Ledger::open(Arc::clone(&store), Some(ticket.fleet))?;
    if ledger.state().is_none_or(|state| state.successor(old.id()) != Some(next.id())) {
        return Ok(());
    }
    carry_over(store, old.id(), &next)?;
    install(data, files, old.id(), next.id())
}

/// Keeps the key of before, for what is sealed to it, and puts the new one in its place.
fn install(data: &Path, files: &KeyFiles, old: NodeId, next: NodeId) -> anyhow::Result<()> {
    former::keep(data, files.current(), old).context("cannot keep the key that the node's secrets are sealed to")?;
    files.install().context("cannot put the node's new key in the place of the old one")?;
    tracing::info!(old = %old.short(), new = %next.short(), "the node's key was rotated");
    Ok(())
}

/// The key that is to follow: the one that an earlier call left, or a new one. A file of that name is a whole key, also
/// after this was cut short.
pub(crate) fn next_key(files: &KeyFiles) -> anyhow::Result<SecretKey> {
    let next = files.next();
    if !next.exists() {
        let key = SecretKey::generate();
        let mut made = next.clone().into_os_string();
        made.push(".made");
        let made = PathBuf::from(made);
        match std::fs::remove_file(&made) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", made.display()));
            }
            _ => {}
        }
        key.write_new(&made, KeyFormat::OpenSsh, "flotilla agent").context("cannot write the new key")?;
        let folder = next.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let named = std::fs::rename(&made, &next).and_then(|()| std::fs::File::open(folder)?.sync_all());
        named.context("cannot write the new key")?;
    }
    read_key(&next).with_context(|| format!("cannot use the key {}", next.display()))
}

fn keys(files: &KeyFiles) -> anyhow::Result<(SecretKey, SecretKey)> {
    let read = |path: &Path| read_key(path).with_context(|| format!("cannot use the key {}", path.display()));
    Ok((read(files.current())?, read(&files.next())?))
}

/// What the old key said of the node, the new one says too: a declaration that turned out bad stays so.
fn carry_over(store: Arc<Store>, old: NodeId, next: &SecretKey) -> anyhow::Result<()> {
    let carry = || -> anyhow::Result<()> {
        let records = Records::open(store)?;
        let mut carried = Vec::new();
        for record in records.of(old, "")?.into_iter().filter(|record| !record.value.is_empty()) {
            let record = SignedRecord::sign_bytes(next, &record.key, record.version, record.value)?;
            carried.push(record.verify()?);
        }
        records.put(carried, true)?;
        Ok(())
    };
    carry().context("cannot sign what the node says of itself with its new key")
}

/// Waits for a new key beside the node's, and enters the rotation to it. Returns, once the ledger has it, the entries that
/// show it and that the node's copy lacks.
pub(super) async fn rotated(
    running: &RunningAgent,
    key: &SecretKey,
    files: &KeyFiles,
    ticket: &Ticket,
    data: &Path,
) -> Vec<SignedEntry> {
    let (catalogue, mut looked_at) = (scores::catalogue(), None);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Some(state) = running.role.state().filter(|state| Some(state.head()) != looked_at) {
            looked_at = Some(state.head());
            former::let_go(data, &state, key.id(), &catalogue);
        }
        if !files.next().exists() {
            continue;
        }
        let next = match read_key(&files.next()) {
            Ok(next) if next.id() != key.id() => next,
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(%error, file = %files.next().display(), "cannot read the key that is to follow");
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            }
        };
        let Some(state) = running.role.state() else { continue };
        if state.successor(key.id()) == Some(next.id()) {
            return Vec::new();
        }
        if let Err(refused) = enter(&running.mesh, &state, key, &next).await {
            tracing::error!(%refused, "the key is not rotated: the new one is put aside");
            let aside = files.current().with_extension("refused");
            if let Err(error) = std::fs::rename(files.next(), &aside) {
                tracing::error!(%error, "cannot put the new key aside");
            }
            continue;
        }
        match proven(&state, key.id(), &next, ticket, files).await {
            Ok(Some(entries)) => return entries,
            Ok(None) => tracing::warn!("the ledger does not show the rotation of the key yet"),
            Err(error) => {
                tracing::warn!(error = %scores::chain(error.as_ref()), "cannot see whether the key was rotated");
            }
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Signs the old key's last entry and sends it. No answer is no error: the old key may be nobody's already.
async fn enter(mesh: &mesh::Mesh, state: &FleetState, key: &SecretKey, next: &SecretKey) -> Result<(), SubmitError> {
    let head = state.head();
    let entry = Entry {
        fleet: Some(state.fleet()),
        seq: head.seq.saturating_add(1),
        prev: Some(head.hash),
        at: now(),
        not_after: None,
        author: key.id(),
        body: Body::Rotate(Rotate::new(state.fleet(), key.id(), next)),
    };
    let signed = match entry.sign(key) {
        Ok(signed) => signed,
        Err(error) => return Err(SubmitError::Unverified(error.to_string())),
    };
    for (coordinator, _) in state.with_role(Role::Coordinator) {
        let call = mesh.client(coordinator, alpn::CONTROL).rpc(Submit(signed.clone()));
        match tokio::time::timeout(ANSWER_WITHIN, call).await {
            Ok(Ok(Ok(Receipt { .. }) | Err(SubmitError::StaleHead { .. }))) => return Ok(()),
            Ok(Ok(Err(SubmitError::Refused(refusal)))) => return Err(refusal.into()),
            Ok(Ok(Err(other))) => tracing::warn!(error = %other, "the coordinator does not take the rotation now"),
            Ok(Err(error)) => tracing::debug!(%error, "no answer to the rotation"),
            Err(_) => tracing::debug!("no answer to the rotation in time"),
        }
    }
    Ok(())
}

/// What the ledger has after `state`, as the new key gets it, if the rotation is among it. Every entry is verified, and
/// applied to what this node verified itself.
async fn proven(
    state: &FleetState,
    old: NodeId,
    next: &SecretKey,
    ticket: &Ticket,
    files: &KeyFiles,
) -> anyhow::Result<Option<Vec<SignedEntry>>> {
    let folder = files.current().parent().unwrap_or_else(|| Path::new("."));
    let coordinators: Vec<NodeId> = state.with_role(Role::Coordinator).map(|(id, _)| id).collect();
    let link = connect(next, state, ticket, folder, (&[], false)).await?;
    let mut found = None;
    for coordinator in coordinators {
        let client = link.mesh().client(coordinator, alpn::CONTROL);
        let read = tokio::time::timeout(ANSWER_WITHIN, read_after(state, old, next.id(), client)).await;
        if let Ok(Ok(Some(entries))) = read {
            found = Some(entries);
            break;
        }
    }
    link.close().await;
    Ok(found)
}

/// Joins the mesh under a key, and knows where the coordinators are that the ticket or the ledger names.
async fn connect(
    key: &SecretKey,
    state: &FleetState,
    ticket: &Ticket,
    folder: &Path,
    (listen, mdns): (&[SocketAddr], bool),
) -> anyhow::Result<AdminLink> {
    let link = compose::admin::connect(key.clone(), ticket, folder, listen, mdns).await?;
    link.learn(&admin::session::coordinators(ticket, Some(state)));
    Ok(link)
}

async fn read_after(
    state: &FleetState,
    old: NodeId,
    next: NodeId,
    client: protocols::Client<protocols::control::Control>,
) -> anyhow::Result<Option<Vec<SignedEntry>>> {
    let mut state = state.clone();
    let (mut entries, mut bytes) = (Vec::new(), 0);
    let mut batches = client.server_streaming(Tail { after: Some(state.head()), follow: false }, 4).await?;
    while let Some(batch) = batches.recv().await? {
        for signed in batch.entries {
            bytes += signed.bytes.len();
            anyhow::ensure!(
                entries.len() < ENTRIES_MAX && bytes < BYTES_MAX.max(TAIL_BATCH_BYTES_MAX),
                "too many entries"
            );
            state.apply(&signed.clone().verify()?)?;
            entries.push(signed);
        }
        if state.successor(old) == Some(next) {
            return Ok(Some(entries));
        }
    }
    Ok(None)
}

/// Waits until an agent that was stopped has left its folder: its last task may still hold it for a moment.
pub(super) async fn left(data: &Path) {
    let deadline = tokio::time::Instant::now() + LEFT_WITHIN;
    while tokio::time::Instant::now() < deadline {
        match Store::open(data) {
            Err(StoreError::InUse { .. }) => tokio::time::sleep(LEFT_LOOK).await,
            // Whatever else is wrong is said by whoever needs it.
            _ => return,
        }
    }
}

/// Adds entries to the node's copy of the ledger. Nothing else may have the folder open.
///
/// # Errors
/// If they do not follow it, or it cannot be written.
pub(super) fn append(data: &Path, ticket: &Ticket, entries: Vec<SignedEntry>) -> anyhow::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut ledger = Ledger::open(Arc::new(Store::open(data)?), Some(ticket.fleet))?;
    // The old key may have heard of some of them meanwhile.
    let known = ledger.head().map_or(0, |head| head.seq);
    let fresh = entries.into_iter().filter(|e| e.clone().verify().is_ok_and(|v| v.seq() > known)).collect();
    ledger.append(fresh).context("cannot keep the entries that show the rotation")?;
    Ok(())
}
