//! The way to the other members, as openraft sees it, and when each of them was last heard.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{AnyError, Vote};
use protocols::NodeId;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::call::{Call, Said, Transport, What};
use crate::log::Log;
use crate::types::{LogId, Member, Types};

/// The pause after a member could not be reached.
const AGAIN: Duration = Duration::from_millis(150);
/// How long a connection may answer nothing until it is thrown away.
const DEAD_AFTER: Duration = Duration::from_millis(1500);
/// How long what a member agreed to is as good as what it would say now.
const FRESH: Duration = Duration::from_millis(20);
/// How long the word that an entry is agreed on waits for another entry to go along with.
const ALONG: Duration = Duration::from_millis(4);

/// When each member was last heard.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<HashMap<NodeId, Signs>>);

#[derive(Debug, Clone, Copy)]
struct Signs {
    heard: Option<Instant>,
    /// Since when it is silent, or since its connection was thrown away.
    waiting: Option<Instant>,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Signs>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It said something.
    pub(crate) fn note(&self, node: NodeId) {
        self.lock().insert(node, Signs { heard: Some(Instant::now()), waiting: None });
    }

    /// It did not answer; true if its connection has been silent for too long.
    fn is_dead(&self, node: NodeId) -> bool {
        let now = Instant::now();
        let mut signs = self.lock();
        let signs = signs.entry(node).or_insert(Signs { heard: None, waiting: None });
        let since = *signs.waiting.get_or_insert(now);
        let dead = now.duration_since(since) > DEAD_AFTER;
        if dead {
            signs.waiting = Some(now);
        }
        dead
    }

    /// How long it has been silent.
    pub(crate) fn silent(&self, node: NodeId) -> Option<Duration> {
        self.lock().get(&node).and_then(|signs| signs.heard).map(|at| at.elapsed())
    }
}

/// Makes connections to members.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) me: Member,
    pub(crate) log: Log,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) heard: Arc<Heard>,
    /// Told when others say that this one was removed.
    pub(crate) removed: Arc<Notify>,
}

/// The way to one member.
pub(crate) struct Peer {
    network: Network,
    to: Member,
    told: bool,
    agreed: Option<Agreed>,
    /// A word that waits for the next entry, and goes alone if none comes.
    word: Option<AbortOnDropHandle<()>>,
}

/// What a member said last.
struct Agreed {
    vote: Vote<Member>,
    has: Option<LogId>,
    asked: Instant,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, to: Member, (): &()) -> Peer {
        Peer { network: self.clone(), to, told: false, agreed: None, word: None }
    }
}

impl Peer {
    /// A leader whose disk fails or hangs says nothing, so that another one is chosen.
    fn speak(&self) -> Result<(), Lost> {
        if self.network.log.is_stuck() {
            return Err(Lost::Away("the disk of this coordinator does not keep up".into()));
        }
        Ok(())
    }

    /// Whether this only says what is agreed on, to a member that has just said that it follows and has this entry.
    ///
    /// openraft sends such a message after each entry. It would keep the next entry waiting for its answer, though that
    /// can say as much.
    fn is_word(&self, rpc: &AppendEntriesRequest<Types>) -> bool {
        let same = |a: &Agreed| a.vote == rpc.vote && a.has == rpc.prev_log_id && a.asked.elapsed() < FRESH;
        rpc.entries.is_empty() && self.agreed.as_ref().is_some_and(same)
    }

    /// Says it in a while. The answer says nothing new.
    fn say_later(&self, mut rpc: AppendEntriesRequest<Types>, within: Duration) -> AbortOnDropHandle<()> {
        let (network, to) = (self.network.clone(), self.to);
        AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::time::sleep(ALONG).await;
            if network.log.is_stuck() {
                return;
            }
            rpc.leader_commit = network.log.stored_of(rpc.leader_commit);
            let what = What::Append { to, from: network.me, rpc };
            if let Ok(Ok(_)) = tokio::time::timeout(within, network.transport.call(to.key(), Call(what))).await {
                network.heard.note(to.key());
            }
        }))
    }

    async fn call(&mut self, what: What, within: Duration) -> Result<Said, Lost> {
        let key = self.to.key();
        // Just before openraft gives up, so that the silence is noticed here.
        let within = within.mul_f32(0.95);
        match tokio::time::timeout(within, self.network.transport.call(key, Call(what))).await {
            Ok(Ok(reply)) => {
                self.network.heard.note(key);
                match reply.0 {
                    Said::Removed => {
                        self.network.removed.notify_one();
                        Err(Lost::Away("this coordinator was removed from the group".into()))
                    }
                    Said::OtherDisk => {
                        if !std::mem::replace(&mut self.told, true) {
                            tracing::error!(member = %self.to, "a member of the group has lost its share of the log: \
                                bring it back with flt admin coordinator add");
                        }
                        Err(Lost::Away("it has lost its share of the log".into()))
                    }
                    Said::Failed(why) => Err(Lost::Away(why)),
                    Said::NotAMember => Err(Lost::Away("it does not know this coordinator as a member".into())),
                    said => Ok(said),
                }
            }
            Ok(Err(why)) => Err(Lost::Away(why)),
            Err(_) => {
                if self.network.heard.is_dead(key) {
                    self.network.transport.reset(key);
                }
                Err(Lost::Silent)
            }
        }
    }
}

enum Lost {
    Silent,
    Away(String),
}

impl<E: std::error::Error> From<Lost> for RPCError<Member, (), RaftError<Member, E>> {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Silent => Self::Network(NetworkError::from(AnyError::error("no answer in time"))),
            Lost::Away(why) => Self::Unreachable(Unreachable::from(AnyError::error(why))),
        }
    }
}

fn odd<E: std::error::Error>() -> RPCError<Member, (), RaftError<Member, E>> {
    Lost::Away("it answered something else".into()).into()
}

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        mut rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Member>, RPCError<Member, (), RaftError<Member>>> {
        self.speak()?;
        let (to, from) = (self.to, self.network.me);
        // An entry takes the place of a word, and a word that of an older one.
        self.word = None;
        if self.is_word(&rpc) {
            self.word = Some(self.say_later(rpc, option.hard_ttl()));
            return Ok(AppendEntriesResponse::Success);
        }
        // What follows from an entry is for nobody until the disk here has it too.
        rpc.leader_commit = self.network.log.stored_of(rpc.leader_commit);
        let has = rpc.entries.last().map(|entry| entry.log_id).or(rpc.prev_log_id);
        let agreed = Agreed { vote: rpc.vote, has, asked: Instant::now() };
        self.agreed = None;
        match self.call(What::Append { to, from, rpc }, option.hard_ttl()).await? {
            Said::Append(response) => {
                self.agreed = matches!(response, AppendEntriesResponse::Success).then_some(agreed);
                Ok(response)
            }
            _ => Err(odd()),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<Member>, RPCError<Member, (), RaftError<Member, InstallSnapshotError>>> {
        self.speak()?;
        let (to, from) = (self.to, self.network.me);
        match self.call(What::Snapshot { to, from, rpc }, option.hard_ttl()).await? {
            Said::Snapshot(Ok(response)) => Ok(response),
            Said::Snapshot(Err(error)) => Err(RPCError::RemoteError(RemoteError::new(to, RaftError::APIError(error)))),
            _ => Err(odd()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Member>,
        option: RPCOption,
    ) -> Result<VoteResponse<Member>, RPCError<Member, (), RaftError<Member>>> {
        let (to, from) = (self.to, self.network.me);
        match self.call(What::Vote { to, from, rpc }, option.hard_ttl()).await? {
            Said::Vote(response) => Ok(response),
            _ => Err(odd()),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(AGAIN))
    }
}

#[cfg(test)]
mod tests;
