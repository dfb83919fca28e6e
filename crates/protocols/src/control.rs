//! What members say to a coordinator. The caller is whoever the connection belongs to; no message names them.

mod group;
mod lease;

use failover::{Attempt, ClusterName, Outcome};
use irpc::channel::{mpsc, oneshot};
use irpc::rpc_requests;
use serde::{Deserialize, Serialize};

pub use group::{ChangeError, GROUP_MAX, GroupMember, GroupStatus};
pub use lease::{LEASE_BYTES_MAX, LEASE_VIEWS_MAX, LeaseError, LeaseViews};

use crate::addr::PeerAddr;
use crate::blob::BlobRef;
use crate::entry::{Head, SignedEntry};
use crate::heartbeat::{Beat, BeatAck};
use crate::ids::{BlobHash, FleetId, Millis, NodeId};
use crate::key::Signature;
use crate::lease_word::LeaseWord;
use crate::record::{KeyVersion, SignedRecord};
use crate::state::Refusal;
use crate::ticket::Ticket;

/// The most entries in one batch of a tail.
pub const TAIL_BATCH_MAX: usize = 256;
/// The most bytes of entries in one batch of a tail.
pub const TAIL_BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The most records in one push.
pub const PUSH_RECORDS_MAX: usize = 64;
/// The most blobs in one offer.
pub const OFFER_BLOBS_MAX: usize = 20_000;
/// The largest request, in bytes.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Requests to a coordinator.
#[rpc_requests(message = ControlMessage)]
#[derive(Debug, Serialize, Deserialize)]
pub enum Control {
    /// Says the text back; for measuring and for `flt doctor`.
    #[rpc(tx = oneshot::Sender<Echoed>)]
    #[wrap(Echo)]
    Echo(String),
    /// Asks what fleet this is and how far its ledger goes.
    #[rpc(tx = oneshot::Sender<Result<Welcome, Denied>>)]
    #[wrap(Hello)]
    Hello,
    /// Sends the ledger's entries after a place, and goes on sending new ones until the caller hangs up.
    #[rpc(tx = mpsc::Sender<TailBatch>)]
    #[wrap(Tail)]
    Tail {
        /// The newest entry the caller has; nothing to begin with the genesis entry.
        after: Option<Head>,
        /// Whether to stay and send new entries as they come.
        follow: bool,
    },
    /// Asks to append an entry.
    #[rpc(tx = oneshot::Sender<Result<Receipt, SubmitError>>)]
    #[wrap(Submit)]
    Submit(SignedEntry),
    /// An agent's sign of life.
    #[rpc(tx = oneshot::Sender<Result<BeatAck, Denied>>)]
    #[wrap(SendBeat)]
    Beat(Beat),
    /// An agent compares its records with the coordinator's copy: the answer is what the coordinator has.
    #[rpc(tx = oneshot::Sender<Result<Vec<KeyVersion>, Denied>>)]
    #[wrap(Compare)]
    Compare,
    /// An agent hands over records.
    #[rpc(tx = oneshot::Sender<Result<(), Denied>>)]
    #[wrap(Push)]
    Push(Vec<SignedRecord>),
    /// An admin asks for nodes' records and liveness, of all nodes or of those named.
    #[rpc(tx = mpsc::Sender<Result<NodeReport, Denied>>)]
    #[wrap(Report)]
    Report {
        /// The nodes; all if empty.
        nodes: Vec<NodeId>,
        /// Only records whose key begins so; all if empty.
        prefix: String,
    },
    /// An admin watches: every change of a node's records or liveness.
    #[rpc(tx = mpsc::Sender<Result<NodeReport, Denied>>)]
    #[wrap(Watch)]
    Watch {
        /// The nodes; all if empty.
        nodes: Vec<NodeId>,
    },
    /// An admin offers blobs, which the coordinator fetches from the caller before it answers with the last progress.
    #[rpc(tx = mpsc::Sender<Result<OfferProgress, Denied>>)]
    #[wrap(Offer)]
    Offer {
        /// The blobs.
        blobs: Vec<BlobRef>,
        /// Where the caller can be reached.
        from: PeerAddr,
    },
    /// Where a node was last seen.
    #[rpc(tx = oneshot::Sender<Result<Option<PeerAddr>, Denied>>)]
    #[wrap(Locate)]
    Locate(NodeId),
    /// Who has a blob: nodes that said so, newest first; the coordinator itself is always worth asking.
    #[rpc(tx = oneshot::Sender<Result<Vec<PeerAddr>, Denied>>)]
    #[wrap(Providers)]
    Providers(BlobHash),
    /// An agent says that it has blobs and serves them, or no longer does.
    #[rpc(tx = oneshot::Sender<Result<(), Denied>>)]
    #[wrap(Provide)]
    Provide {
        /// What it has now.
        have: Vec<BlobHash>,
        /// What it has no more.
        gone: Vec<BlobHash>,
    },
    /// An admin asks for the ticket that reaches this fleet, without an invite.
    #[rpc(tx = oneshot::Sender<Result<Ticket, Denied>>)]
    #[wrap(GetTicket)]
    Ticket,
    /// An agent, or an admin with the right, asks for something about the lease of a cluster.
    #[rpc(tx = oneshot::Sender<Result<Outcome, LeaseError>>)]
    #[wrap(Lease)]
    Lease {
        /// The cluster.
        cluster: ClusterName,
        /// The asker's own name for this request; an admin's needs none, and is answered with it all the same.
        attempt: Attempt,
        /// What is asked.
        request: failover::Request,
    },
    /// An agent asks for the same, for a process that does not believe the one that carries the answer: it is signed.
    #[rpc(tx = oneshot::Sender<Result<LeaseWord, LeaseError>>)]
    #[wrap(SignedLease)]
    SignedLease {
        /// The cluster.
        cluster: ClusterName,
        /// The asker's own name for this request.
        attempt: Attempt,
        /// What is asked.
        request: failover::Request,
    },
    /// An admin, or an agent that is a candidate, asks how leases stand. It changes nothing.
    #[rpc(tx = oneshot::Sender<Result<LeaseViews, LeaseError>>)]
    #[wrap(Leases)]
    Leases {
        /// The cluster; all if it is not named.
        cluster: Option<ClusterName>,
        /// Only those after this one, by name: where the answer before ended.
        after: Option<ClusterName>,
    },
    /// How the coordinators' group stands; nothing where one coordinator orders alone.
    #[rpc(tx = oneshot::Sender<Result<Option<GroupStatus>, Denied>>)]
    #[wrap(AskGroup)]
    Group,
    /// An admin with the right to grant changes who orders: the first change makes a group.
    #[rpc(tx = oneshot::Sender<Result<GroupStatus, ChangeError>>)]
    #[wrap(ChangeGroup)]
    ChangeGroup {
        /// Who becomes a member.
        add: Vec<NodeId>,
        /// Who is one no more.
        remove: Vec<NodeId>,
    },
}

/// An echo's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echoed {
    /// The text.
    pub text: String,
    /// Who the coordinator takes the caller for.
    pub caller: NodeId,
}

/// A coordinator's greeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The fleet.
    pub fleet: FleetId,
    /// The newest entry.
    pub head: Head,
    /// The coordinator's signature under that (see [`HeadClaim`](crate::HeadClaim)).
    pub claim: Signature,
    /// The document that carries the ledger, if the coordinator publishes one.
    pub document: Option<[u8; 32]>,
    /// The coordinator's clock.
    pub clock: Millis,
    /// The coordinator's version of `flt`.
    pub version: String,
}

/// Some entries in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailBatch {
    /// The entries; may be none.
    pub entries: Vec<SignedEntry>,
    /// The coordinator's newest entry when the batch was made. Who has this one has caught up.
    pub head: Head,
    /// A coordinator's signature under that (see [`HeadClaim`](crate::HeadClaim)); others than coordinators have none to give.
    pub claim: Option<Signature>,
    /// A coordinator's signature under the batch's last entry, if there is one and it is not the newest.
    pub end: Option<Signature>,
}

/// What a coordinator says when it appended an entry: it is on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The entry, which is now the newest.
    pub head: Head,
}

/// Why an entry was not appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SubmitError {
    /// Another entry came first.
    #[error("another entry came first: the newest is now {head}")]
    StaleHead {
        /// The newest entry.
        head: Head,
    },
    /// It is not allowed, or not sound.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its signature does not hold, or its bytes are not an entry.
    #[error("the entry does not verify: {0}")]
    Unverified(String),
    /// The author's clock is far off.
    #[error("the entry is dated {minutes} minutes from the coordinator's clock")]
    ClockOff {
        /// Ahead if positive.
        minutes: i64,
    },
    /// A blob it names is not with the coordinator.
    #[error("the coordinator does not have the blob {0} yet")]
    MissingBlob(BlobHash),
    /// A targeted node has said that it cannot play this kind.
    #[error("{node} cannot play {kind}: its agent offers {offers}")]
    Incapable {
        /// The node's name.
        node: String,
        /// The kind.
        kind: String,
        /// What it can play.
        offers: String,
    },
    /// The coordinator could not write it down.
    #[error("the coordinator could not store the entry: {0}")]
    Storage(String),
    /// The caller is nobody here.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// This coordinator follows another one, and cannot reach it.
    #[error("the coordinator `{name}` orders the ledger, and cannot be reached from here: {why}")]
    NoOrderer {
        /// The name of the one that orders.
        name: String,
        /// Why it cannot be reached.
        why: String,
    },
    /// The coordinators order as a group, and too few of them are connected with each other.
    #[error("the coordinators' group orders nothing right now: {why}")]
    NoMajority {
        /// Who is missing.
        why: String,
    },
    /// This coordinator appends nothing: there is, or may be, more of the ledger than it has.
    #[error("this coordinator takes no entries: {why}")]
    Withheld {
        /// What it lacks, or what it is waiting for.
        why: String,
    },
}

impl SubmitError {
    /// What the person who meant the entry can do next.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) => Some(refusal.hint()),
            Self::NoOrderer { .. } => {
                Some("start it again; if it is lost, let this one take its place: flt admin coordinator appoint NAME")
            }
            Self::NoMajority { .. } => Some(
                "what is published goes on converging; start the coordinators that are missing: flt admin coordinator list",
            ),
            Self::Withheld { .. } => {
                Some("see the coordinators' logs and what each of them has: flt admin coordinator list")
            }
            _ => None,
        }
    }
}

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Denied {
    /// The caller is not of this fleet, or no longer.
    #[error("{0} is not a member of this fleet")]
    NotAMember(NodeId),
    /// The caller may not ask that.
    #[error("this needs the right to {0}")]
    NotAllowed(String),
    /// A bound was exceeded.
    #[error("the request is out of bounds: {0}")]
    Bounds(String),
    /// The coordinator cannot answer.
    #[error("the coordinator cannot answer: {0}")]
    Unavailable(String),
}

/// What a coordinator knows of a node: the node's own signed words, and when it was last heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The node.
    pub node: NodeId,
    /// Its connection.
    pub liveness: Liveness,
    /// Its records, as it signed them.
    pub records: Vec<SignedRecord>,
}

/// When a node was last heard, as its coordinator measures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// Milliseconds since its last heartbeat; nothing if none came since the coordinator started.
    pub silent_millis: Option<u64>,
    /// Whether that is recent enough to call it online.
    pub online: bool,
    /// The newest entry it said it knows.
    pub head: Option<Head>,
    /// Where it was.
    pub addr: Option<PeerAddr>,
}

/// How far the coordinator got with the blobs it was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferProgress {
    /// Blobs it has now, of those offered.
    pub blobs: u64,
    /// How many were offered.
    pub of: u64,
    /// Bytes it fetched for this offer.
    pub bytes: u64,
}
