//! What a driver tells: who leads, for whoever routes clients, and how the cluster stands here, for people.

use failover::{LocalTime, Phase, Stand};
use protocols::node::DriverReport;
use scores::workload::Leader;

use super::super::now;
use super::Driver;

impl Driver {
    pub(super) fn leader(&self) -> Option<Leader> {
        if let Some((epoch, _)) = self.node.may_write(now()) {
            let here = matches!(self.node.stand(), Stand::Serving { .. } | Stand::Degraded { .. });
            return here.then(|| Leader { peer: self.peer(self.node.id()), epoch, here: true });
        }
        let view = self.node.view()?;
        let holder = view.holder.filter(|holder| view.phase == Phase::Held && *holder != self.node.id())?;
        Some(Leader { peer: self.peer(holder), epoch: view.epoch, here: false })
    }

    pub(super) fn report(&self) -> DriverReport {
        let (node, now) = (&self.node, now());
        let stand = node.stand();
        let view = node.view();
        DriverReport {
            cluster: self.parts.cluster.name.clone(),
            stand: stand.word().to_owned(),
            epoch: stand.epoch().or_else(|| view.map(|view| view.epoch)),
            writable: matches!(stand, Stand::Serving { .. } | Stand::Degraded { .. }),
            certain: node.certain_until().filter(|until| *until != LocalTime::NEVER).map(|until| until.since(now)),
            position: match stand {
                Stand::Detached { position, .. } => Some(position),
                _ => None,
            },
            paused: view.is_some_and(|view| view.paused),
            version: view.map_or(0, |view| view.version),
            alarms: self.alarms.iter().cloned().collect(),
            workload: self.jobs.workload.describe(),
            silence: self.heard.map(|heard| now.since(heard)),
            tape: Some(self.recorder.tape().clone()),
            frozen: self.recorder.frozen().last().cloned(),
        }
    }
}
