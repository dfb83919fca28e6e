//! The boundary between the half of the agent that talks to the network and the hands that change the machine.
//!
//! The hands are either [in this process](Ensemble), or a process of root's behind a socket: [`FarHands`] is this side of
//! it, [`Keeper`] the other. The keeper believes nothing that it is told: it verifies the ledger itself and plays what that
//! declares for this node, and nothing else.

mod begun;
mod beside;
mod custody;
mod far;
mod floor;
mod keeper;
mod leases;
mod link;
pub mod wire;

use std::sync::Arc;

use protocols::state::Declaration;
use protocols::{DeclarationName, Kind, Subject, Verdict};
use scores::{Assignment, Ensemble, PlayError, PlayReport, Stage};
use tokio_util::sync::CancellationToken;

pub use beside::Beside;
pub use custody::AskedCustodian;
pub use far::FarHands;
pub use keeper::{Admit, Keeper, KeeperError, KeeperOptions, NotPlayed};
pub use link::{Link, LinkedChecks};

use crate::agent::Agent;
use crate::decide::assignment;
use crate::failover::Workloads;
use crate::uplink::BoxFuture;

/// What plays declarations on this machine.
pub trait Hands: Send + Sync + 'static {
    /// The kinds that can be played here, in order; nothing as long as that is not known.
    fn kinds(&self) -> BoxFuture<'_, Option<Vec<Kind>>>;

    /// The steps that a score would take which is not published. Nothing is changed.
    fn preview<'a>(&'a self, draft: &'a Assignment) -> BoxFuture<'a, Result<Vec<String>, PlayError>>;

    /// Brings to an end what an earlier process left open, and says what became of it. Asked once, before anything is
    /// played.
    fn recover<'a>(&'a self, stage: &'a dyn Stage) -> BoxFuture<'a, Vec<Told>>;

    /// Plays a declaration to its end. Whatever happens is in the report.
    fn play<'a>(&'a self, assignment: &'a Assignment, stage: &'a dyn Stage) -> BoxFuture<'a, PlayReport>;

    /// What drives workloads with one writer behind these hands, if they are not in this process.
    fn workloads(&self) -> Option<&dyn Workloads>;

    /// Does, beside the agent and until `stop`, what the connection with them needs.
    fn attend(&self, _agent: Arc<Agent>, _stop: CancellationToken) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// What became of one declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The declaration's name.
    pub name: DeclarationName,
    /// Its language.
    pub kind: Kind,
    /// What it governs.
    pub subject: Subject,
    /// The entry that published it.
    pub generation: u64,
    /// How it went.
    pub report: PlayReport,
}

impl Told {
    /// What became of an assignment.
    pub fn of(assignment: &Assignment, report: PlayReport) -> Self {
        Self {
            name: assignment.name.clone(),
            kind: assignment.kind.clone(),
            subject: assignment.subject.clone(),
            generation: assignment.generation,
            report,
        }
    }

    /// That a declaration is not begun: its time was over before this node could.
    pub fn expired(declaration: &Declaration) -> Self {
        let (verdict, message) = (Verdict::Refused, EXPIRED.to_owned());
        Self::of(&assignment(declaration), PlayReport { verdict, message, steps: Vec::new(), attempts: 0 })
    }
}

impl Hands for Ensemble {
    fn kinds(&self) -> BoxFuture<'_, Option<Vec<Kind>>> {
        Box::pin(async { Some(Self::kinds(self)) })
    }

    fn preview<'a>(&'a self, draft: &'a Assignment) -> BoxFuture<'a, Result<Vec<String>, PlayError>> {
        Box::pin(self.plan(draft))
    }

    fn recover<'a>(&'a self, stage: &'a dyn Stage) -> BoxFuture<'a, Vec<Told>> {
        Box::pin(async move {
            let mut told = Vec::new();
            for recovered in Self::recover(self, stage).await {
                let report = recovered.report;
                tracing::warn!(verdict = %report.verdict, message = report.message, "a play was cut short and is judged");
                told.extend(recovered.assignment.map(|assignment| Told::of(&assignment, report)));
            }
            told
        })
    }

    fn play<'a>(&'a self, assignment: &'a Assignment, stage: &'a dyn Stage) -> BoxFuture<'a, PlayReport> {
        Box::pin(async move {
            // The subject was signed next to the score; it must be the one that the score itself names.
            let why = match self.subject_of(&assignment.kind, &assignment.payload) {
                Ok(subject) if subject == assignment.subject => return Self::play(self, assignment, stage).await,
                Ok(subject) => format!("it was published for `{}` and governs `{subject}`", assignment.subject),
                Err(invalid) => invalid.to_string(),
            };
            PlayReport { verdict: Verdict::Refused, message: why, steps: Vec::new(), attempts: 0 }
        })
    }

    fn workloads(&self) -> Option<&dyn Workloads> {
        None
    }
}

/// What the outcome of a declaration says that was not begun in time.
const EXPIRED: &str = "expired before this node could begin";
