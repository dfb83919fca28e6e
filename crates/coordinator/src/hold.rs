//! When this coordinator appends nothing, and what ends that: it has just started and asks around, or somebody has seen
//! what it lacks.

use std::collections::HashSet;
use std::time::Duration;

use protocols::control::Denied;
use protocols::entry::{Head, Role};
use protocols::store::{StoreError, Values};
use protocols::{FleetState, NodeId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::coordinator::{Coordinator, lock};
use crate::heads::Heads;
use crate::heal::{SPLIT, Split};
use crate::order::Hold;

/// How long a coordinator that has just started waits for the others' answers before it appends.
pub const FELLOWS_ASKED_FOR: Duration = Duration::from_secs(10);
/// How long one whose ledger was restored waits for its members to say what they have seen.
pub const MEMBERS_ASKED_FOR: Duration = Duration::from_secs(60);

/// Name of the value that says that the ledger was restored.
const RESTORED: &str = "restored";
/// Name of the value that remembers the newest entry that somebody has seen and that is not here.
const SEEN: &str = "seen";

/// The newest entry that somebody has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Who.
    pub by: NodeId,
    /// The entry.
    pub head: Head,
}

/// Whose answers are waited for.
#[derive(Debug)]
pub(crate) struct Asking {
    until: Instant,
    fellows: HashSet<NodeId>,
    /// Whether agents too.
    agents: bool,
}

/// Makes a coordinator that starts with this store ask its members before it appends anything: what is in it may be old.
///
/// # Errors
/// [`StoreError`].
pub fn mark_restored(values: &Values) -> Result<(), StoreError> {
    values.set(RESTORED, &true)
}

/// The newest entry that a store's coordinator was told of and does not have, if there is one.
///
/// # Errors
/// [`StoreError`].
pub fn seen(values: &Values) -> Result<Option<Seen>, StoreError> {
    values.get(SEEN)
}

/// Lets a store's coordinator forget what was claimed, and that its history was split: a person decided.
///
/// # Errors
/// [`StoreError`].
pub fn clear(values: &Values) -> Result<(), StoreError> {
    [SEEN, SPLIT, RESTORED].into_iter().try_for_each(|name| values.remove(name))
}

/// What holds a coordinator back when it starts, and who is asked.
pub(crate) fn at_start(
    values: &Values,
    state: &FleetState,
    me: NodeId,
    heads: &mut Heads,
) -> Result<(Hold, Option<Asking>), StoreError> {
    if let Some(Split { seq, with }) = values.get::<Split>(SPLIT)? {
        return Ok((Hold::Split { seq, with }, None));
    }
    let now = Instant::now();
    if let Some(seen) = seen(values)?.filter(|seen| seen.head.seq > state.head().seq) {
        heads.remember(seen.by, seen.head, now);
    }
    let agents = values.get::<bool>(RESTORED)?.unwrap_or(false) && state.with_role(Role::Agent).next().is_some();
    let fellows: HashSet<NodeId> =
        state.with_role(Role::Coordinator).map(|(id, _)| id).filter(|id| *id != me).collect();
    if fellows.is_empty() && !agents {
        return Ok((Hold::Free, None));
    }
    let until = now + if agents { MEMBERS_ASKED_FOR } else { FELLOWS_ASKED_FOR };
    let asking = Asking { until, fellows, agents };
    Ok((Hold::Asking(asking.whom()), Some(asking)))
}

impl Asking {
    fn whom(&self) -> String {
        let coordinators = format!("{} other coordinator(s)", self.fellows.len());
        match (self.fellows.is_empty(), self.agents) {
            (true, _) => "the fleet's nodes".into(),
            (false, true) => format!("the fleet's nodes and {coordinators}"),
            (false, false) => coordinators,
        }
    }
}

impl Coordinator {
    /// Another coordinator was asked, and has nothing that is not here.
    pub(crate) fn answered(&self, fellow: NodeId) {
        let waited = lock(&self.asking).as_mut().is_some_and(|asking| asking.fellows.remove(&fellow));
        if waited {
            self.refresh_hold();
        }
    }

    /// Whether agents are told anything. What this coordinator signs for cannot be taken back, so not before it knows that
    /// the others' history is its own, and not once it knows that it is not.
    pub(crate) fn serves_agents(&self) -> Result<(), Denied> {
        match self.chair.hold() {
            held @ Hold::Split { .. } => Err(Denied::Unavailable(held.to_string())),
            held @ Hold::Asking(_)
                if lock(&self.asking).as_ref().is_some_and(|a| !a.agents && !a.fellows.is_empty()) =>
            {
                Err(Denied::Unavailable(held.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Decides anew what holds this coordinator back.
    pub(crate) fn refresh_hold(&self) {
        let state = self.state();
        self.end_asking(&state);
        let head = state.head();
        let claim = {
            let mut heads = lock(&self.heads);
            heads.reached(head.seq, |claimed| self.is_here(claimed));
            heads.newest_beyond(head.seq).filter(|_| !self.chair.is_sure())
        };
        let hold = if let Some((by, seen)) = claim {
            Hold::Lacks { seen, by: self.name_of(by) }
        } else if let Some(asking) = &*lock(&self.asking) {
            Hold::Asking(asking.whom())
        } else {
            Hold::Free
        };
        self.chair.set_hold(hold);
    }

    fn end_asking(&self, state: &FleetState) {
        let mut slot = lock(&self.asking);
        let Some(asking) = slot.as_mut() else { return };
        asking.fellows.retain(|id| state.is_coordinator(*id));
        if asking.agents {
            let liveness = lock(&self.liveness);
            asking.agents = state.with_role(Role::Agent).any(|(id, _)| !liveness.knows(id));
        }
        let late = Instant::now() >= asking.until;
        if !late && (asking.agents || !asking.fellows.is_empty()) {
            return;
        }
        if late {
            let silent: Vec<String> = asking.fellows.iter().map(|id| self.name_of(*id)).collect();
            tracing::warn!(?silent, agents = asking.agents, "not everybody said what they have seen: going on without");
        }
        if self.chair.is_mine() {
            tracing::info!(head = %state.head(), "this coordinator orders the ledger");
        }
        *slot = None;
        drop(slot);
        if let Err(error) = self.values.remove(RESTORED) {
            tracing::error!(%error, "cannot note that everybody was asked");
        }
    }

    /// Once a second: ends what took too long, and remembers across restarts what somebody has seen.
    pub(crate) fn watch_claims(&self) {
        for (by, head) in lock(&self.heads).expire(Instant::now()) {
            let who = self.name_of(by);
            tracing::error!(%who, claimed = %head, "claimed an entry and did not show it in time: it is not believed");
        }
        self.refresh_hold();
        let claim = lock(&self.heads).newest_beyond(self.state().head().seq).filter(|_| !self.chair.is_sure());
        let seen = claim.map(|(by, head)| Seen { by, head });
        let mut kept = lock(&self.seen);
        if *kept == seen {
            return;
        }
        let written = match &seen {
            Some(seen) => self.values.set(SEEN, seen),
            None => self.values.remove(SEEN),
        };
        match written {
            Ok(()) => *kept = seen,
            Err(error) => tracing::error!(%error, "cannot remember what others have seen"),
        }
    }
}
