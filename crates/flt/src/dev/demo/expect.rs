//! What the nodes must have made of a version, looked at in what they report and in their files.

use std::collections::BTreeSet;

use admin::session::CheckedReport;
use anyhow::{Context as _, ensure};
use protocols::{Name, NodeId, Outcome, Verdict};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::story::Told;
use super::{CONF_PATH, DECLARATION, Demo, LOOK_EVERY, WITHIN, WITNESS_PATH, millis};

impl Demo<'_> {
    /// Tells every node's last word on a generation as it comes, and demands that it is this one. Gives all generations
    /// that the nodes spoke of since it listens.
    pub(super) async fn expect(
        &self,
        generation: u64,
        verdict: Verdict,
        nodes: &[Name],
        since: Instant,
    ) -> anyhow::Result<BTreeSet<u64>> {
        let state = self.fleet.state()?;
        let id = |name: &Name| state.member_named(name.as_str()).map(|(id, _)| id);
        let ids: Vec<NodeId> =
            nodes.iter().map(|n| id(n).with_context(|| format!("{n} is no member"))).collect::<Result<_, _>>()?;
        let mut waiting: BTreeSet<NodeId> = ids.iter().copied().collect();
        let mut spoke_of = BTreeSet::new();
        let mut take = |report: CheckedReport, waiting: &mut BTreeSet<NodeId>| -> anyhow::Result<()> {
            ensure!(report.problems.is_empty(), "a node's report is not sound: {}", report.problems.join("; "));
            let Some(outcome) = report.outcomes.into_values().find(|o| o.name.to_string() == DECLARATION) else {
                return Ok(());
            };
            spoke_of.insert(outcome.generation);
            if outcome.generation != generation || !outcome.verdict.is_final() || !waiting.remove(&report.node) {
                return Ok(());
            }
            let node = state.members().get(&report.node).context("a stranger reports")?.name.clone();
            let as_told = outcome.verdict == verdict;
            let got = outcome.clone();
            self.tell(Told::Settled { node: node.clone(), millis: millis(since), outcome })?;
            ensure!(as_told, "{node} should be {verdict} and is {}: {}", got.verdict, got.message);
            Ok(())
        };
        let listen = async {
            let mut watching = self.fleet.session.watch(&ids).await?;
            let mut look = tokio::time::interval(LOOK_EVERY);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !waiting.is_empty() {
                tokio::select! {
                    report = watching.next() => take(report?, &mut waiting)?,
                    // A watch is the fast path; asking is the guarantee.
                    _ = look.tick() => {
                        for report in self.fleet.session.reports(&ids, "").await? {
                            take(report, &mut waiting)?;
                        }
                    }
                }
            }
            anyhow::Ok(())
        };
        let listened = timeout(WITHIN, listen).await;
        let missing: Vec<String> =
            waiting.iter().filter_map(|id| state.members().get(id)).map(|m| m.name.to_string()).collect();
        listened.with_context(|| {
            format!("no last word on entry {generation} from {} within {} s", missing.join(", "), WITHIN.as_secs())
        })??;
        Ok(spoke_of)
    }

    /// Starts a node that missed two versions, and demands that it plays the newest and nothing else.
    pub(super) async fn come_back(&mut self, node: &Name, knew: u64, skipped: u64, newest: u64) -> anyhow::Result<()> {
        let before = self.generation_reported(node).await?;
        let began = Instant::now();
        self.fleet.start_agent(node).await?;
        self.tell(Told::Started { node: node.clone(), knew })?;
        ensure!(knew < skipped, "{node} knew of entry {skipped} before it went");
        let mut spoke_of = self.expect(newest, Verdict::Converged, std::slice::from_ref(node), began).await?;
        // What the coordinator still held of it from before.
        spoke_of.retain(|generation| Some(*generation) != before);
        let plays = self.fleet.agents.get(node).with_context(|| format!("{node} does not run"))?.role.stats().plays;
        ensure!(plays == 1, "{node} played {plays} declarations since it came back, instead of the newest alone");
        ensure!(
            spoke_of.iter().eq([&newest]),
            "{node} spoke of {spoke_of:?} since it came back, not of {newest} alone"
        );
        self.tell(Told::Straight { node: node.clone(), plays, spoke_of: spoke_of.into_iter().collect(), skipped })
    }

    async fn generation_reported(&self, node: &Name) -> anyhow::Result<Option<u64>> {
        let state = self.fleet.state()?;
        let (id, _) = state.member_named(node.as_str()).with_context(|| format!("{node} is no member"))?;
        let outcomes: Vec<Outcome> = self.fleet.outcomes(id).await?;
        Ok(outcomes.iter().find(|o| o.name.to_string() == DECLARATION).map(|o| o.generation))
    }

    fn read(&self, node: &Name, path: &'static str) -> anyhow::Result<Option<String>> {
        let file = self.fleet.agent_root(node).join(path.trim_start_matches('/'));
        let content = match std::fs::read_to_string(&file) {
            Ok(content) => Some(content),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        self.tell(Told::File { node: node.clone(), path, content: content.clone() })?;
        Ok(content)
    }

    pub(super) fn expect_files(&self, nodes: &[Name], content: &str) -> anyhow::Result<()> {
        for node in nodes {
            let found = self.read(node, CONF_PATH)?;
            let found = found.as_deref().map(str::trim_end);
            ensure!(found == Some(content), "{CONF_PATH} of {node} holds {found:?} instead of {content:?}");
        }
        Ok(())
    }

    /// Version 2 made a file that version 3 does not name and so leaves alone: where it is, version 2 was played.
    pub(super) fn expect_witness(&self, played: &[Name], skipped: &Name) -> anyhow::Result<()> {
        for node in played {
            ensure!(self.read(node, WITNESS_PATH)?.is_some(), "{WITNESS_PATH} of {node} is gone");
        }
        ensure!(self.read(skipped, WITNESS_PATH)?.is_none(), "{skipped} has {WITNESS_PATH}: it played version 2");
        Ok(())
    }
}
