//! `flt admin failover`: who writes, how that went, and what a person decides about it.

mod removal;
mod switchover;
mod views;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use failover::flight::draw_svg;
use failover::{Attempt, ClusterName, Outcome, Request, View};
use protocols::control::{Lease, LeaseError, Leases};
use protocols::node::{AskDrivers, DriverReport};
use protocols::{FleetState, Name, NodeId};
use scores::failover::{clusters, declared, fleet_id, lease_id};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(super) use self::removal::{on_removal, on_replacement};
use self::switchover::switchover;
use self::views::{CandidateView, ClusterView, Done, EndingView, History, Status, lanes};
use super::With;
use super::context::{Admin, Online, told, usage};
use crate::config::nearest;
use crate::report::{Advise as _, Code};

/// Failover.
#[derive(Debug, Subcommand)]
pub(crate) enum FailoverCommand {
    /// Show who writes, and how every candidate stands
    Status(With<StatusArgs>),
    /// Draw the last heartbeats of all candidates and what they led to, on one time line
    History(With<HistoryArgs>),
    /// Let another candidate write, in order
    Switchover(With<SwitchoverArgs>),
    /// Let nobody take over, and no writer fence for want of the coordinators
    Pause(With<ClusterArgs>),
    /// End a pause
    Resume(With<ClusterArgs>),
    /// Build a standby anew from the writer
    Reinit(With<ReinitArgs>),
    /// Say that you have seen that the silent writer is off
    Attest(With<AttestArgs>),
}

/// `flt admin failover status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// This cluster only, such as `service/ledger`
    cluster: Option<String>,
}

/// `flt admin failover history`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin failover history service/ledger\n  flt admin failover history service/ledger --frozen --svg last-change.svg"
)]
pub(crate) struct HistoryArgs {
    /// The cluster, such as `service/ledger`
    cluster: String,
    /// As it was when each candidate last changed how it stands
    #[arg(long)]
    frozen: bool,
    /// Draw into this file, too
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// One cluster.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// The cluster, such as `service/ledger`
    cluster: String,
}

/// `flt admin failover switchover`.
#[derive(Debug, Args)]
pub(crate) struct SwitchoverArgs {
    /// The cluster, such as `service/ledger`
    cluster: String,
    /// The candidate that is to write
    #[arg(long, value_name = "NODE")]
    to: String,
    /// Return when it is planned, and not when it is done
    #[arg(long)]
    no_wait: bool,
}

/// `flt admin failover reinit`.
#[derive(Debug, Args)]
pub(crate) struct ReinitArgs {
    /// The cluster, such as `postgres/orders`
    cluster: String,
    /// The standby; what it holds is thrown away
    node: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// `flt admin failover attest`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Another candidate takes over at once. If the writer runs after all, there are two: look first."
)]
pub(crate) struct AttestArgs {
    /// The cluster, such as `service/ledger`
    cluster: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Runs a command.
pub(super) async fn run<'a, F>(command: FailoverCommand, at: F) -> anyhow::Result<Code>
where
    F: Fn(super::Place) -> anyhow::Result<Admin<'a>>,
{
    let (place, order) = match command {
        FailoverCommand::Status(With { args, place }) => (place, Order::Status(args)),
        FailoverCommand::History(With { args, place }) => (place, Order::History(args)),
        FailoverCommand::Switchover(With { args, place }) => (place, Order::Switchover(args)),
        FailoverCommand::Pause(With { args, place }) => (place, Order::Ask(args.cluster, Request::Pause)),
        FailoverCommand::Resume(With { args, place }) => (place, Order::Ask(args.cluster, Request::Resume)),
        FailoverCommand::Reinit(With { args, place }) => (place, Order::Reinit(args)),
        FailoverCommand::Attest(With { args, place }) => (place, Order::Attest(args)),
    };
    let admin = at(place)?;
    let online = admin.online().await?;
    let result = order.carry_out(&online).await;
    online.close().await;
    result.map(|()| Code::Done)
}

enum Order {
    Status(StatusArgs),
    History(HistoryArgs),
    Switchover(SwitchoverArgs),
    Reinit(ReinitArgs),
    Attest(AttestArgs),
    Ask(String, Request),
}

impl Order {
    async fn carry_out(self, online: &Online<'_>) -> anyhow::Result<()> {
        let state = online.state()?;
        match self {
            Self::Status(args) => status(args, &state, online).await,
            Self::History(args) => history(args, &state, online).await,
            Self::Switchover(args) => switchover(args, &state, online).await,
            Self::Reinit(args) => {
                let cluster = find(&args.cluster, &state)?;
                let node = lease_id(member(&args.node, &state)?);
                let question = format!("What {} holds of {cluster} is thrown away and copied anew.", args.node);
                online.admin.out.confirm_name(&question, &args.node, args.yes)?;
                ask(&cluster, Request::Reinit { node }, online).await?;
                done(&cluster, format!("{} is built anew from the writer", args.node), online)
            }
            Self::Attest(args) => {
                // Also of what is not declared any more, if that waits for somebody's word.
                let views = views(None, online).await?;
                let ending = views.into_iter().find(|(name, view)| view.withdrawn && name.as_str() == args.cluster);
                let (cluster, view) = match ending {
                    Some(ending) => ending,
                    None => {
                        let cluster = find(&args.cluster, &state)?;
                        let view = view(&cluster, online).await?;
                        (cluster, view)
                    }
                };
                let writer = view.holder.map_or_else(|| "nobody".to_owned(), |holder| called(holder, &state));
                let question = format!("It must be certain that nothing of {cluster} runs on {writer}.");
                online.admin.out.confirm_name(&question, &writer, args.yes)?;
                ask(&cluster, Request::Attest { epoch: view.epoch }, online).await?;
                done(&cluster, format!("{writer} counts as off in epoch {}", view.epoch), online)
            }
            Self::Ask(cluster, request) => {
                let cluster = find(&cluster, &state)?;
                let said = if request == Request::Pause {
                    "failover is paused: nobody takes over until it is resumed"
                } else {
                    "failover goes on, as soon as the writer knows"
                };
                ask(&cluster, request, online).await?;
                done(&cluster, said.to_owned(), online)
            }
        }
    }
}

fn done(cluster: &ClusterName, said: String, online: &Online<'_>) -> anyhow::Result<()> {
    online.admin.out.view(&Done { cluster: cluster.clone(), said })
}

async fn status(args: StatusArgs, state: &FleetState, online: &Online<'_>) -> anyhow::Result<()> {
    let only = args.cluster.as_deref().map(|name| find(name, state)).transpose()?;
    let found = declared(state);
    let declared = found.clusters;
    let is_wanted = |name: &ClusterName| only.as_ref().is_none_or(|only| only == name);
    let unclear = found.unclear.into_iter().filter(|(name, _)| is_wanted(name));
    let unclear: BTreeMap<ClusterName, String> = unclear.map(|(name, why)| (name, why.to_string())).collect();
    let wanted: Vec<_> = declared.values().filter(|cluster| is_wanted(&cluster.name)).collect();
    let views = views(only.clone(), online).await;
    let unknown = views.as_ref().err().map(|error| format!("{error:#}"));
    let mut views: BTreeMap<ClusterName, View> = views.unwrap_or_default().into_iter().collect();
    let nodes = wanted.iter().flat_map(|cluster| cluster.names.keys().copied()).collect();
    let reports = reports(nodes, None, online).await?;
    let rows = wanted.into_iter().map(|cluster| {
        let candidates = cluster.settings.candidates.iter().map(|candidate| {
            let name = called(candidate.node, state);
            let report = reports.get(&candidate.node);
            let found = report.and_then(|r| r.as_ref().ok()?.iter().find(|r| r.cluster == cluster.name));
            let error = match report {
                Some(Err(why)) => Some(why.clone()),
                _ if found.is_none() => Some("it does not drive this cluster".to_owned()),
                _ => None,
            };
            CandidateView::new(name, candidate.priority, found, error)
        });
        let holder = |node| called(node, state);
        ClusterView::new(cluster, views.get(&cluster.name), holder, candidates.collect())
    });
    let clusters = rows.collect();
    views.retain(|name, view| view.withdrawn && !declared.contains_key(name) && !unclear.contains_key(name));
    let ending = |(name, view): (&ClusterName, &View)| EndingView::new(name, view, |node| called(node, state));
    let withdrawn = views.iter().map(ending).collect();
    online.admin.out.view(&Status { clusters, withdrawn, unclear, unknown })
}

async fn history(args: HistoryArgs, state: &FleetState, online: &Online<'_>) -> anyhow::Result<()> {
    let cluster = find(&args.cluster, state)?;
    let declared = clusters(state);
    let found = declared.get(&cluster).ok_or_else(|| anyhow!("the declaration of {cluster} is unclear"))?;
    let reports = reports(found.names.keys().copied().collect(), Some(cluster.clone()), online).await?;
    let mut tapes = BTreeMap::new();
    for (node, report) in reports {
        let name = called(node, state);
        match report {
            Ok(mut reports) => {
                let report = reports.pop();
                let frozen = report.as_ref().and_then(|r| r.frozen.clone()).map(|frozen| frozen.tape);
                let tape = if args.frozen { frozen } else { report.and_then(|report| report.tape) };
                tapes.insert(name, tape.unwrap_or_default());
            }
            Err(why) => online.admin.out.warning(format!("{name}: {why}")),
        }
    }
    if let Some(file) = &args.svg {
        std::fs::write(file, draw_svg(&lanes(&tapes))).with_context(|| format!("cannot write {}", file.display()))?;
    }
    online.admin.out.view(&History { cluster, tapes })
}

/// Asks the group for something, at whichever coordinator orders leases.
async fn ask(cluster: &ClusterName, request: Request, online: &Online<'_>) -> anyhow::Result<Outcome> {
    let lease = || Lease { cluster: cluster.clone(), attempt: Attempt::default(), request: request.clone() };
    let mut client = online.link.control();
    for _ in 0..HOPS {
        let answer = timeout(ANSWER_WITHIN, client.rpc(lease())).await;
        match answer.context("the coordinator does not answer")?.context("the coordinator does not answer")? {
            Ok(outcome) => {
                if let Err(refusal) = &outcome.answer {
                    return Err(anyhow!("the coordinators refuse it: {refusal}"))
                        .hint(format!("see how it stands: flt admin failover status {cluster}"));
                }
                return Ok(outcome);
            }
            Err(LeaseError::NotLeader { leader, .. }) => client = online.link.control_of(leader),
            Err(error) => return Err(error.into()),
        }
    }
    Err(anyhow!("the coordinators do not agree on who orders leases")).hint("try again in a few seconds")
}

/// How one cluster stands, as the group says.
async fn view(cluster: &ClusterName, online: &Online<'_>) -> anyhow::Result<View> {
    let found = views(Some(cluster.clone()), online).await?.pop();
    let (_, view) = found.ok_or_else(|| anyhow!("the coordinators have no lease for {cluster} yet"))?;
    Ok(view)
}

async fn views(cluster: Option<ClusterName>, online: &Online<'_>) -> anyhow::Result<Vec<(ClusterName, View)>> {
    let mut client = online.link.control();
    let (mut found, mut after, mut hops) = (Vec::new(), None, 0);
    loop {
        let leases = Leases { cluster: cluster.clone(), after: after.clone() };
        let answer = timeout(ANSWER_WITHIN, client.rpc(leases)).await;
        match answer.context("the coordinator does not answer")?.context("the coordinator does not answer")? {
            Ok(page) => {
                after = page.views.last().map(|(name, _)| name.clone());
                let more = page.more && after.is_some();
                found.extend(page.views);
                if !more {
                    return Ok(found);
                }
            }
            Err(LeaseError::NotLeader { leader, .. }) if hops < HOPS => {
                hops += 1;
                client = online.link.control_of(leader);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

type Reports = BTreeMap<failover::NodeId, Result<Vec<DriverReport>, String>>;

/// What the candidates themselves say.
async fn reports(
    nodes: Vec<failover::NodeId>,
    cluster: Option<ClusterName>,
    online: &Online<'_>,
) -> anyhow::Result<Reports> {
    let mut found = BTreeMap::new();
    let mut asked = JoinSet::new();
    for node in nodes {
        let Some(addr) = told(online.session.locate(fleet_id(node)).await)? else {
            found.insert(node, Err("it was not seen yet".to_owned()));
            continue;
        };
        let (client, cluster) = (online.link.node(addr), cluster.clone());
        asked.spawn(async move {
            let answer = match timeout(ANSWER_WITHIN, client.rpc(AskDrivers { cluster })).await {
                Ok(Ok(answer)) => answer.map_err(|denied| denied.to_string()),
                Ok(Err(error)) => Err(scores::chain(&error)),
                Err(_) => Err(format!("no answer in {} seconds", ANSWER_WITHIN.as_secs())),
            };
            (node, answer)
        });
    }
    while let Some(answer) = asked.join_next().await {
        let (node, answer) = answer?;
        found.insert(node, answer);
    }
    Ok(found)
}

fn find(name: &str, state: &FleetState) -> anyhow::Result<ClusterName> {
    let declared = declared(state);
    let names: Vec<&ClusterName> = declared.clusters.keys().chain(declared.unclear.keys()).collect();
    let known: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    if let Some(found) = names.iter().find(|known| known.as_str() == name) {
        return Ok((*found).clone());
    }
    let error = usage(format!("no cluster `{name}` is declared"), "list them: flt admin failover status");
    match nearest(name, known.iter().copied()) {
        Some(near) => Err(error.context(format!("did you mean `{near}`?"))),
        None => Err(error),
    }
}

fn member(name: &str, state: &FleetState) -> anyhow::Result<NodeId> {
    let found = state.member_named(name).map(|(id, _)| id);
    found.ok_or_else(|| usage(format!("there is no node `{name}`"), "list them: flt admin node list"))
}

fn called(node: failover::NodeId, state: &FleetState) -> String {
    let member = state.members().get(&fleet_id(node)).map(|member| &member.name);
    member.map_or_else(|| node.to_string(), Name::to_string)
}

/// How often a question follows the name of another leader.
const HOPS: usize = 3;
/// How long a coordinator or a node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
