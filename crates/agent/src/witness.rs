//! What this node remembers of what coordinators signed for, and what it holds against them.

mod resolve;
pub(crate) mod weigh;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocols::entry::Head;
use protocols::standing::{CLAIMS_MAX, Standing};
use protocols::store::{StoreError, Values};
use protocols::{EntryHash, ForkEvidence, HeadClaim, Millis, NodeId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub use resolve::{Resolution, ResolveError, Resolved, evidence, resolve};

/// Name of the value that holds the claims.
const CLAIMS: &str = "witness/claims";
/// Name of the value that holds the alarm.
const ALARM: &str = "witness/alarm";
/// Name of the value that holds the first entries of branches that were dealt with.
const DEALT_WITH: &str = "witness/dealt-with";
/// How many of them are remembered.
const DEALT_WITH_MAX: usize = 32;
/// How many claims that nobody could show entries for are remembered, so as not to be taken up again.
const UNFOUNDED_MAX: usize = 64;

/// How often somebody may leave a question about a claim unanswered before it is given up.
const UNANSWERED_MAX: u32 = 20;

/// Why this node takes no more entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alarm {
    /// Since when.
    pub(crate) since: Millis,
    /// In a sentence.
    pub(crate) why: String,
    /// The coordinators whose word it is; entries are taken again when none of them is a coordinator any more.
    pub(crate) accused: Vec<NodeId>,
    /// The first entry of the other history, where it leaves ours.
    pub(crate) theirs: Option<EntryHash>,
    /// Ours in its place.
    pub(crate) ours: Option<EntryHash>,
    /// Proof for others. Without, this node saw it with its own eyes and cannot show it.
    pub(crate) evidence: Option<ForkEvidence>,
}

/// A claim beyond what is here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ahead {
    pub(crate) claim: HeadClaim,
    /// Who told us, and should have the entries.
    pub(crate) from: NodeId,
    pub(crate) since: Instant,
    pub(crate) since_clock: Millis,
    pub(crate) asked: u32,
}

/// The memory of a witness. What must outlast a restart is on the disk before anybody is told.
pub(crate) struct Witness {
    values: Values,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    held: BTreeMap<NodeId, HeadClaim>,
    alarm: Option<Alarm>,
    dealt_with: Vec<EntryHash>,
    ahead: Option<Ahead>,
    unfounded: VecDeque<EntryHash>,
    unanswered: VecDeque<(EntryHash, u32)>,
    coordinator_at: Option<(Instant, Millis)>,
    peer_at: Option<(Instant, Millis)>,
    withheld: Option<String>,
    suspicious: u64,
}

/// Whether a claim said something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// The same or an older head.
    Known,
    /// The newest head of all.
    Newest,
    /// A newer head of this coordinator, while another one went further.
    Newer,
}

impl Witness {
    pub(crate) fn open(values: Values) -> Result<Self, StoreError> {
        let held: Vec<HeadClaim> = values.get(CLAIMS)?.unwrap_or_default();
        let inner = Inner {
            held: held.into_iter().map(|claim| (claim.by, claim)).collect(),
            alarm: values.get(ALARM)?,
            dealt_with: values.get(DEALT_WITH)?.unwrap_or_default(),
            ..Inner::default()
        };
        Ok(Self { values, inner: Mutex::new(inner) })
    }

    /// Keeps a claim that lies on our history, if it is its coordinator's newest.
    pub(crate) fn hold(&self, claim: HeadClaim) -> Held {
        let mut inner = self.lock();
        let newest = inner.held.values().map(|c| c.head.seq).max();
        if inner.held.get(&claim.by).is_some_and(|known| known.head.seq >= claim.head.seq) {
            return Held::Known;
        }
        if inner.held.len() >= CLAIMS_MAX
            && !inner.held.contains_key(&claim.by)
            && let Some(oldest) = inner.held.values().min_by_key(|c| c.head.seq).map(|c| c.by)
        {
            inner.held.remove(&oldest);
        }
        inner.held.insert(claim.by, claim);
        if inner.ahead.is_some_and(|ahead| ahead.claim.head.seq <= claim.head.seq) {
            inner.ahead = None;
        }
        let held: Vec<HeadClaim> = inner.held.values().copied().collect();
        if let Err(error) = self.values.set(CLAIMS, &held) {
            tracing::error!(%error, "cannot remember what a coordinator signed for");
        }
        if newest.is_none_or(|newest| claim.head.seq > newest) { Held::Newest } else { Held::Newer }
    }

    /// The newest claim of each coordinator.
    pub(crate) fn held(&self) -> Vec<HeadClaim> {
        self.lock().held.values().copied().collect()
    }

    /// The newest claim of all.
    pub(crate) fn newest(&self) -> Option<HeadClaim> {
        self.lock().held.values().max_by_key(|c| c.head.seq).copied()
    }

    pub(crate) fn alarm(&self) -> Option<Alarm> {
        self.lock().alarm.clone()
    }

    pub(crate) fn refuses(&self) -> bool {
        self.lock().alarm.is_some()
    }

    /// Whether the branch that begins with this entry was dealt with.
    pub(crate) fn is_dealt_with(&self, first: &EntryHash) -> bool {
        self.lock().dealt_with.contains(first)
    }

    /// Raises the alarm; the first one stays. Gives whether it is new.
    pub(crate) fn raise(&self, alarm: Alarm) -> bool {
        let mut inner = self.lock();
        if inner.alarm.is_some() {
            return false;
        }
        // What is not on the disk holds until the next start: then it is found out again.
        if let Err(error) = self.values.set(ALARM, &alarm) {
            tracing::error!(%error, "cannot store the evidence of a split history");
        }
        inner.alarm = Some(alarm);
        true
    }

    /// The accused are no coordinators any more: the alarm is over.
    pub(crate) fn stand_down(&self) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if let Some(theirs) = inner.alarm.as_ref().and_then(|a| a.theirs) {
            deal_with(&mut inner.dealt_with, theirs);
            self.values.set(DEALT_WITH, &inner.dealt_with)?;
        }
        self.values.remove(ALARM)?;
        inner.alarm = None;
        Ok(())
    }

    /// Somebody spoke of an entry that is not here.
    pub(crate) fn note_ahead(&self, claim: HeadClaim, from: NodeId, clock: Millis) {
        let mut inner = self.lock();
        if inner.unfounded.contains(&claim.head.hash)
            || inner.ahead.is_some_and(|known| known.claim.head.seq >= claim.head.seq)
        {
            return;
        }
        let before = inner.ahead;
        // Since when something is missing does not begin anew with every entry that is missing.
        let (since, since_clock) = before.map_or_else(|| (Instant::now(), clock), |b| (b.since, b.since_clock));
        inner.ahead = Some(Ahead { claim, from, since, since_clock, asked: 0 });
    }

    pub(crate) fn ahead(&self) -> Option<Ahead> {
        self.lock().ahead
    }

    /// Counts a question for the entries of the claim that is ahead.
    pub(crate) fn asked(&self) {
        if let Some(ahead) = self.lock().ahead.as_mut() {
            ahead.asked += 1;
        }
    }

    pub(crate) fn forget_ahead(&self) {
        self.lock().ahead = None;
    }

    /// Nobody could show what a claim is about: it is not taken up again.
    pub(crate) fn is_unfounded(&self, claim: HeadClaim) {
        let mut inner = self.lock();
        if inner.ahead.is_some_and(|a| a.claim == claim) {
            inner.ahead = None;
        }
        if !inner.unfounded.contains(&claim.head.hash) {
            if inner.unfounded.len() >= UNFOUNDED_MAX {
                inner.unfounded.pop_front();
            }
            inner.unfounded.push_back(claim.head.hash);
            inner.suspicious += 1;
        }
    }

    /// Nobody answered a question about a claim. True if that happened often enough to give it up.
    pub(crate) fn unanswered(&self, claim: &HeadClaim) -> bool {
        let unanswered = &mut self.lock().unanswered;
        let hash = claim.head.hash;
        if let Some((_, count)) = unanswered.iter_mut().find(|(known, _)| *known == hash) {
            *count += 1;
            return *count >= UNANSWERED_MAX;
        }
        if unanswered.len() >= UNFOUNDED_MAX {
            unanswered.pop_front();
        }
        unanswered.push_back((hash, 1));
        false
    }

    pub(crate) fn was_unfounded(&self, claim: &HeadClaim) -> bool {
        self.lock().unfounded.contains(&claim.head.hash)
    }

    pub(crate) fn coordinator_spoke(&self, clock: Millis) {
        self.lock().coordinator_at = Some((Instant::now(), clock));
    }

    pub(crate) fn peer_spoke(&self, clock: Millis) {
        self.lock().peer_at = Some((Instant::now(), clock));
    }

    pub(crate) fn set_withheld(&self, withheld: Option<String>) {
        self.lock().withheld = withheld;
    }

    /// How this node stands, at `clock` and knowing `head`; `unsure_after` nobody spoke to it it is unsure.
    pub(crate) fn standing(&self, clock: Millis, head: Option<Head>, unsure_after: std::time::Duration) -> Standing {
        let inner = self.lock();
        let recent = |at: &Option<(Instant, Millis)>| at.is_some_and(|(at, _)| at.elapsed() <= unsure_after);
        let held = inner.held.values().map(|c| c.head.seq).max();
        let ahead = inner.ahead.filter(|a| head.is_none_or(|h| a.claim.head.seq > h.seq));
        Standing {
            at: clock,
            head: head.map(|h| h.seq),
            newest: ahead.map(|a| a.claim.head.seq).max(held),
            behind_since: ahead.map(|a| a.since_clock),
            coordinator_at: inner.coordinator_at.map(|(_, at)| at),
            peer_at: inner.peer_at.map(|(_, at)| at),
            unsure: !recent(&inner.coordinator_at) && !recent(&inner.peer_at),
            withheld: inner.withheld.clone(),
            refuses: inner.alarm.as_ref().map(|a| a.why.clone()),
            suspicious: inner.suspicious,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn deal_with(dealt_with: &mut Vec<EntryHash>, first: EntryHash) {
    if dealt_with.len() >= DEALT_WITH_MAX {
        dealt_with.remove(0);
    }
    dealt_with.push(first);
}
