//! `flt admin failover switchover`: another candidate is to write, and what came of it.

use std::time::Duration;

use anyhow::anyhow;
use failover::{ClusterName, Epoch, NodeId, Phase, Request, View};
use protocols::FleetState;
use scores::failover::lease_id;
use tokio::time::timeout;

use super::{Online, SwitchoverArgs, ask, called, done, find, member, reports, view};
use crate::report::{Advise as _, Code};

pub(super) async fn switchover(args: SwitchoverArgs, state: &FleetState, online: &Online<'_>) -> anyhow::Result<()> {
    let cluster = find(&args.cluster, state)?;
    let to = lease_id(member(&args.to, state)?);
    let before = view(&cluster, online).await?;
    if before.holder == Some(to) && before.phase == Phase::Held {
        return done(&cluster, format!("{} writes already", args.to), online);
    }
    let ordered = ask(&cluster, Request::Switchover { epoch: before.epoch, to }, online).await?.view.unwrap_or(before);
    if args.no_wait {
        return done(&cluster, format!("{} is to write", args.to), online);
    }
    let progress = online.admin.out.progress(format!("Waiting until {} writes", args.to));
    let end = timeout(MOVED_WITHIN, settled(&cluster, &ordered, to, online)).await;
    drop(progress);
    let why = match end {
        Ok(End::Moved(epoch)) => return done(&cluster, format!("{} writes in epoch {epoch}", args.to), online),
        Ok(End::Elsewhere(holder, epoch)) => {
            format!("{} could not begin to write; {} holds epoch {epoch} now", args.to, called(holder, state))
        }
        Ok(End::Dropped(holder)) => {
            format!("{} did not stop in the time that a switchover has, and writes on", called(holder, state))
        }
        Err(_) => format!("{} does not write after {} seconds", args.to, MOVED_WITHIN.as_secs()),
    };
    Err(anyhow!(why)).hint(format!("see why: flt admin failover history {cluster}")).code(Code::NotConverged)
}

/// What came of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The target writes, in this epoch.
    Moved(Epoch),
    /// Somebody else holds a later epoch.
    Elsewhere(NodeId, Epoch),
    /// The order is over, and its holder has kept the lease.
    Dropped(NodeId),
}

/// Waits for what comes of it. A question that is not answered is asked again: coordinators may change meanwhile.
async fn settled(cluster: &ClusterName, ordered: &View, to: NodeId, online: &Online<'_>) -> End {
    loop {
        let group = view(cluster, online).await.ok();
        let reports = reports(vec![to], Some(cluster.clone()), online).await.unwrap_or_default();
        let report = reports.into_values().next().and_then(|report| report.ok()?.pop());
        if let Some(report) = report.filter(|report| report.writable) {
            return End::Moved(report.epoch.unwrap_or_default());
        }
        if let Some(end) = group.and_then(|now| over(ordered, &now, to)) {
            return end;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether the order can no longer lead to its target, as the group had it when it noted the order, and has it now.
fn over(ordered: &View, now: &View, to: NodeId) -> Option<End> {
    let holder = now.holder.filter(|holder| now.phase == Phase::Held && *holder != to)?;
    if now.switchover.is_some() || now.index < ordered.index {
        return None;
    }
    Some(if now.epoch > ordered.epoch { End::Elsewhere(holder, now.epoch) } else { End::Dropped(holder) })
}

/// How long a switchover is waited for.
const MOVED_WITHIN: Duration = Duration::from_secs(120);
/// How often it is looked whether it is done.
const LOOK: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use failover::{LogTime, Round};

    use super::*;

    const A: NodeId = NodeId::from_bytes([1; 32]);
    const B: NodeId = NodeId::from_bytes([2; 32]);
    const C: NodeId = NodeId::from_bytes([3; 32]);

    fn view(index: u64, epoch: u64, holder: NodeId, phase: Phase, switchover: Option<NodeId>) -> View {
        View {
            index,
            at: LogTime::default(),
            version: 1,
            settings: None,
            epoch: Epoch(epoch),
            round: Round::default(),
            holder: Some(holder),
            phase,
            open: false,
            wants_proof: false,
            paused: false,
            renewed: None,
            switchover,
            kept_for: None,
            sync: None,
            sync_serial: 0,
            sync_joint: false,
            reported: false,
            rebuild: None,
            withdrawn: false,
            acting: None,
        }
    }

    #[test]
    fn an_order_is_over_when_somebody_else_holds_the_lease_without_it() {
        let ordered = view(7, 3, A, Phase::Held, Some(B));
        let end = |now: View| over(&ordered, &now, B);
        assert_eq!(end(view(7, 3, A, Phase::Held, Some(B))), None, "it is under way");
        assert_eq!(end(view(6, 3, A, Phase::Held, None)), None, "that was before it");
        assert_eq!(end(view(9, 3, A, Phase::Released, None)), None, "it is kept for the target");
        assert_eq!(end(view(9, 4, B, Phase::Held, None)), None, "the target starts");
        assert_eq!(end(view(9, 4, B, Phase::Fenced, None)), None, "it could not, and nobody else has it yet");
        assert_eq!(end(view(12, 5, C, Phase::Held, None)), Some(End::Elsewhere(C, Epoch(5))));
        assert_eq!(end(view(12, 5, A, Phase::Held, None)), Some(End::Elsewhere(A, Epoch(5))));
        assert_eq!(end(view(12, 3, A, Phase::Held, None)), Some(End::Dropped(A)));
        // Of another order, later.
        assert_eq!(end(view(12, 5, C, Phase::Held, Some(A))), None);
    }
}
