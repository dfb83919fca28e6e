//! What a play may ask of the agent: whether it shall stop, and whether a coordinator still answers.

use std::sync::Arc;
use std::time::Duration;

use protocols::Subject;
use protocols::control::Hello;
use scores::{BoxFuture, Cancel, Stage};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;

/// How long one coordinator may take to prove that it can still be reached.
const CONTACT_DEADLINE: Duration = Duration::from_secs(10);

/// One play's view of the agent.
pub(crate) struct PlayStage {
    pub(crate) agent: Arc<Agent>,
    /// What is played; nothing while trials of an earlier process are judged.
    pub(crate) playing: Option<(Subject, u64)>,
    pub(crate) stop: CancellationToken,
}

impl Stage for PlayStage {
    fn cancelled(&self) -> Option<Cancel> {
        if self.stop.is_cancelled() {
            return Some(Cancel::Stopping);
        }
        let (subject, generation) = self.playing.as_ref()?;
        let state = self.agent.state()?;
        let wanted = state.desired(self.agent.id()).get(subject).map(|d| d.generation);
        (wanted != Some(*generation)).then_some(Cancel::Superseded)
    }

    fn progress(&self, line: &str) {
        let subject = self.playing.as_ref().map_or("", |(s, _)| s.as_str());
        tracing::info!(subject, step = line, "progress");
    }

    fn contact(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let mut last = "no coordinator is known".to_owned();
            for coordinator in self.agent.coordinators() {
                let ask = async {
                    let client = self.agent.uplink.fresh_control(coordinator).await.map_err(|e| e.to_string())?;
                    let answer = client.rpc(Hello).await.map_err(|e| e.to_string())?;
                    answer.map_err(|denied| denied.to_string())
                };
                match timeout(CONTACT_DEADLINE, ask).await {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(why)) => last = why,
                    Err(_) => last = "no answer in time".into(),
                }
            }
            Err(last)
        })
    }
}
