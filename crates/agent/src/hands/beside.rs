//! Two pairs of hands: those behind the socket for this machine, and this process's own for devices.
//!
//! A device is spoken to over the network, which the hands of root's do not have and shall not get: what a switch says is
//! parsed here, without rights. What is believed of the ledger is what this process has verified.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocols::Kind;
use scores::{Assignment, Ensemble, PlayError, PlayReport, Stage};
use tokio_util::sync::CancellationToken;

use super::{FarHands, Hands, Told};
use crate::agent::Agent;
use crate::failover::Workloads;
use crate::uplink::BoxFuture;

/// Hands behind a socket, and devices beside them.
#[derive(Debug)]
pub struct Beside {
    far: Arc<FarHands>,
    devices: Ensemble,
}

impl Beside {
    /// Whatever `devices` has a kind for is played there, and everything else by the hands behind the socket.
    pub fn new(far: Arc<FarHands>, devices: Ensemble) -> Arc<Self> {
        Arc::new(Self { far, devices })
    }

    fn of(&self, assignment: &Assignment) -> &dyn Hands {
        if self.devices.kinds().contains(&assignment.kind) { &self.devices } else { self.far.as_ref() }
    }
}

impl Hands for Beside {
    fn kinds(&self) -> BoxFuture<'_, Option<Vec<Kind>>> {
        Box::pin(async {
            let far = self.far.kinds().await?;
            let all: BTreeSet<Kind> = far.into_iter().chain(self.devices.kinds()).collect();
            Some(all.into_iter().collect())
        })
    }

    fn preview<'a>(&'a self, draft: &'a Assignment) -> BoxFuture<'a, Result<Vec<String>, PlayError>> {
        self.of(draft).preview(draft)
    }

    fn recover<'a>(&'a self, stage: &'a dyn Stage) -> BoxFuture<'a, Vec<Told>> {
        Box::pin(async move {
            let mut told = Hands::recover(self.far.as_ref(), stage).await;
            told.extend(Hands::recover(&self.devices, stage).await);
            told
        })
    }

    fn play<'a>(&'a self, assignment: &'a Assignment, stage: &'a dyn Stage) -> BoxFuture<'a, PlayReport> {
        self.of(assignment).play(assignment, stage)
    }

    fn workloads(&self) -> Option<&dyn Workloads> {
        self.far.workloads()
    }

    fn attend(&self, agent: Arc<Agent>, stop: CancellationToken) -> BoxFuture<'_, ()> {
        self.far.attend(agent, stop)
    }
}
