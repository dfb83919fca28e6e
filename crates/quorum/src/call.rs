//! What members of the group say to one another, and who carries it.

use irpc::channel::oneshot;
use irpc::rpc_requests;
use openraft::error::InstallSnapshotError;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use protocols::NodeId;
use protocols::control::{ChangeError, GroupStatus, LeaseError, LeaseViews};
use serde::{Deserialize, Serialize};

use crate::BoxFuture;
use crate::types::{Done, Item, Member, Types};
use crate::views::Views;

/// The largest call, in bytes.
pub const CALL_BYTES_MAX: usize = 12 * 1024 * 1024;

/// Requests to a coordinator of the group.
#[rpc_requests(message = GroupMessage)]
#[derive(Debug, Serialize, Deserialize)]
pub enum GroupProtocol {
    /// The one there is; what it says is the group's own affair.
    #[rpc(tx = oneshot::Sender<Reply>)]
    #[wrap(GroupCall)]
    Call(Call),
}

/// Carries calls to other coordinators.
pub trait Transport: Send + Sync + 'static {
    /// Asks a coordinator. Who gives up waiting drops the future.
    fn call(&self, to: NodeId, call: Call) -> BoxFuture<'_, Result<Reply, String>>;
    /// Throws away a connection that looks alive and answers nothing.
    fn reset(&self, to: NodeId);
}

/// One request.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call(pub(crate) What);

impl Call {
    /// Whether only members of a group, or those who become it, say this.
    pub const fn is_between_members(&self) -> bool {
        !matches!(self.0, What::Propose(_) | What::Views(_) | What::Status)
    }
}

/// One answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reply(pub(crate) Said);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum What {
    Append {
        to: Member,
        from: Member,
        rpc: AppendEntriesRequest<Types>,
    },
    Vote {
        to: Member,
        from: Member,
        rpc: VoteRequest<Member>,
    },
    Snapshot {
        to: Member,
        from: Member,
        rpc: InstallSnapshotRequest<Types>,
    },
    /// To one that is to become a member: which one would it be? With `renew`, it begins a new log.
    Prepare {
        renew: bool,
    },
    Propose(Vec<Item>),
    Views(Views),
    Status,
    Change {
        add: Vec<NodeId>,
        remove: Vec<NodeId>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    Append(AppendEntriesResponse<Member>),
    Vote(VoteResponse<Member>),
    Snapshot(Result<InstallSnapshotResponse<Member>, InstallSnapshotError>),
    Prepared(Member),
    Proposed(Vec<Result<Done, ProposeError>>),
    Views(Result<LeaseViews, LeaseError>),
    Status(Option<GroupStatus>),
    Changed(Result<(), ChangeError>),
    /// The disk that was meant is not here.
    OtherDisk,
    /// The asker is a member no more.
    Removed,
    /// The asker is not, or the asked one is not, a member.
    NotAMember,
    Failed(String),
}

/// Why an item was not ordered, or is not known to have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ProposeError {
    /// It was not, and will not be.
    #[error("the coordinators' group orders nothing right now: {0}")]
    NoLeader(String),
    /// Nobody knows.
    #[error("the answer of the coordinators' group was lost: {0}")]
    Lost(String),
    /// It was not: too much waits already.
    #[error("more waits to be ordered than the coordinators' group can take")]
    Overloaded,
}
