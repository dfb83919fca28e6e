//! What can go wrong between an admin and a coordinator.

use std::time::Duration;

use protocols::control::Denied;
use protocols::entry::{Head, VerifyError};
use protocols::{FleetId, Refusal};

use crate::workspace::WorkspaceError;

/// Why the coordinator could not be asked, or its answer was not believed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The data folder.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// No connection, or it broke.
    #[error("cannot {doing}: {why}")]
    Lost {
        /// What was being done.
        doing: &'static str,
        /// The chain of causes.
        why: String,
    },
    /// No answer in time.
    #[error("cannot {doing}: no answer in {} seconds", after.as_secs())]
    Silent {
        /// What was being done.
        doing: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// The coordinator hung up.
    #[error("cannot {doing}: the coordinator ended the connection")]
    Ended {
        /// What was being done.
        doing: &'static str,
    },
    /// The coordinator said no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It is another fleet.
    #[error("this coordinator serves fleet {found}, and the ticket is for fleet {expected}")]
    OtherFleet {
        /// Whose it is.
        found: FleetId,
        /// Whose it should be.
        expected: FleetId,
    },
    /// There is no entry.
    #[error("the copy of the ledger is empty and the coordinator sent no entries")]
    Empty,
    /// An entry's bytes or signature are wrong.
    #[error("the coordinator sent an entry that does not verify; it was not taken")]
    Unverified(#[source] VerifyError),
    /// An entry that the rules do not allow.
    #[error("the coordinator sent entry {seq}, which is against the rules of the ledger; it was not taken")]
    Refused {
        /// Its place.
        seq: u64,
        /// Why.
        #[source]
        why: Refusal,
    },
    /// Another history than the one that is known here.
    #[error(
        "the coordinator's entry {seq} is not the one that is known here: its history was split or rolled back{}",
        evidence.as_ref().map(|file| format!("; the evidence is in {}", file.display())).unwrap_or_default()
    )]
    Split {
        /// The place.
        seq: u64,
        /// The file with what proves it, if it can be proven.
        evidence: Option<std::path::PathBuf>,
    },
    /// The coordinator knows less than is known here.
    #[error(
        "the coordinator's newest entry is {theirs}, and this copy of the ledger has entry {ours}: entries were lost"
    )]
    Behind {
        /// The newest entry here.
        ours: Head,
        /// The coordinator's.
        theirs: Head,
    },
    /// The coordinator did not fetch all blobs.
    #[error("the coordinator fetched {has} of {of} files and gave up")]
    Unfetched {
        /// How many it has.
        has: u64,
        /// How many were offered.
        of: u64,
    },
}

impl SessionError {
    pub(super) fn lost(doing: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        // The layers' own names say nothing to a person once the cause below them does.
        while causes.len() > 1 && WRAPPERS.contains(&causes[0].as_str()) {
            causes.remove(0);
        }
        // Wrappers often repeat what they wrap.
        causes.dedup_by(|later, earlier| earlier.ends_with(later.as_str()));
        let why = causes.join(": ");
        Self::Lost { doing, why }
    }

    /// Whether asking again may help: the network's doing, and nobody's answer.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Silent { .. } | Self::Ended { .. })
    }

    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Workspace(WorkspaceError::NoTicket(_)) => {
                "store the ticket that `flt coordinator run` prints: flt admin use TICKET"
            }
            Self::Workspace(WorkspaceError::BadTicket { .. }) => "store the ticket again, whole: flt admin use TICKET",
            Self::Workspace(_) => "check the folder, or choose another with --data",
            Self::Lost { .. } | Self::Silent { .. } | Self::Ended { .. } => {
                "see whether the coordinator runs and can be reached: flt doctor"
            }
            Self::Denied(Denied::NotAMember(_)) => {
                "an admin of the fleet can give this key rights: flt admin grant; check which key is used: flt key show"
            }
            Self::Denied(Denied::NotAllowed(_)) => "ask another admin for the right: flt admin grant",
            Self::Denied(_) => "see the coordinator's log",
            Self::OtherFleet { .. } => "use the ticket of the other fleet, or another data folder: --data",
            Self::Empty => "check that the coordinator has its genesis entry",
            Self::Unverified(_) | Self::Refused { .. } | Self::Split { .. } | Self::Behind { .. } => {
                "do not trust this coordinator: compare its ledger with another admin's (flt admin log --export FILE)"
            }
            Self::Unfetched { .. } => {
                "see the coordinator's log; it may be out of disk space or unable to reach this machine"
            }
        }
    }
}

/// What the layers of a request call themselves in errors.
const WRAPPERS: [&str; 7] = [
    "Request error",
    "Error opening stream",
    "Error establishing connection",
    "Oneshot recv error",
    "Mpsc recv error",
    "Send error",
    "Io error",
];
