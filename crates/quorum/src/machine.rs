//! Carries out what the group has agreed on: entries into the ledger, requests into the lease table.

use std::io::Cursor;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use failover::{Entry as LeaseEntry, LeaseTable, Stamp};
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta};
use protocols::NodeId;
use protocols::SignedEntry;
use protocols::entry::Head;
use tokio::sync::watch;

use crate::BoxFuture;
use crate::log::{Log, packed};
use crate::types::{Batch, Done, IoError, Item, LogId, Member, RaftEntry, State, StorageError, Stored, Types, Unfit};

/// The pause before the ledger is tried again when its disk or its sources fail.
const AGAIN: Duration = Duration::from_millis(500);

/// The ledger, as the group needs it.
pub trait Ledger: Send + Sync + 'static {
    /// Its newest entry.
    fn head(&self) -> Head;
    /// Appends an entry durably, if the rules let it follow the newest. One that is here already is no error. The inner
    /// error is the same on every member, the outer one is this disk's.
    fn append(&self, entry: SignedEntry) -> BoxFuture<'_, Result<Result<Head, Unfit>, String>>;
    /// Takes the entries up to `head` from other members.
    fn catch_up(&self, head: Head, from: Vec<NodeId>) -> BoxFuture<'_, Result<(), String>>;
    /// What people call a coordinator.
    fn name_of(&self, node: NodeId) -> String;
}

/// The state machine of one member.
#[derive(Clone)]
pub(crate) struct Machine {
    log: Log,
    ledger: Arc<dyn Ledger>,
    me: Member,
    state: Arc<RwLock<State>>,
    members: watch::Sender<Stored>,
}

impl Machine {
    /// Goes on from the newest snapshot.
    pub(crate) fn open(log: Log, ledger: Arc<dyn Ledger>, me: Member) -> Result<Self, crate::log::LogError> {
        let state = log.state()?;
        let members = watch::Sender::new(state.membership.clone());
        Ok(Self { log, ledger, me, state: Arc::new(RwLock::new(state)), members })
    }

    /// Reads the state.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    async fn carry_out(&self, log_id: LogId, batch: Batch) -> Vec<Done> {
        let same_term = batch.term == log_id.leader_id.term;
        let mut done = Vec::with_capacity(batch.items.len());
        for (stamp, item) in batch.items {
            // Stamped in one term and appended in another: between them somebody else may have counted the same time.
            let stamp = if same_term { stamp } else { Stamp::default() };
            done.push(match item {
                Item::Entry(entry) => Done::Entry(self.enter(entry).await),
                Item::Ask(ask) => Done::Lease(Box::new(self.change(|state| state.table.apply(stamp, &ask.into())))),
                Item::Clock => {
                    self.change(|state| state.table.apply(stamp, &LeaseEntry::Clock));
                    Done::Noted
                }
                Item::Carry { table, head } => {
                    self.take_over(*table, head).await;
                    Done::Noted
                }
            });
        }
        done
    }

    /// The first thing in every group's log; a second one, from a start that was cut short, says the same.
    async fn take_over(&self, table: LeaseTable, head: Head) {
        if self.read(|state| state.head.is_some()) {
            return;
        }
        self.reach(head).await;
        self.change(|state| {
            state.table = table;
            state.head = Some(head);
        });
    }

    async fn enter(&self, entry: SignedEntry) -> Result<Head, Unfit> {
        // What the log has put into the ledger so far is here, before anything is decided by it.
        if let Some(head) = self.read(|state| state.head) {
            self.reach(head).await;
        }
        loop {
            match self.ledger.append(entry.clone()).await {
                Ok(Ok(head)) => {
                    self.change(|state| {
                        if state.head.is_none_or(|known| known.seq < head.seq) {
                            state.head = Some(head);
                        }
                    });
                    return Ok(head);
                }
                Ok(Err(unfit)) => return Err(unfit),
                // To go on without it would make this member differ from the others.
                Err(why) => tracing::error!(%why, "cannot store an entry that the group has agreed on: trying again"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Waits until the ledger here has this entry.
    async fn reach(&self, head: Head) {
        let mut told = false;
        while self.ledger.head().seq < head.seq {
            let from = self.read(|state| others(&state.membership, self.me));
            match self.ledger.catch_up(head, from).await {
                Ok(()) => {}
                Err(why) if !std::mem::replace(&mut told, true) => {
                    tracing::warn!(%head, %why, "the ledger here lacks entries that the group has agreed on");
                }
                Err(why) => tracing::debug!(%head, %why, "still lacking entries"),
            }
            if self.ledger.head().seq < head.seq {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    fn note_membership(&self, stored: Stored) {
        self.change(|state| {
            let before: Vec<Member> = state.membership.membership().nodes().map(|(id, ())| *id).collect();
            let is_here = |id: &Member| stored.membership().get_node(id).is_some();
            state.removed.extend(before.into_iter().filter(|id| !is_here(id)));
            state.removed.retain(|id| !is_here(id));
            state.membership = stored.clone();
        });
        self.members.send_replace(stored);
    }
}

/// The other members' keys.
pub(crate) fn others(stored: &Stored, me: Member) -> Vec<NodeId> {
    stored.membership().nodes().filter(|(id, ())| **id != me).map(|(id, ())| id.key()).collect()
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Stored), StorageError> {
        Ok(self.read(|state| (state.applied, state.membership.clone())))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<Done>>, StorageError>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<RaftEntry> = entries.into_iter().collect();
        if let Some(last) = entries.last() {
            // A majority may have entries that this leader's own disk has not.
            self.log.stored(last.log_id.index).await.map_err(|e| IoError::apply(last.log_id, &e))?;
        }
        let mut answers = Vec::with_capacity(entries.len());
        for entry in entries {
            let log_id = entry.log_id;
            answers.push(match entry.payload {
                EntryPayload::Blank => Vec::new(),
                EntryPayload::Normal(batch) => self.carry_out(log_id, batch).await,
                EntryPayload::Membership(membership) => {
                    self.note_membership(Stored::new(Some(log_id), membership));
                    Vec::new()
                }
            });
            self.change(|state| state.applied = Some(log_id));
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        // A copy of now, between two entries: it is written while others are carried out.
        Builder { log: self.log.clone(), state: self.read(State::clone) }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<Member, ()>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let bytes = snapshot.into_inner();
        let failed = |e: &(dyn std::error::Error + 'static)| {
            IoError::write_snapshot(Some(meta.signature()), openraft::AnyError::error(e.to_string()))
        };
        let state: State = postcard::from_bytes(&bytes).map_err(|e| failed(&e))?;
        // The members of the snapshot are who has the entries that it rests on.
        self.change(|ours| ours.membership = state.membership.clone());
        if let Some(head) = state.head {
            self.reach(head).await;
        }
        let (log, meta_owned) = (self.log.clone(), meta.clone());
        let written = tokio::task::spawn_blocking(move || log.set_snapshot(&meta_owned, &bytes)).await;
        written.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
        self.members.send_replace(state.membership.clone());
        self.change(|ours| *ours = state);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let stored = self.log.snapshot().map_err(|e| IoError::read_snapshot(None, &e))?;
        Ok(stored.map(|(meta, bytes)| packed(meta, bytes)))
    }
}

/// The state at one moment, to be written.
pub(crate) struct Builder {
    log: Log,
    state: State,
}

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let state = self.state.clone();
        let failed = |e: &(dyn std::error::Error + 'static)| {
            IoError::write_snapshot(None, openraft::AnyError::error(e.to_string()))
        };
        let bytes = postcard::to_stdvec(&state).map_err(|e| failed(&e))?;
        let snapshot_id = state.applied.map_or_else(|| "0".to_owned(), |id| format!("{}-{}", id.leader_id, id.index));
        let meta = SnapshotMeta { last_log_id: state.applied, last_membership: state.membership, snapshot_id };
        let (log, stored, kept) = (self.log.clone(), meta.clone(), bytes.clone());
        let written = tokio::task::spawn_blocking(move || log.set_snapshot(&stored, &kept)).await;
        written.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
        Ok(packed(meta, bytes))
    }
}
