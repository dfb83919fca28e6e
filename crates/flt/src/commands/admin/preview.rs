//! Asking nodes which steps they would take.

use std::time::Duration;

use admin::changes::{Action, Changes};
use protocols::node::{Draft, PlanScore, Planned};
use protocols::{DeclarationName, FleetState, Name, NodeId};
use serde::Serialize;
use tokio::task::JoinSet;

use super::context::{Online, told};

/// How long a node may take to say what it would do.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How many nodes are asked at once.
const AT_ONCE: usize = 16;

/// What one node would do for one declaration.
#[derive(Debug, Serialize)]
pub(super) struct NodeSteps {
    pub(super) node: Name,
    pub(super) declaration: DeclarationName,
    pub(super) steps: Vec<String>,
    /// Why it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unknown: Option<String>,
}

impl NodeSteps {
    pub(super) fn heading(&self) -> String {
        let Self { node, declaration, steps, unknown } = self;
        match unknown {
            Some(why) => format!("{node}: {declaration}: not known: {why}"),
            None if steps.is_empty() => format!("{node}: {declaration}: nothing to do"),
            None => format!("{node}: {declaration}: {} step(s)", steps.len()),
        }
    }
}

/// Asks every node that a plan changes and that can be reached.
pub(super) async fn ask(plan: &Changes, state: &FleetState, online: &Online<'_>) -> anyhow::Result<Vec<NodeSteps>> {
    let progress = online.admin.out.progress("Asking the nodes what they would do");
    let mut asked: Vec<(NodeId, Name, Draft)> = Vec::new();
    for change in plan.changes.iter().filter(|c| matches!(c.action, Action::Create | Action::Update)) {
        let Some(publish) = &change.publish else { continue };
        let policy_json = serde_json::to_string(&publish.policy)?;
        for (node, member) in state.select(&publish.on) {
            let draft = Draft {
                name: publish.name.clone(),
                kind: publish.kind.clone(),
                subject: publish.subject.clone(),
                policy_json: policy_json.clone(),
                payload: publish.payload.get().to_owned(),
            };
            asked.push((node, member.name.clone(), draft));
        }
    }
    let mut answers = Vec::new();
    let mut running: JoinSet<NodeSteps> = JoinSet::new();
    let total = asked.len();
    for (node, name, draft) in asked {
        if running.len() >= AT_ONCE
            && let Some(done) = running.join_next().await
        {
            answers.push(done?);
            progress.update(format!("Asking the nodes what they would do: {} of {total}", answers.len()));
        }
        let Some(addr) = told(online.session.locate(node).await)? else {
            let declaration = draft.name;
            answers.push(NodeSteps {
                node: name,
                declaration,
                steps: Vec::new(),
                unknown: Some("it was not seen yet".into()),
            });
            continue;
        };
        let client = online.link.node(addr);
        running.spawn(async move {
            let declaration = draft.name.clone();
            let answer = tokio::time::timeout(ANSWER_WITHIN, client.rpc(PlanScore(draft))).await;
            let (steps, unknown) = match answer {
                Ok(Ok(Ok(Planned::Steps(steps)))) => (steps, None),
                Ok(Ok(Ok(Planned::Cannot(why)))) => (Vec::new(), Some(why)),
                Ok(Ok(Err(denied))) => (Vec::new(), Some(denied.to_string())),
                Ok(Err(error)) => (Vec::new(), Some(scores::topology::chain(&error))),
                Err(_) => (Vec::new(), Some(format!("no answer in {} seconds", ANSWER_WITHIN.as_secs()))),
            };
            NodeSteps { node: name, declaration, steps, unknown }
        });
    }
    while let Some(done) = running.join_next().await {
        answers.push(done?);
    }
    answers.sort_by(|a, b| (&a.node, &a.declaration).cmp(&(&b.node, &b.declaration)));
    Ok(answers)
}
