//! Members added, removed and replaced, while the group goes on ordering.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use protocols::NodeId;
use protocols::control::{ChangeError, GROUP_MAX, GroupStatus};
use tokio::time::{Instant, timeout};

use super::{Group, GroupError, Running};
use crate::batch::leads;
use crate::call::{Call, Said, What};
use crate::types::Member;

/// How long a coordinator that is to be added may take to answer.
const PREPARE_DEADLINE: Duration = Duration::from_secs(15);
/// How long it may take to catch up.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(60);
/// How long a majority may take to agree on the change.
const CHANGE_DEADLINE: Duration = Duration::from_secs(30);
/// How long a founder may take until it leads itself.
const FOUND_DEADLINE: Duration = Duration::from_secs(20);
/// How long all of it may take, as seen from another member.
const HANDED_ON_DEADLINE: Duration = Duration::from_secs(150);

type Changed<T> = Result<T, RaftError<Member, ClientWriteError<Member, ()>>>;

impl Group {
    /// Makes members of some coordinators and none of others, in one step. Where there is no group yet, this coordinator
    /// founds it. Whether each is a coordinator of the fleet is for the caller to see to.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change(self: &Arc<Self>, add: &[NodeId], remove: &[NodeId]) -> Result<GroupStatus, ChangeError> {
        match self.running().filter(|running| running.is_member()) {
            None => {
                check_size(1 + add.iter().filter(|key| **key != self.options.me).count())?;
                if let Some(key) = remove.first() {
                    return Err(ChangeError::NotAMember(self.options.ledger.name_of(*key)));
                }
                // All must be reachable before anything is changed for good.
                for key in add.iter().filter(|key| **key != self.options.me) {
                    self.prepared(*key, false).await?;
                }
                self.begin().await?;
                let add: Vec<NodeId> = add.iter().copied().filter(|key| *key != self.options.me).collect();
                self.change_as_leader(&add, remove).await?;
            }
            Some(running) => {
                let leader = running.raft.metrics().borrow().current_leader;
                match leader {
                    Some(leader) if leader != running.me => {
                        let call = Call(What::Change { add: add.to_vec(), remove: remove.to_vec() });
                        let asked = running.transport.call(leader.key(), call);
                        match timeout(HANDED_ON_DEADLINE, asked).await {
                            Ok(Ok(reply)) => match reply.0 {
                                Said::Changed(result) => result?,
                                _ => return Err(ChangeError::Lost("the leader answered something else".into())),
                            },
                            Ok(Err(why)) => return Err(ChangeError::Lost(why)),
                            Err(_) => return Err(ChangeError::Lost("the leader took too long".into())),
                        }
                    }
                    _ => self.change_as_leader(add, remove).await?,
                }
            }
        }
        self.status().await.ok_or_else(|| ChangeError::Lost("this coordinator is a member no more".into()))
    }

    async fn begin(self: &Arc<Self>) -> Result<(), ChangeError> {
        let _changing = self.changing.try_lock().map_err(|_| ChangeError::Busy)?;
        let running = self.found().await.map_err(|e| ChangeError::Refused(e.to_string()))?;
        let until = Instant::now() + FOUND_DEADLINE;
        while !running.machine.read(|state| state.head.is_some()) {
            if Instant::now() > until {
                return Err(ChangeError::Lost("the group was not founded in time".into()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub(super) async fn change_as_leader(&self, add: &[NodeId], remove: &[NodeId]) -> Result<(), ChangeError> {
        let _changing = self.changing.try_lock().map_err(|_| ChangeError::Busy)?;
        let running = self.running().ok_or_else(|| ChangeError::Lost("this coordinator is a member no more".into()))?;
        let metrics = running.raft.metrics().borrow().clone();
        if !leads(&metrics) {
            return Err(ChangeError::NoMajority { why: running.why_no_leader() });
        }
        let membership = metrics.membership_config.membership().clone();
        if membership.get_joint_config().len() != 1 {
            return Err(ChangeError::Busy);
        }
        let name = |key: NodeId| self.options.ledger.name_of(key);
        let voters: BTreeSet<Member> = membership.voter_ids().collect();
        let members: Vec<Member> = membership.nodes().map(|(id, ())| *id).collect();
        for key in remove {
            if !members.iter().any(|member| member.key() == *key) {
                return Err(ChangeError::NotAMember(name(*key)));
            }
        }
        let mut target: BTreeSet<Member> =
            voters.iter().copied().filter(|member| !remove.contains(&member.key())).collect();
        // Looked at before anybody is asked: who is added twice, or has lost its disk, takes no second place.
        let fresh = add.iter().filter(|key| !target.iter().any(|member| member.key() == **key));
        check_size(target.len() + fresh.collect::<BTreeSet<_>>().len())?;
        let mut added = Vec::new();
        for key in add {
            if *key == running.me.key() {
                return Err(ChangeError::Already(name(*key)));
            }
            let mut member = self.prepared(*key, false).await?;
            if running.machine.read(|state| state.removed.contains(&member)) {
                member = self.prepared(*key, true).await?;
            }
            if target.contains(&member) {
                return Err(ChangeError::Already(name(*key)));
            }
            target.retain(|known| known.key() != *key);
            target.insert(member);
            added.push(member);
        }
        let learners: Vec<Member> = added.iter().copied().filter(|member| !voters.contains(member)).collect();
        let result = self.carry_out(&running, &learners, &target).await;
        if result.is_err() {
            let fresh: BTreeSet<Member> = learners.into_iter().filter(|member| !members.contains(member)).collect();
            if !fresh.is_empty() {
                let undone = running.raft.change_membership(ChangeMembers::RemoveNodes(fresh), false);
                if !matches!(timeout(CHANGE_DEADLINE, undone).await, Ok(Ok(_))) {
                    tracing::warn!("coordinators that were to be added stay as members that do not vote");
                }
            }
        }
        result?;
        let left: BTreeSet<Member> =
            members.into_iter().filter(|m| !voters.contains(m) && remove.contains(&m.key())).collect();
        if !left.is_empty() {
            let removed = running.raft.change_membership(ChangeMembers::RemoveNodes(left), false);
            settled(timeout(CHANGE_DEADLINE, removed).await, &running)?;
        }
        Ok(())
    }

    async fn carry_out(
        &self,
        running: &Running,
        learners: &[Member],
        target: &BTreeSet<Member>,
    ) -> Result<(), ChangeError> {
        for learner in learners {
            let added = timeout(CHANGE_DEADLINE, running.raft.add_learner(*learner, (), false)).await;
            settled(added, running)?;
        }
        let needed = running.raft.metrics().borrow().last_log_index;
        for learner in learners {
            let mut metrics = running.raft.metrics();
            let caught_up = metrics.wait_for(|now| {
                let matched = now.replication.as_ref().and_then(|r| r.get(learner)).copied().flatten();
                now.replication.is_none() || matched.map(|log| log.index) >= needed
            });
            if timeout(CATCH_UP_DEADLINE, caught_up).await.is_err() {
                let (name, seconds) = (self.options.ledger.name_of(learner.key()), CATCH_UP_DEADLINE.as_secs());
                return Err(ChangeError::Slow { name, seconds });
            }
        }
        let changed = running.raft.change_membership(ChangeMembers::ReplaceAllVoters(target.clone()), false);
        settled(timeout(CHANGE_DEADLINE, changed).await, running)
    }

    /// Asks a coordinator to be ready to become a member.
    async fn prepared(&self, key: NodeId, renew: bool) -> Result<Member, ChangeError> {
        let why = match timeout(PREPARE_DEADLINE, self.options.transport.call(key, Call(What::Prepare { renew }))).await
        {
            Ok(Ok(reply)) => match reply.0 {
                Said::Prepared(member) if member.key() == key => return Ok(member),
                Said::Failed(why) => why,
                _ => "it answered something else".into(),
            },
            Ok(Err(why)) => why,
            Err(_) => format!("no answer in {} seconds", PREPARE_DEADLINE.as_secs()),
        };
        Err(ChangeError::Unreachable { name: self.options.ledger.name_of(key), why })
    }

    /// Makes this coordinator ready to become a member, and says which one it would be.
    pub(super) async fn prepare(self: &Arc<Self>, renew: bool) -> Result<Member, GroupError> {
        let _changing = self.changing.lock().await;
        if let Some(running) = self.running() {
            if !renew {
                return Ok(running.me);
            }
            self.stop(&running).await;
        }
        // Whatever log is here is of a member that was removed.
        self.put_away().await?;
        let log = self.open_log().await?;
        Ok(self.start(log).await?.me)
    }
}

fn check_size(would: usize) -> Result<(), ChangeError> {
    if would % 2 == 1 && would <= GROUP_MAX { Ok(()) } else { Err(ChangeError::Size { would }) }
}

fn settled<T>(result: Result<Changed<T>, tokio::time::error::Elapsed>, running: &Running) -> Result<(), ChangeError> {
    match result {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_))))) => {
            Err(ChangeError::Busy)
        }
        Ok(Err(error)) => Err(ChangeError::Lost(error.to_string())),
        Err(_) => Err(ChangeError::NoMajority { why: running.why_no_leader() }),
    }
}
