//! The coordinators that order as a group: who they are, how far each of them is, and how they change.

use std::fmt;
use std::time::Duration;

use anyhow::anyhow;
use protocols::control::{AskGroup, ChangeGroup, GroupStatus};
use protocols::entry::Role;
use protocols::{FleetState, NodeId};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::coordinator;
use crate::commands::admin::context::{Admin, Online};
use crate::output::{Style, View};
use crate::report::{Advise as _, Code};

/// How long a coordinator may take to say how the group stands.
const STATUS_WITHIN: Duration = Duration::from_secs(8);
/// How long a change may take: coordinators that are added have a minute to catch up.
const CHANGE_WITHIN: Duration = Duration::from_secs(200);

/// A coordinator's place in the group.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Place {
    leads: bool,
    votes: bool,
    /// How many entries of the group's log the leader does not know it to have.
    behind: Option<u64>,
    silent_millis: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { leads: true, .. } => f.write_str("leads"),
            Self { votes: false, .. } => f.write_str("catches up"),
            Self { behind: Some(behind), .. } if *behind > 0 => write!(f, "orders, {behind} behind"),
            _ => f.write_str("orders"),
        }
    }
}

/// How the group stands.
#[derive(Debug, Serialize)]
pub(crate) struct GroupView {
    term: u64,
    leader: Option<String>,
    applied: u64,
    last: u64,
    voters: usize,
}

impl GroupView {
    pub(super) fn new(status: &GroupStatus, state: &FleetState) -> Self {
        let name = |id: NodeId| state.members().get(&id).map_or_else(|| id.short(), |m| m.name.to_string());
        Self {
            term: status.term,
            leader: status.leader.map(name),
            applied: status.applied,
            last: status.last,
            voters: status.members.iter().filter(|m| m.votes).count(),
        }
    }
}

impl fmt::Display for GroupView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.leader {
            Some(leader) => write!(
                f,
                "A group of {}: {leader} leads in term {}, {} of {} entries carried out.",
                self.voters, self.term, self.applied, self.last
            ),
            None => write!(f, "A group of {}, and nobody leads it: too few of them are connected.", self.voters),
        }
    }
}

/// The place of one coordinator.
pub(super) fn place(status: &GroupStatus, key: NodeId) -> Option<Place> {
    let member = status.members.iter().find(|member| member.node == key)?;
    Some(Place {
        leads: status.leader == Some(key),
        votes: member.votes,
        behind: member.has.map(|has| status.last.saturating_sub(has)),
        silent_millis: member.silent_millis,
    })
}

/// How the group stands, by the coordinator that knows best; nothing if there is none or none of it answers.
pub(super) async fn status(online: &Online<'_>, state: &FleetState) -> Option<GroupStatus> {
    let mut asked = JoinSet::new();
    for (id, _) in state.with_role(Role::Coordinator) {
        let client = online.link.control_of(id);
        asked.spawn(async move { timeout(STATUS_WITHIN, client.rpc(AskGroup)).await });
    }
    let mut best: Option<GroupStatus> = None;
    while let Some(answer) = asked.join_next().await {
        let Ok(Ok(Ok(Ok(Some(status))))) = answer else { continue };
        let rank = |s: &GroupStatus| (s.leader == Some(s.by), s.leader.is_some(), s.term, s.applied);
        if best.as_ref().is_none_or(|best| rank(&status) > rank(best)) {
            best = Some(status);
        }
    }
    best
}

/// How the group stands, by the one coordinator that is asked anyway; nothing if there is no group.
pub(crate) async fn of_coordinator(online: &Online<'_>, state: &FleetState) -> Option<GroupView> {
    match timeout(STATUS_WITHIN, online.link.control().rpc(AskGroup)).await {
        Ok(Ok(Ok(Some(status)))) => Some(GroupView::new(&status, state)),
        _ => None,
    }
}

/// Adds and removes members in one step.
pub(super) async fn change(add: &[String], remove: &[String], admin: &Admin<'_>) -> anyhow::Result<Code> {
    let online = admin.online().await?;
    let changed = change_online(add, remove, &online).await;
    online.close().await;
    admin.out.view(&changed?)?;
    Ok(Code::Done)
}

async fn change_online(add: &[String], remove: &[String], online: &Online<'_>) -> anyhow::Result<ChangedView> {
    let state = online.state()?;
    let keys = |names: &[String]| names.iter().map(|who| coordinator(&state, who)).collect::<anyhow::Result<Vec<_>>>();
    let request = ChangeGroup { add: keys(add)?, remove: keys(remove)? };
    let ticket = online.admin.ticket()?;
    online.link.learn(&admin::session::coordinators(&ticket, Some(&state)));
    // Any member hands it to the leader; where there is none yet, whoever orders alone founds the group.
    let to = status(online, &state).await.map_or_else(|| state.orderer(), |status| status.leader.unwrap_or(status.by));
    let answer = timeout(CHANGE_WITHIN, online.link.control_of(to).rpc(request)).await;
    let hint = "see how far it is: flt admin coordinator list";
    match answer {
        Ok(Ok(Ok(status))) => Ok(ChangedView {
            group: GroupView::new(&status, &state),
            members: status
                .members
                .iter()
                .map(|m| state.members().get(&m.node).map_or_else(|| m.node.short(), |n| n.name.to_string()))
                .collect(),
        }),
        Ok(Ok(Err(error))) => Err(anyhow!(error)).hint("see the members: flt admin coordinator list"),
        Ok(Err(error)) => Err(anyhow!("the coordinator did not answer: {}", scores::chain(&error))).hint(hint),
        Err(_) => Err(anyhow!("the coordinator did not answer in {} seconds", CHANGE_WITHIN.as_secs())).hint(hint),
    }
}

#[derive(Debug, Serialize)]
struct ChangedView {
    group: GroupView,
    members: Vec<String>,
}

impl View for ChangedView {
    const SCHEMA: &'static str = "flt.coordinator-group/1";

    fn text(&self, _: &Style) -> String {
        format!("{}\nMembers: {}\n", self.group, self.members.join(", "))
    }
}
