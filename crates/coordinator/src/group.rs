//! This coordinator's place in a group: the ledger as the group needs it, who may change the group, what is handed on.

use std::sync::{Arc, Weak};
use std::time::Duration;

use protocols::control::{ChangeError, Denied, GroupStatus, Tail};
use protocols::entry::{Body, Head, Verb};
use protocols::incoming::Incoming;
use protocols::{NodeId, SignedEntry, VerifiedEntry};
use quorum::{Call, Carry, Group, GroupError, Ledger, Reply, Timing, Transport, Unfit};
use tokio::time::timeout;

use crate::coordinator::{Coordinator, LEASES_FILE};
use crate::order::{AppendError, Chair, Hold, LocalOrder, Order as _};
use crate::wire::{BoxFuture, Wire};

/// Name of the group's log in the data folder.
const GROUP_FILE: &str = "group.redb";
/// Name that the log of leases gets once a group has taken it over.
const LEASES_CARRIED: &str = "leases-before-group.redb";
/// Name of the value that remembers the members of a group that this coordinator is not of.
const OTHERS: &str = "group";
/// How long a member may take to send the next entries.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// How many batches may wait to be taken.
const QUEUED: usize = 4;

impl Coordinator {
    /// Takes this coordinator's place in its group, if it has one, and makes it ready to get one. To be called once, before
    /// anybody is served.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn join_group(self: &Arc<Self>, transport: Arc<dyn Transport>, timing: Timing) -> Result<(), GroupError> {
        // The chair keeps the group, so what the group keeps must not keep the chair.
        let (chair, wire) = (Arc::downgrade(&self.chair), Arc::clone(&self.wire));
        let ledger = GroupLedger { local: Arc::clone(self.chair.local()), chair, wire };
        let (leases, local) = (Arc::clone(&self.leases), Arc::clone(self.chair.local()));
        let carry: Carry = Arc::new(move || {
            let (leases, local) = (Arc::clone(&leases), Arc::clone(&local));
            Box::pin(async move {
                // Nothing is ordered by the coordinator alone any more, so this is its last word.
                let table = leases.seal().await.map_err(|e| e.to_string())?;
                Ok((table, local.state().head()))
            })
        });
        let options = quorum::Options {
            me: self.id(),
            path: self.dir.join(GROUP_FILE),
            timing,
            ledger: Arc::new(ledger),
            transport: Arc::clone(&transport),
            carry,
        };
        match self.values.get::<Vec<NodeId>>(OTHERS) {
            Ok(members) => drop(self.chair.set_others_group(members.unwrap_or_default())),
            Err(error) => tracing::warn!(%error, "cannot tell who orders as a group"),
        }
        let group = Group::open(options).await?;
        if group.is_member() {
            // What a member has, the group has agreed on: nobody must be asked first.
            *crate::coordinator::lock(&self.asking) = None;
            self.chair.set_hold(Hold::Free);
            self.put_leases_away().await;
        }
        self.chair.set_group(group);
        let _once = self.transport.set(transport);
        Ok(())
    }

    /// The leases of before the group are never gone on with: whoever orders alone again begins without.
    async fn put_leases_away(&self) {
        if let Err(error) = self.leases.seal().await {
            tracing::debug!(%error, "the leases of before the group cannot be read");
        }
        let (from, to) = (self.dir.join(LEASES_FILE), self.dir.join(LEASES_CARRIED));
        match tokio::fs::rename(&from, &to).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %from.display(), "cannot put the leases of before the group away");
            }
            _ => {}
        }
    }

    /// Answers another coordinator on the group's protocol.
    pub async fn group_call(&self, caller: NodeId, call: Call) -> Option<Reply> {
        let group = self.chair.group().filter(|_| self.state().is_coordinator(caller))?;
        if !group.is_member() && !call.is_between_members() && self.chair.is_mine() && self.unheld().is_ok() {
            return Some(quorum::handle_alone(&self.leases, call).await);
        }
        Some(group.handle(caller, call).await)
    }

    pub(crate) async fn group_status(&self, caller: NodeId) -> Result<Option<GroupStatus>, Denied> {
        self.member(caller)?;
        if self.state().is_agent(caller) {
            return Err(Denied::NotAllowed("see how the coordinators stand".into()));
        }
        match self.chair.as_member() {
            Some(group) => Ok(group.status().await),
            None => Ok(None),
        }
    }

    pub(crate) async fn change_group(
        &self,
        caller: NodeId,
        add: Vec<NodeId>,
        remove: Vec<NodeId>,
    ) -> Result<GroupStatus, ChangeError> {
        let refused = |why: String| Err(ChangeError::Refused(why));
        let state = self.state();
        if !state.may_everywhere(caller, Verb::Grant, (self.clock)()) {
            return refused("to change who orders needs the right to grant, everywhere".into());
        }
        if add.len() + remove.len() > 2 * protocols::control::GROUP_MAX || (add.is_empty() && remove.is_empty()) {
            return refused("name the coordinators that are to be added or removed".into());
        }
        if let Some(stranger) = add.iter().find(|id| !state.is_coordinator(**id)) {
            let name = self.name_of(*stranger);
            return refused(format!("`{name}` is no coordinator: enroll it first, flt admin coordinator enroll"));
        }
        if remove.contains(&state.orderer()) {
            let name = self.name_of(state.orderer());
            return refused(format!(
                "`{name}` is the one that the ledger names: name another member first, flt admin coordinator appoint NAME"
            ));
        }
        let Some(group) = self.chair.group() else { return refused("this coordinator is starting: try again".into()) };
        if !group.is_member() {
            if !self.chair.is_mine() {
                let name = self.name_of(self.chair.orderers().first().copied().unwrap_or_else(|| state.orderer()));
                return refused(format!("this coordinator orders nothing: ask `{name}`"));
            }
            if self.chair.hold() != Hold::Free {
                return refused(format!("this coordinator cannot found a group now: {}", self.chair.hold()));
            }
        }
        let status = group.change(&add, &remove).await?;
        tracing::info!(members = status.members.len(), "the group of coordinators was changed");
        Ok(status)
    }

    /// What the ledger's rules allow and the group's membership does not.
    pub(crate) async fn fits_group(&self, entry: &VerifiedEntry) -> Result<(), String> {
        let name = |id: NodeId| self.name_of(id);
        match (&entry.entry().body, self.chair.as_member()) {
            (Body::Appoint(appoint), Some(group)) if !group.has(appoint.coordinator) => Err(format!(
                "`{}` is no member of the group that orders: flt admin coordinator add",
                name(appoint.coordinator)
            )),
            (Body::Revoke(revoke), Some(group)) if revoke.compromised_since.is_none() && group.has(revoke.key) => {
                Err(format!("`{0}` is a member of the group: flt admin coordinator remove {0}", name(revoke.key)))
            }
            (Body::Appoint(appoint), None) if appoint.coordinator != self.id() && self.chair.is_mine() => {
                if self.leases.is_anything_in_custody().await.map_err(|e| e.to_string())? {
                    return Err(
                        "a device is being changed, and another coordinator would not know of it: try again in \
                        a minute"
                            .into(),
                    );
                }
                let views = self.leases.views(quorum::Views::default()).await.map_err(|e| e.to_string())?;
                match views.views.is_empty() {
                    true => Ok(()),
                    false => {
                        Err("its leases are on its disk alone, and another one would begin without them: let them \
                        order as a group, flt admin coordinator add"
                            .into())
                    }
                }
            }
            _ => Ok(()),
        }
    }

    /// Takes note of the group that another coordinator is or is not a member of.
    pub(crate) fn note_group(&self, by: NodeId, status: Option<GroupStatus>) {
        let members: Vec<NodeId> = match status {
            Some(status) => status.members.into_iter().filter(|m| m.votes).map(|m| m.node).collect(),
            // Only who would order alone can say that there is none.
            None if by == self.state().orderer() => Vec::new(),
            None => return,
        };
        if members.contains(&self.id()) || self.chair.as_member().is_some() {
            self.chair.set_others_group(Vec::new());
            return;
        }
        if self.chair.set_others_group(members.clone())
            && let Err(error) = self.values.set(OTHERS, &members)
        {
            tracing::warn!(%error, "cannot remember who orders as a group");
        }
    }
}

/// The ledger on this coordinator's disk, without regard to whom it names as the one that orders.
struct GroupLedger {
    local: Arc<LocalOrder>,
    chair: Weak<Chair>,
    wire: Arc<dyn Wire>,
}

impl GroupLedger {
    async fn take(&self, from: NodeId, head: Head) -> Result<(), String> {
        let ours = self.local.state().head();
        let request = Tail { after: Some(ours), follow: false };
        let stream = timeout(ANSWER_DEADLINE, self.wire.control(from).server_streaming(request, QUEUED)).await;
        let stream = stream.map_err(|_| "no answer in time".to_owned())?.map_err(|e| scores::chain(&e))?;
        let mut batches = Incoming::new(stream);
        let mut next = ours.seq + 1;
        while next <= head.seq {
            let batch = timeout(ANSWER_DEADLINE, batches.next()).await.map_err(|_| "no answer in time".to_owned())?;
            let Some(batch) = batch.map_err(|e| scores::chain(&e))? else { break };
            let wanted = usize::try_from(head.seq - next + 1).unwrap_or(usize::MAX);
            let entries: Vec<SignedEntry> = batch.entries.into_iter().take(wanted).collect();
            if entries.is_empty() {
                break;
            }
            next += entries.len() as u64;
            self.local.extend(entries).await.map_err(|e| scores::chain(&e))?;
        }
        Ok(())
    }
}

impl Ledger for GroupLedger {
    fn head(&self) -> Head {
        self.local.state().head()
    }

    fn append(&self, entry: SignedEntry) -> BoxFuture<'_, Result<Result<Head, Unfit>, String>> {
        Box::pin(async move {
            match self.local.append(entry).await {
                Ok(head) => Ok(Ok(head)),
                Err(AppendError::Stale(head)) => Ok(Err(Unfit::Stale(head))),
                Err(AppendError::Refused(refusal)) => Ok(Err(Unfit::Refused(refusal))),
                Err(AppendError::Unverified(why)) => Ok(Err(Unfit::Unverified(why))),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn catch_up(&self, head: Head, from: Vec<NodeId>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let mut members = from;
            if let Some(chair) = self.chair.upgrade() {
                let known = chair.group().map(|group| group.members()).unwrap_or_default();
                members.extend(known.into_iter().filter(|id| *id != chair.me()));
            }
            members.sort_unstable();
            members.dedup();
            let mut last = String::from("no other member is known");
            for member in members {
                match self.take(member, head).await {
                    Ok(()) if self.head().seq >= head.seq => return Ok(()),
                    Ok(()) => last = "it lacks them too".into(),
                    Err(why) => last = why,
                }
            }
            Err(last)
        })
    }

    fn name_of(&self, node: NodeId) -> String {
        let state = self.local.state();
        state.members().get(&node).map_or_else(|| node.short(), |m| m.name.to_string())
    }
}
