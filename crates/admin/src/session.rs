//! A session with a coordinator: the ledger followed, entries submitted, nodes' words read and verified.

mod claims;
mod error;
mod reach;
mod reports;
mod submit;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use protocols::Client;
use protocols::control::{Control, GetTicket, Hello, Locate, Offer, OfferProgress, Tail, TailBatch, Welcome};
use protocols::entry::{Head, VerifiedEntry};
use protocols::{BlobRef, FleetId, FleetState, NodeId, PeerAddr, SignedEntry, Ticket};

pub use error::SessionError;
pub use reach::{Reached, coordinators, first_to_greet};
pub use reports::{CheckedReport, Watching};
pub use submit::{SubmitFailure, Submitted};

use crate::author::Author;
use crate::workspace::Workspace;

/// How long a coordinator may take for a short answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long a stream may be silent before it counts as dead.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How many messages of a stream are held before its sender waits.
const STREAM_DEPTH: usize = 16;
/// The most entries that are read in one go before they are saved.
const SAVE_EVERY: usize = 2048;

/// A session of one admin with a coordinator.
#[derive(Debug)]
pub struct Session {
    client: Client<Control>,
    workspace: Workspace,
    fleet: FleetId,
    author: Author,
    state: Option<Arc<FleetState>>,
    /// Entries seen while this session ran, newest last; at most [`RECENT_MAX`].
    recent: Vec<VerifiedEntry>,
}

/// The most entries that are remembered to say what came between.
const RECENT_MAX: usize = 1024;

impl Session {
    /// Opens the ledger's copy. Nothing is sent yet.
    ///
    /// # Errors
    /// [`SessionError::Workspace`] if the copy cannot be used or is another fleet's.
    pub fn open(
        workspace: Workspace,
        fleet: FleetId,
        author: Author,
        client: Client<Control>,
    ) -> Result<Self, SessionError> {
        let state = workspace.ledger(Some(fleet))?.state().cloned();
        Ok(Self { client, workspace, fleet, author, state, recent: Vec::new() })
    }

    /// The fleet's state, as far as it is known here.
    ///
    /// # Errors
    /// [`SessionError::Empty`] before the first [`sync`](Self::sync).
    pub fn state(&self) -> Result<&Arc<FleetState>, SessionError> {
        self.state.as_ref().ok_or(SessionError::Empty)
    }

    /// The admin.
    pub const fn author(&self) -> &Author {
        &self.author
    }

    /// Gives the entries that are submitted from here on an end: see [`Author::set_not_after`].
    pub const fn set_not_after(&mut self, not_after: Option<protocols::Millis>) {
        self.author.set_not_after(not_after);
    }

    /// The data folder.
    pub const fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Goes on with another coordinator.
    pub fn use_client(&mut self, client: Client<Control>) {
        self.client = client;
    }

    /// The client for the coordinator.
    pub const fn client(&self) -> &Client<Control> {
        &self.client
    }

    /// Asks the coordinator which fleet it serves, and refuses another than ours.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn hello(&self) -> Result<Welcome, SessionError> {
        let welcome = within("greet the coordinator", self.client.rpc(Hello)).await??;
        if welcome.fleet != self.fleet {
            return Err(SessionError::OtherFleet { found: welcome.fleet, expected: self.fleet });
        }
        Ok(welcome)
    }

    /// Fetches, verifies and stores what the ledger has that the copy does not; says how many entries came.
    ///
    /// # Errors
    /// [`SessionError::Refused`] for entries that no honest coordinator would have; others as they say.
    pub async fn sync(&mut self) -> Result<usize, SessionError> {
        let doing = "fetch the ledger";
        let after = self.state.as_ref().map(|state| state.head());
        let request = Tail { after, follow: false };
        let mut batches = within(doing, self.client.server_streaming(request, STREAM_DEPTH)).await?;
        let (mut fresh, mut count) = (Vec::new(), 0);
        let result = loop {
            let batch = match tokio::time::timeout(SILENCE_MAX, batches.recv()).await {
                Ok(Ok(Some(batch))) => batch,
                Ok(Ok(None)) => break Ok(()),
                Ok(Err(error)) => break Err(SessionError::lost(doing, &error)),
                Err(_) => break Err(SessionError::Silent { doing, after: SILENCE_MAX }),
            };
            match self.take(batch, &mut fresh) {
                Ok(true) => break Ok(()),
                Ok(false) => {}
                Err(error) => break Err(error),
            }
            if fresh.len() >= SAVE_EVERY {
                count += fresh.len();
                self.workspace.save(self.fleet, std::mem::take(&mut fresh))?;
            }
        };
        count += fresh.len();
        if !fresh.is_empty() {
            self.workspace.save(self.fleet, fresh)?;
        }
        result?;
        if self.state.is_none() {
            return Err(SessionError::Empty);
        }
        Ok(count)
    }

    /// Follows the ledger: waits until an entry comes that the copy does not have, and stores it.
    ///
    /// # Errors
    /// As [`sync`](Self::sync); also when the coordinator ends the stream.
    pub async fn next(&mut self, within_time: Duration) -> Result<usize, SessionError> {
        let doing = "follow the ledger";
        let after = self.state.as_ref().map(|state| state.head());
        let request = Tail { after, follow: true };
        let mut batches = within(doing, self.client.server_streaming(request, STREAM_DEPTH)).await?;
        let deadline = tokio::time::Instant::now() + within_time;
        let mut fresh = Vec::new();
        while fresh.is_empty() {
            match tokio::time::timeout_at(deadline, batches.recv()).await {
                Ok(Ok(Some(batch))) => drop(self.take(batch, &mut fresh)?),
                Ok(Ok(None)) => return Err(SessionError::Ended { doing }),
                Ok(Err(error)) => return Err(SessionError::lost(doing, &error)),
                Err(_) => break,
            }
        }
        let count = fresh.len();
        if count > 0 {
            self.workspace.save(self.fleet, fresh)?;
        }
        Ok(count)
    }

    /// Applies a batch to the state; true once it reaches the coordinator's newest entry.
    fn take(&mut self, batch: TailBatch, fresh: &mut Vec<SignedEntry>) -> Result<bool, SessionError> {
        for signed in batch.entries.clone() {
            let verified = signed.verify().map_err(SessionError::Unverified)?;
            let seq = verified.seq();
            match &mut self.state {
                None => {
                    let state = FleetState::found(&verified).map_err(|why| SessionError::Refused { seq, why })?;
                    if state.fleet() != self.fleet {
                        return Err(SessionError::OtherFleet { found: state.fleet(), expected: self.fleet });
                    }
                    self.state = Some(Arc::new(state));
                }
                Some(state) if seq <= state.head().seq => {
                    let same_place = seq == state.head().seq;
                    if same_place && verified.hash() == state.head().hash {
                        continue;
                    }
                    return Err(SessionError::Split { seq, evidence: self.keep_evidence(&batch, seq) });
                }
                Some(state) => {
                    Arc::make_mut(state).apply(&verified).map_err(|why| SessionError::Refused { seq, why })?;
                }
            }
            fresh.push(verified.signed().clone());
            if self.recent.len() >= RECENT_MAX {
                self.recent.remove(0);
            }
            self.recent.push(verified);
        }
        self.note_claim(batch.head, batch.claim);
        Ok(self.state.as_ref().is_some_and(|state| state.head() == batch.head))
    }

    /// The entries after `head` that came while this session ran.
    pub fn since(&self, head: Head) -> impl Iterator<Item = &VerifiedEntry> {
        self.recent.iter().filter(move |entry| entry.seq() > head.seq)
    }

    /// Offers blobs, which the coordinator fetches from `from`, until it has all of them.
    ///
    /// # Errors
    /// [`SessionError`]; [`SessionError::Unfetched`] if it gives up before it has all.
    pub async fn offer(
        &self,
        blobs: &[BlobRef],
        from: &PeerAddr,
        mut progress: impl FnMut(OfferProgress),
    ) -> Result<(), SessionError> {
        let doing = "hand the files to the coordinator";
        let mut sorted: Vec<BlobRef> = blobs.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let of = sorted.len() as u64;
        let (mut before, mut bytes_before) = (0, 0);
        for part in sorted.chunks(protocols::control::OFFER_BLOBS_MAX) {
            let request = Offer { blobs: part.to_vec(), from: from.clone() };
            let mut answers = within(doing, self.client.server_streaming(request, STREAM_DEPTH)).await?;
            let mut last = OfferProgress { blobs: 0, of: part.len() as u64, bytes: 0 };
            loop {
                match tokio::time::timeout(SILENCE_MAX, answers.recv()).await {
                    Ok(Ok(Some(answer))) => {
                        last = answer?;
                        progress(OfferProgress { blobs: before + last.blobs, of, bytes: bytes_before + last.bytes });
                    }
                    Ok(Ok(None)) => break,
                    Ok(Err(error)) => return Err(SessionError::lost(doing, &error)),
                    Err(_) => return Err(SessionError::Silent { doing, after: SILENCE_MAX }),
                }
            }
            if last.blobs < part.len() as u64 {
                return Err(SessionError::Unfetched { has: before + last.blobs, of });
            }
            before += last.blobs;
            bytes_before += last.bytes;
        }
        Ok(())
    }

    /// Where a node was last seen.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn locate(&self, node: NodeId) -> Result<Option<PeerAddr>, SessionError> {
        Ok(within("ask where the node is", self.client.rpc(Locate(node))).await??)
    }

    /// The ticket that reaches this fleet, without an invite.
    ///
    /// # Errors
    /// [`SessionError`]; also if it is another fleet's.
    pub async fn fleet_ticket(&self) -> Result<Ticket, SessionError> {
        let ticket = within("ask for the fleet's ticket", self.client.rpc(GetTicket)).await??;
        if ticket.fleet != self.fleet {
            return Err(SessionError::OtherFleet { found: ticket.fleet, expected: self.fleet });
        }
        Ok(ticket)
    }
}

/// Waits for a short answer.
async fn within<T>(doing: &'static str, call: impl Future<Output = Result<T, irpc::Error>>) -> Result<T, SessionError> {
    within_time(doing, ANSWER_WITHIN, call).await
}

async fn within_time<T>(
    doing: &'static str,
    time: Duration,
    call: impl Future<Output = Result<T, irpc::Error>>,
) -> Result<T, SessionError> {
    match tokio::time::timeout(time, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(SessionError::lost(doing, &error)),
        Err(_) => Err(SessionError::Silent { doing, after: time }),
    }
}
