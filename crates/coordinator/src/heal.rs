//! Entries that are elsewhere and not here: asked for, verified, taken; and histories that differ, judged.
//!
//! A chain that extends the one here is taken, whoever brings it. Where two histories differ, nothing is ever merged: the
//! one in which an admin appointed a coordinator after they parted goes on, because that was a person's decision; if that
//! cannot tell them apart, this coordinator stops ordering until a person decides.

use std::time::Duration;

use protocols::control::{Tail, TailBatch};
use protocols::entry::{Body, Head};
use protocols::incoming::Incoming;
use protocols::node::NodeTail;
use protocols::store::LedgerError;
use protocols::{FleetState, NodeId, SignedEntry, VerifiedEntry};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use crate::admission::CLOCK_SKEW_MAX;
use crate::coordinator::{Coordinator, lock};
use crate::order::Hold;

/// How long somebody may take for one batch of entries.
const ASK_DEADLINE: Duration = Duration::from_secs(10);
/// How long all batches of one may take.
const HEAL_DEADLINE: Duration = Duration::from_secs(300);
/// How many batches are looked at to judge a history that differs.
const JUDGE_BATCHES_MAX: usize = 64;
/// How many entries are read at once to look at an older state.
const REPLAY_ENTRIES: usize = 1024;
/// How long the usual ways get to bring what somebody claims, before that one is asked.
const SETTLE: Duration = Duration::from_millis(300);

/// Name of the value that remembers a history that differs.
pub(crate) const SPLIT: &str = "split";

/// A history that differs, remembered across restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The first place where they differ.
    pub seq: u64,
    /// Who has the other history.
    pub with: String,
}

/// What came of asking somebody.
#[derive(Debug)]
enum Found {
    /// It has nothing that is not here.
    Nothing,
    /// Its entries were taken, up to its newest.
    Took,
    /// Its history differs, and could be true.
    Fork(Fork),
    /// What it sent cannot be.
    Unsound(String),
    /// It did not answer.
    Silent(String),
}

#[derive(Debug)]
struct Fork {
    /// The first place that differs.
    seq: u64,
    /// Whether an admin appointed a coordinator in it after that.
    theirs_appoints: bool,
    /// The same of ours.
    ours_appoints: bool,
    /// Its entries from there on, as far as they were looked at.
    theirs: Vec<String>,
}

impl Coordinator {
    /// Takes note of the newest entry that somebody says it has.
    pub(crate) fn note_head(&self, by: NodeId, head: Head) {
        if self.is_here(head) {
            lock(&self.heads).settle(by);
        } else if lock(&self.heads).claim(by, head, Instant::now()) {
            // Full: whoever is not asked now says it again with the next heartbeat.
            let _full = self.claimants.try_send(by);
        }
        self.refresh_hold();
    }

    /// Whether this very entry is in the ledger here.
    pub(crate) fn is_here(&self, head: Head) -> bool {
        let ours = self.state().head();
        ours == head || (head.seq < ours.seq && self.hash_at(head.seq).is_some_and(|ours| ours == head))
    }

    fn hash_at(&self, seq: u64) -> Option<Head> {
        let entry = self.order.range(seq, 1).ok()?.into_iter().next()?;
        Some(Head { seq, hash: entry.hash() })
    }

    /// Asks, one after the other, those who claim what is not here.
    pub(crate) async fn claims_loop(&self, mut queue: tokio::sync::mpsc::Receiver<NodeId>) {
        while let Some(member) = queue.recv().await {
            tokio::time::sleep(SETTLE).await;
            self.look_into(member).await;
        }
    }

    async fn look_into(&self, member: NodeId) {
        let Some(claimed) = lock(&self.heads).of(member) else { return };
        // What a group has not agreed on is not taken from anybody, and what it has agreed on comes by itself.
        if self.is_here(claimed) || self.chair.as_member().is_some() {
            lock(&self.heads).settle(member);
            self.refresh_hold();
            return;
        }
        let who = self.name_of(member);
        let found = match timeout(HEAL_DEADLINE, self.heal(member)).await {
            Ok(found) => found,
            Err(_) => Found::Silent("it took too long".into()),
        };
        match found {
            Found::Took | Found::Nothing => {
                let mut heads = lock(&self.heads);
                match heads.of(member) {
                    Some(claimed) if !self.is_here(claimed) && claimed.seq > self.state().head().seq => {
                        tracing::error!(%who, %claimed, "claims an entry that it cannot show: it is not believed");
                        heads.disprove(member, Instant::now());
                    }
                    _ => heads.settle(member),
                }
            }
            Found::Silent(why) => {
                tracing::warn!(%who, %claimed, %why, "has seen an entry that is not here, and does not give it");
            }
            Found::Unsound(why) => {
                tracing::error!(%who, %claimed, %why, "claims an entry and shows what cannot be: it is not believed");
                lock(&self.heads).disprove(member, Instant::now());
            }
            Found::Fork(fork) => self.split(member, &fork),
        }
        self.refresh_hold();
    }

    /// Stops, or goes on against a history that a person's decision left behind. Says so either way.
    fn split(&self, with: NodeId, fork: &Fork) {
        let who = self.name_of(with);
        let (seq, theirs) = (fork.seq, fork.theirs.join("; "));
        lock(&self.heads).disprove(with, Instant::now());
        if fork.ours_appoints && !fork.theirs_appoints {
            tracing::error!(%who, seq, %theirs, "has entries that are not part of the ledger any more: they were \
                ordered by a coordinator whose place another one was appointed to without them");
            return;
        }
        tracing::error!(%who, seq, %theirs, "has another history than this coordinator, and both may be true: nothing \
            is appended here until a person decides, flt coordinator recover");
        if matches!(self.chair.hold(), Hold::Split { .. }) {
            return;
        }
        let split = Split { seq, with: who };
        if let Err(error) = self.values.set(SPLIT, &split) {
            tracing::error!(%error, "cannot remember that the history is split");
        }
        self.chair.set_hold(Hold::Split { seq: split.seq, with: split.with });
    }

    /// What to call somebody.
    pub(crate) fn name_of(&self, id: NodeId) -> String {
        let state = self.state();
        state.members().get(&id).map_or_else(|| id.short(), |m| m.name.to_string())
    }

    /// Takes what somebody sent of its chain. A chain that differs is judged; false if it is not to be followed.
    pub(crate) async fn take_from(&self, member: NodeId, entries: Vec<SignedEntry>) -> Result<(), String> {
        if self.chair.as_member().is_some_and(|group| !group.has(member)) {
            let first = entries.first().and_then(|e| e.clone().verify().ok()).map(|e| e.seq());
            if first.is_none_or(|seq| seq > self.state().head().seq) {
                return Err("it has entries that the group of coordinators has not agreed on".into());
            }
        }
        match self.order.extend(entries).await {
            Ok(_) => {
                self.refresh_hold();
                Ok(())
            }
            Err(LedgerError::Fork { seq, .. }) => {
                match self.judge(member, seq).await {
                    Found::Fork(fork) => self.split(member, &fork),
                    Found::Unsound(why) | Found::Silent(why) => return Err(why),
                    Found::Nothing | Found::Took => {}
                }
                Err(format!("its history differs from entry {seq} on"))
            }
            Err(error) => Err(scores::chain(&error)),
        }
    }

    async fn heal(&self, member: NodeId) -> Found {
        loop {
            let ours = self.state().head();
            let batch = match self.ask(member, Some(ours)).await {
                Ok(batch) => batch,
                Err(why) => return Found::Silent(why),
            };
            if batch.entries.is_empty() {
                return if batch.head.seq < ours.seq && !self.is_here(batch.head) {
                    self.judge(member, batch.head.seq).await
                } else {
                    Found::Nothing
                };
            }
            if let Err(why) = self.check_dates(&batch.entries) {
                return Found::Unsound(why);
            }
            match self.order.extend(batch.entries).await {
                Ok(head) if head.seq > ours.seq => {
                    tracing::warn!(from = %self.name_of(member), %head, "took entries that were missing here");
                    if head.seq >= batch.head.seq {
                        return Found::Took;
                    }
                }
                Ok(_) => return Found::Nothing,
                Err(LedgerError::Fork { seq, .. }) => return self.judge(member, seq).await,
                Err(LedgerError::Store(error)) => return Found::Silent(error.to_string()),
                Err(error) => return Found::Unsound(scores::chain(&error)),
            }
        }
    }

    /// Expiries are measured in the times that authors state, and these entries passed by no coordinator's clock for all
    /// that is known.
    fn check_dates(&self, entries: &[SignedEntry]) -> Result<(), String> {
        let latest = (self.clock)().plus(CLOCK_SKEW_MAX);
        for signed in entries {
            let verified = signed.clone().verify().map_err(|e| e.to_string())?;
            if verified.entry().at > latest {
                return Err(format!("entry {} is dated in the future", verified.seq()));
            }
        }
        Ok(())
    }

    /// One batch of a member's chain.
    async fn ask(&self, member: NodeId, after: Option<Head>) -> Result<TailBatch, String> {
        let ask = async {
            if self.state().is_coordinator(member) {
                let stream = self.wire.control(member).server_streaming(Tail { after, follow: false }, 1).await;
                let mut stream = Incoming::new(stream.map_err(|e| scores::chain(&e))?);
                let batch = stream.next().await.map_err(|e| scores::chain(&e))?;
                batch.ok_or_else(|| "it ended the connection".to_owned())
            } else {
                let answer = self.wire.node(member).rpc(NodeTail { after }).await;
                answer.map_err(|e| scores::chain(&e))?.map_err(|e| e.to_string())
            }
        };
        match timeout(ASK_DEADLINE, ask).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer in {} seconds", ASK_DEADLINE.as_secs())),
        }
    }

    /// Finds where a member's chain leaves the one here, and whether it could be true.
    async fn judge(&self, member: NodeId, at: u64) -> Found {
        match self.compare(member, at).await {
            Ok(found) => found,
            Err(why) => Found::Silent(why),
        }
    }

    async fn compare(&self, member: NodeId, at: u64) -> Result<Found, String> {
        let Some((common, mut batch)) = self.common(member, at).await? else {
            return Ok(Found::Unsound("its first entry is another".into()));
        };
        let mut state = self.state_at(common).await?;
        let mut fork: Option<Fork> = None;
        for _ in 0..JUDGE_BATCHES_MAX {
            if batch.entries.is_empty() {
                break;
            }
            for signed in std::mem::take(&mut batch.entries) {
                let verified = match signed.verify() {
                    Ok(verified) => verified,
                    Err(error) => return Ok(Found::Unsound(error.to_string())),
                };
                let head = Head { seq: verified.seq(), hash: verified.hash() };
                if let Err(refusal) = state.apply(&verified) {
                    match fork {
                        Some(_) => break,
                        None => return Ok(Found::Unsound(refusal.to_string())),
                    }
                }
                let differs = self.hash_at(head.seq).is_some_and(|ours| ours != head);
                match &mut fork {
                    Some(fork) => fork.note(&verified),
                    None if differs => {
                        let ours_appoints = self.appoints_from(head.seq)?;
                        let mut found =
                            Fork { seq: head.seq, theirs_appoints: false, ours_appoints, theirs: Vec::new() };
                        found.note(&verified);
                        fork = Some(found);
                    }
                    None => {}
                }
            }
            let after = state.head();
            if after.seq >= batch.head.seq {
                break;
            }
            batch = self.ask(member, Some(after)).await?;
        }
        Ok(fork.map_or(Found::Nothing, Found::Fork))
    }

    /// The last place that is surely common, with what the member has after it.
    async fn common(&self, member: NodeId, at: u64) -> Result<Option<(u64, TailBatch)>, String> {
        let mut place = at.min(self.state().head().seq);
        let mut step = 1;
        loop {
            let ours = self.hash_at(place).ok_or("the ledger cannot be read")?;
            let batch = self.ask(member, Some(ours)).await?;
            let first = batch.entries.first().map(|e| e.clone().verify().map(|v| v.seq()));
            match first {
                Some(Ok(seq)) if seq == place + 1 => return Ok(Some((place, batch))),
                Some(Ok(seq)) if seq == place && place > 0 => {}
                None if batch.head.seq < place && place > 0 => {}
                None => return Ok(Some((place, batch))),
                _ => return Ok(None),
            }
            place = place.saturating_sub(step);
            step *= 2;
        }
    }

    /// Whether an admin appointed a coordinator here at or after this place.
    fn appoints_from(&self, seq: u64) -> Result<bool, String> {
        let mut next = seq;
        loop {
            let batch = self.order.range(next, REPLAY_ENTRIES).map_err(|e| e.to_string())?;
            if batch.is_empty() {
                return Ok(false);
            }
            next += batch.len() as u64;
            let verified = batch.into_iter().filter_map(|e| e.verify().ok());
            if verified.into_iter().any(|e| matches!(e.entry().body, Body::Appoint(_))) {
                return Ok(true);
            }
        }
    }

    /// The state after an entry of the ledger here.
    async fn state_at(&self, seq: u64) -> Result<FleetState, String> {
        let order = std::sync::Arc::clone(&self.order);
        let replay = move || -> Result<FleetState, String> {
            let mut state: Option<FleetState> = None;
            let mut next = 0;
            while next <= seq {
                let count = usize::try_from(seq - next + 1).unwrap_or(usize::MAX).min(REPLAY_ENTRIES);
                let batch = order.range(next, count).map_err(|e| e.to_string())?;
                if batch.is_empty() {
                    break;
                }
                for signed in batch {
                    let verified = signed.verify().map_err(|e| e.to_string())?;
                    match &mut state {
                        None => state = Some(FleetState::found(&verified).map_err(|e| e.to_string())?),
                        Some(state) => state.apply(&verified).map_err(|e| e.to_string())?,
                    }
                    next += 1;
                }
            }
            state.ok_or_else(|| "the ledger is empty".to_owned())
        };
        tokio::task::spawn_blocking(replay).await.map_err(|e| e.to_string())?
    }
}

impl Fork {
    fn note(&mut self, entry: &VerifiedEntry) {
        let e = entry.entry();
        self.theirs_appoints |= matches!(e.body, Body::Appoint(_));
        if self.theirs.len() < FORK_SHOWN_MAX {
            self.theirs.push(format!("{} {} by {}", e.seq, e.body.verb(), e.author.short()));
        }
    }
}

/// How many entries of another history are named in the log.
const FORK_SHOWN_MAX: usize = 8;
