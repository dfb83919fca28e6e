//! Playing what is declared: woken by a change or a timer, it looks at everything and takes no hint of what changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocols::state::Declaration;
use protocols::{Outcome, Subject, Verdict};
use scores::{Assignment, PlayReport};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::decide::{Played, assignment, decide, held};
use crate::hands::Told;
use crate::stage::PlayStage;

impl Agent {
    pub(crate) async fn conductor_loop(self: &Arc<Self>, stop: CancellationToken) {
        let mut played: BTreeMap<Subject, Played> = BTreeMap::new();
        for outcome in self.outcomes() {
            let left = Played { generation: outcome.generation, verdict: outcome.verdict, at: None, failures: 0 };
            played.insert(outcome.subject, left);
        }
        self.recover(&mut played, &stop).await;
        let mut states = self.state.subscribe();
        let mut newest = self.newest.subscribe();
        self.wait_for_news(&stop).await;
        while !stop.is_cancelled() {
            let mut again = None;
            states.mark_unchanged();
            newest.mark_unchanged();
            if self.may_act() {
                again = self.play_due(&mut played, &stop).await;
            }
            let timer = async {
                match again {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = states.changed() => if changed.is_err() { return },
                changed = newest.changed() => if changed.is_err() { return },
                () = timer => {}
            }
        }
    }

    /// After a start, waits for a first word from a coordinator: a node that was away must go straight to the newest
    /// declaration. Nobody answering is no reason not to keep what is known.
    async fn wait_for_news(&self, stop: &CancellationToken) {
        let mut connected = self.coordinator.subscribe();
        tokio::select! {
            () = stop.cancelled() => {}
            _ = connected.wait_for(Option::is_some) => {}
            () = tokio::time::sleep(self.options.grace) => {
                tracing::warn!("no coordinator answers: acting on what is known");
            }
        }
    }

    /// Nothing is done while a newer entry is known to exist: it may say otherwise. In quarantine nothing is begun either.
    pub(crate) fn may_act(&self) -> bool {
        let is_held = self.state().is_some_and(|state| held(&state, self.id()).is_some());
        self.is_member() && self.caught_up() && !is_held
    }

    /// Judges what an earlier process left open.
    async fn recover(self: &Arc<Self>, played: &mut BTreeMap<Subject, Played>, stop: &CancellationToken) {
        let stage = PlayStage { agent: Arc::clone(self), playing: None, stop: stop.clone() };
        for told in self.hands.recover(&stage).await {
            let (generation, verdict) = (told.generation, told.report.verdict);
            played.insert(told.subject.clone(), Played { generation, verdict, at: Some(Instant::now()), failures: 1 });
            self.report_play(told);
        }
    }

    /// Plays what is due, one after the other, and says when to look again.
    async fn play_due(
        self: &Arc<Self>,
        played: &mut BTreeMap<Subject, Played>,
        stop: &CancellationToken,
    ) -> Option<Instant> {
        loop {
            let state = self.state()?;
            // Whichever clock is later: a node whose own stands still must not begin what the fleet is long past.
            let clock = (self.options.clock)().max(state.time());
            let decision = decide(&state.desired(self.id()), played, self.options.drift, Instant::now(), clock);
            for declaration in decision.over {
                self.let_pass(&declaration, played);
            }
            for subject in decision.forget {
                played.remove(&subject);
                self.take_back_outcome(&subject);
            }
            // After each play everything is looked at anew: meanwhile the ledger may have gone on.
            let Some(declaration) = decision.play.first() else { return decision.again };
            self.play(declaration, played, stop).await;
            if stop.is_cancelled() || !self.may_act() {
                return None;
            }
        }
    }

    /// Says that a declaration is not begun: its time was over before this node could.
    fn let_pass(&self, declaration: &Declaration, played: &mut BTreeMap<Subject, Played>) {
        let (generation, verdict) = (declaration.generation, Verdict::Refused);
        let now = Played { generation, verdict, at: Some(Instant::now()), failures: 0 };
        played.insert(declaration.subject.clone(), now);
        self.report_play(Told::expired(declaration));
    }

    async fn play(
        self: &Arc<Self>,
        declaration: &Declaration,
        played: &mut BTreeMap<Subject, Played>,
        stop: &CancellationToken,
    ) {
        let assignment = assignment(declaration);
        let before = played.get(&assignment.subject).copied().filter(|p| p.generation == assignment.generation);
        // A look for drift says nothing unless it finds some.
        if !before.is_some_and(|p| p.verdict.is_good()) {
            let begun =
                PlayReport { verdict: Verdict::Playing, message: String::new(), steps: Vec::new(), attempts: 0 };
            self.report_play(Told::of(&assignment, begun));
        }
        let stage = PlayStage {
            agent: Arc::clone(self),
            playing: Some((assignment.subject.clone(), assignment.generation)),
            stop: stop.clone(),
        };
        self.plays.fetch_add(1, Ordering::Relaxed);
        let report = self.play_in_task(&assignment, stage).await;
        self.uplink.play_ended().await;
        let failed_before = before.map_or(0, |p| p.failures);
        let failures = if report.verdict == Verdict::Failed { failed_before + 1 } else { 0 };
        let now =
            Played { generation: assignment.generation, verdict: report.verdict, at: Some(Instant::now()), failures };
        played.insert(assignment.subject.clone(), now);
        tracing::info!(
            name = %assignment.name, generation = assignment.generation, verdict = %report.verdict,
            message = report.message, "played"
        );
        self.report_play(Told::of(&assignment, report));
    }

    /// Plays in a task of its own: a panic in the code of a score must not end the agent. The trial stays open then, and
    /// is judged when it is played again. It also stays open when the agent is told to stop and the play does not heed it:
    /// it may be the switch to a new system that stops us, and would wait for us.
    async fn play_in_task(&self, assignment: &Assignment, stage: PlayStage) -> PlayReport {
        let hands = Arc::clone(&self.hands);
        let assignment = assignment.clone();
        let stop = stage.stop.clone();
        let mut task = tokio::spawn(async move { hands.play(&assignment, &stage).await });
        let too_late = async {
            stop.cancelled().await;
            tokio::time::sleep(STOP_PATIENCE).await;
        };
        let (verdict, message) = tokio::select! {
            ended = &mut task => match ended {
                Ok(report) => return report,
                Err(error) => (Verdict::Failed, format!("the play ended in a bug of flt: {error}")),
            },
            () = too_late => {
                task.abort();
                (Verdict::Playing, "the agent was stopped in the middle; it goes on at its next start".to_owned())
            }
        };
        PlayReport { verdict, message, steps: Vec::new(), attempts: 1 }
    }

    fn report_play(&self, told: Told) {
        let Told { name, kind, subject, generation, report } = told;
        let PlayReport { verdict, message, steps, attempts } = report;
        let at = (self.options.clock)();
        self.write_outcome(Outcome { name, kind, subject, generation, verdict, message, steps, attempts, at });
    }
}

/// How long a play may take to heed a stop before it is left where it is.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
