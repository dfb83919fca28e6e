//! Why an entry is refused.

use serde::{Deserialize, Serialize};

use crate::ids::{DeclarationName, FleetId, Name, NodeId};

/// Why an entry cannot follow; it travels to whoever sent the entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Not a genesis entry where one is needed, or one where none may be.
    #[error("{0}")]
    Genesis(String),
    /// Another fleet's entry.
    #[error("the entry belongs to fleet {found}, and this is fleet {expected}")]
    OtherFleet {
        /// The fleet it names; nothing for a genesis entry.
        found: String,
        /// This fleet.
        expected: FleetId,
    },
    /// It does not follow the newest entry.
    #[error("the entry should follow entry {expected} and follows entry {found}, or another one in its place")]
    OutOfPlace {
        /// The newest entry's place here.
        expected: u64,
        /// The place it claims to follow.
        found: u64,
    },
    /// The author may sign nothing at all.
    #[error("{0} has no rights in this fleet")]
    UnknownAuthor(NodeId),
    /// The author's key was revoked.
    #[error("the key {key} was revoked by entry {by}")]
    Revoked {
        /// The key.
        key: NodeId,
        /// The entry.
        by: u64,
    },
    /// The author may not do this.
    #[error("{who} may not {what}")]
    NotAllowed {
        /// The author's name.
        who: Name,
        /// What they tried.
        what: String,
    },
    /// The name belongs to another member.
    #[error("the name `{0}` is taken by another member")]
    NameTaken(Name),
    /// The key has another role or is an admin.
    #[error("the key {key} is {what}")]
    KeyTaken {
        /// The key.
        key: NodeId,
        /// What it is.
        what: String,
    },
    /// Nobody of this key.
    #[error("the key {0} belongs to nobody in this fleet")]
    NoSuchKey(NodeId),
    /// Nothing of this name is declared.
    #[error("no declaration is named `{0}`")]
    NoSuchDeclaration(DeclarationName),
    /// No such invite.
    #[error("the invite is not one of this fleet's, or was withdrawn")]
    NoSuchInvite,
    /// Its time is over.
    #[error("the invite has expired")]
    InviteExpired,
    /// It was used up.
    #[error("the invite was redeemed already")]
    InviteUsed,
    /// Its proof does not hold.
    #[error("the request does not prove that it holds the invite's secret")]
    InviteUnproven,
    /// The invite is for another name.
    #[error("the invite is for a node named `{0}`")]
    InviteForOther(Name),
    /// It would leave nobody who can grant.
    #[error("after this nobody could grant rights any more")]
    LastAdmin,
    /// A field is out of its bounds.
    #[error("{field} {why}")]
    Invalid {
        /// Which.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// A member wrote too much itself.
    #[error("`{by}` wrote {most} entries since an admin wrote one, and may write no more until then")]
    TooMany {
        /// The member's name.
        by: Name,
        /// How many it may write.
        most: u32,
    },
    /// It may be appended no more.
    #[error("the entry's time is over: it was to be appended before")]
    Expired,
    /// The fleet has none.
    #[error("this fleet has no recovery keys")]
    NoRecovery,
    /// Too few recovery keys agreed.
    #[error("{approved} of the recovery keys agreed, and {needed} must")]
    NotApproved {
        /// How many did.
        approved: usize,
        /// How many must.
        needed: u8,
    },
    /// The state at this place is another.
    #[error("the checkpoint's digest is not that of the state it follows")]
    WrongCheckpoint,
}

impl Refusal {
    pub(crate) fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), why: why.into() }
    }

    /// What the person who meant it can do next.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Genesis(_) | Self::OtherFleet { .. } => "check that the ticket and the data folder are of one fleet",
            Self::OutOfPlace { .. } => "run the command again: it then starts from the newest entry",
            Self::UnknownAuthor(_) => "an admin of the fleet can give this key rights: flt admin grant",
            Self::Revoked { .. } => "use a key that is still valid",
            Self::NotAllowed { .. } => "see who may: flt admin log, or ask for a grant: flt admin grant",
            Self::NameTaken(_) => "choose another name",
            Self::KeyTaken { .. } => "use another key, or revoke this one first: flt admin revoke",
            Self::NoSuchKey(_) => "see the members: flt admin node list",
            Self::NoSuchDeclaration(_) => "see what is declared: flt admin score list",
            Self::NoSuchInvite | Self::InviteExpired | Self::InviteUsed | Self::InviteForOther(_) => {
                "ask for a new ticket: flt admin invite"
            }
            Self::InviteUnproven => "the ticket is damaged: copy it again, whole",
            Self::LastAdmin => "grant another admin the same rights first: flt admin grant",
            Self::Invalid { .. } => "correct the field and try again",
            Self::TooMany { .. } => "look why it writes so much: flt admin log; any entry of an admin lets it go on",
            Self::Expired => "sign it again",
            Self::NoRecovery => "they are named when the fleet is founded, or later: flt admin recovery set",
            Self::NotApproved { .. } => "collect more approvals: flt admin recovery approve",
            Self::WrongCheckpoint => "fetch the newest entries and try again",
        }
    }
}
