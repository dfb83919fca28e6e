//! What a node plays: its topologies, found by kind and subject, with their types forgotten.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use protocols::selector::glob;
use protocols::{Kind, Subject, Verdict};

use crate::registry::Part;
use crate::trials::{Phase, Record, Slot};
use crate::{
    Assignment, BoxFuture, Checks, Gate, Invalid, PlayError, PlayReport, Registry, Stage, Topology, TrialError, Trials,
    chain,
};

/// A topology, the kinds of scores it plays, and for which subjects.
#[derive(Debug)]
pub struct Player<T> {
    topology: Arc<T>,
    registry: Registry<T>,
    subjects: Option<String>,
}

impl<T: Topology> Player<T> {
    /// Plays these kinds for every subject.
    pub fn new(topology: T, registry: Registry<T>) -> Self {
        Self { topology: Arc::new(topology), registry, subjects: None }
    }

    /// Plays them only for subjects that match this pattern, where `*` is any run and `?` any character.
    #[must_use]
    pub fn only(mut self, subjects: impl Into<String>) -> Self {
        self.subjects = Some(subjects.into());
        self
    }
}

/// All players of a node.
pub struct Ensemble {
    players: Vec<Box<dyn Play>>,
    trials: Trials,
    checks: Arc<dyn Checks>,
}

/// A trial that was found at the start of the agent, and what became of it.
#[derive(Debug)]
pub struct Recovered {
    /// What was being played; none when the record could not be read.
    pub assignment: Option<Assignment>,
    /// What became of it.
    pub report: PlayReport,
}

impl Ensemble {
    /// Plays nothing yet; keeps its trials there and has checks run by these.
    pub fn new(trials: Trials, checks: Arc<dyn Checks>) -> Self {
        Self { players: Vec::new(), trials, checks }
    }

    /// Adds a player. The first one that has the kind and the subject plays.
    #[must_use]
    pub fn with<T: Topology>(mut self, player: Player<T>) -> Self {
        self.players.push(Box::new(player));
        self
    }

    /// The kinds that this node plays, in order: among its facts.
    pub fn kinds(&self) -> Vec<Kind> {
        let kinds: BTreeSet<Kind> = self.players.iter().flat_map(|player| player.kinds()).collect();
        kinds.into_iter().collect()
    }

    /// What a score of this kind governs.
    ///
    /// # Errors
    /// When no player has the kind, or the payload is not a valid score of it.
    pub fn subject_of(&self, kind: &Kind, payload: &str) -> Result<Subject, Invalid> {
        let player = self.players.iter().find(|player| player.kinds().contains(kind));
        let player = player.ok_or_else(|| {
            let error = PlayError::UnknownKind { kind: kind.clone(), known: self.kinds() };
            Invalid::at("kind", error.to_string())
        })?;
        player.subject_of(kind, payload)
    }

    /// The steps that would be taken, without taking them.
    ///
    /// # Errors
    /// When nobody plays it, it is not valid, or what is there cannot be seen.
    pub async fn plan(&self, assignment: &Assignment) -> Result<Vec<String>, PlayError> {
        self.player(assignment)?.plan(assignment).await
    }

    /// Plays it to its end: converged, undone, or refused. Whatever happens is in the report.
    ///
    /// The caller sees to it that one subject is played once at a time.
    pub async fn play(&self, assignment: &Assignment, stage: &dyn Stage) -> PlayReport {
        let slot = self.trials.slot(&assignment.subject);
        let mends = was_good(&slot, assignment.generation).await;
        let report = self.play_once(assignment, stage, mends).await;
        weigh(&slot, assignment.generation, mends, report).await
    }

    async fn play_once(&self, assignment: &Assignment, stage: &dyn Stage, mends: bool) -> PlayReport {
        let player = match self.player(assignment) {
            Ok(player) => player,
            Err(error) => return PlayReport::new(error.verdict(), &chain(&error), &[], 0),
        };
        let mut interruptions = 0;
        let slot = self.trials.slot(&assignment.subject);
        match read(&slot).await {
            Ok(None) => {}
            Ok(Some(Record { phase: Phase::Quarantined { message }, assignment: tried, steps, .. })) => {
                if tried.generation == assignment.generation && !mends {
                    return PlayReport::new(Verdict::Quarantined, &message, &steps, 0);
                }
            }
            Ok(Some(record)) if record.phase.is_open() => {
                let generation = record.assignment.generation;
                let report = self.judge(&record.assignment.clone(), record, stage).await;
                let same = generation == assignment.generation;
                if same && report.verdict.is_final() {
                    return report;
                }
                match read(&slot).await {
                    Ok(Some(left)) if left.phase.is_open() => return report,
                    Ok(Some(left)) if same => interruptions = left.interruptions,
                    Ok(_) => {}
                    Err(error) => return unreadable(&slot, &error),
                }
            }
            Ok(Some(record)) => {
                if record.assignment.generation == assignment.generation {
                    interruptions = record.interruptions;
                }
            }
            Err(error) => return unreadable(&slot, &error),
        }
        player.play(self.gate(assignment, stage), interruptions).await
    }

    /// Brings every trial to its end that a former process left open, and repeats what was said of those that ended in
    /// quarantine. Called once, before anything is played.
    pub async fn recover(&self, stage: &dyn Stage) -> Vec<Recovered> {
        let trials = self.trials.clone();
        let found = match tokio::task::spawn_blocking(move || trials.all()).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => vec![Err(error)],
            Err(error) => vec![Err(TrialError::stopped(std::io::Error::other(error)))],
        };
        let mut recovered = Vec::new();
        for record in found {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let report = PlayReport::new(Verdict::Failed, &chain(&error), &[], 0);
                    recovered.push(Recovered { assignment: None, report });
                    continue;
                }
            };
            let assignment = record.assignment.clone();
            let report = match &record.phase {
                Phase::Interrupted => continue,
                Phase::Quarantined { message } => PlayReport::new(Verdict::Quarantined, message, &record.steps, 0),
                _ => self.judge(&assignment, record, stage).await,
            };
            let slot = self.trials.slot(&assignment.subject);
            let mended = was_good(&slot, assignment.generation).await;
            let report = weigh(&slot, assignment.generation, mended, report).await;
            recovered.push(Recovered { assignment: Some(assignment), report });
        }
        recovered
    }

    async fn judge(&self, assignment: &Assignment, record: Record, stage: &dyn Stage) -> PlayReport {
        match self.player(assignment) {
            Ok(player) => player.judge(self.gate(assignment, stage), record).await,
            Err(error) => {
                let message = format!("a trial was left open and cannot be undone: {}", chain(&error));
                PlayReport::new(Verdict::Failed, &message, &record.steps, 0)
            }
        }
    }

    fn player(&self, assignment: &Assignment) -> Result<&dyn Play, PlayError> {
        let kind = &assignment.kind;
        let mut of_kind = self.players.iter().filter(|player| player.kinds().contains(kind)).peekable();
        if of_kind.peek().is_none() {
            return Err(PlayError::UnknownKind { kind: kind.clone(), known: self.kinds() });
        }
        let player = of_kind.find(|player| player.has(&assignment.subject));
        let subject = || assignment.subject.clone();
        player.map(AsRef::as_ref).ok_or_else(|| PlayError::UnknownSubject { kind: kind.clone(), subject: subject() })
    }

    fn gate<'a>(&'a self, assignment: &'a Assignment, stage: &'a dyn Stage) -> Gate<'a> {
        Gate { assignment, trials: &self.trials, checks: self.checks.as_ref(), stage, dry_run: false }
    }
}

impl fmt::Debug for Ensemble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ensemble").field("kinds", &self.kinds()).finish_non_exhaustive()
    }
}

/// The dyn twin of a player.
trait Play: Send + Sync {
    fn kinds(&self) -> Vec<Kind>;
    fn has(&self, subject: &Subject) -> bool;
    fn subject_of(&self, kind: &Kind, payload: &str) -> Result<Subject, Invalid>;
    fn plan<'a>(&'a self, assignment: &'a Assignment) -> BoxFuture<'a, Result<Vec<String>, PlayError>>;
    fn play<'a>(&'a self, gate: Gate<'a>, interruptions: u32) -> BoxFuture<'a, PlayReport>;
    fn judge<'a>(&'a self, gate: Gate<'a>, record: Record) -> BoxFuture<'a, PlayReport>;
}

impl<T: Topology> Player<T> {
    fn part(&self, kind: &Kind) -> Result<&dyn Part<T>, PlayError> {
        let unknown = || PlayError::UnknownKind { kind: kind.clone(), known: self.kinds() };
        self.registry.part(kind).ok_or_else(unknown)
    }
}

impl<T: Topology> Play for Player<T> {
    fn kinds(&self) -> Vec<Kind> {
        self.registry.kinds().cloned().collect()
    }

    fn has(&self, subject: &Subject) -> bool {
        self.subjects.as_ref().is_none_or(|pattern| glob(pattern, subject.as_str()))
    }

    fn subject_of(&self, kind: &Kind, payload: &str) -> Result<Subject, Invalid> {
        let part = self.part(kind).map_err(|error| Invalid::at("kind", error.to_string()))?;
        part.subject_of(payload)
    }

    fn plan<'a>(&'a self, assignment: &'a Assignment) -> BoxFuture<'a, Result<Vec<String>, PlayError>> {
        Box::pin(async move { self.part(&assignment.kind)?.plan(&self.topology, assignment).await })
    }

    fn play<'a>(&'a self, gate: Gate<'a>, interruptions: u32) -> BoxFuture<'a, PlayReport> {
        Box::pin(async move {
            match self.part(&gate.assignment.kind) {
                Ok(part) => part.play(&self.topology, gate, interruptions).await,
                Err(error) => PlayReport::new(error.verdict(), &chain(&error), &[], 0),
            }
        })
    }

    fn judge<'a>(&'a self, gate: Gate<'a>, record: Record) -> BoxFuture<'a, PlayReport> {
        Box::pin(async move {
            match self.part(&gate.assignment.kind) {
                Ok(part) => part.judge(&self.topology, gate, record).await,
                Err(error) => PlayReport::new(Verdict::Failed, &chain(&error), &record.steps, 0),
            }
        })
    }
}

/// What is said of a play of a generation. One that was good here before and fails now was only to be mended: somebody
/// may have changed by hand what it was about to change. That is no word against the declaration, and is tried again.
const fn judged(mends: bool, verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Quarantined | Verdict::Refused if mends => Verdict::Failed,
        verdict => verdict,
    }
}

async fn was_good(slot: &Slot, generation: u64) -> bool {
    let slot = slot.clone();
    let proven = tokio::task::spawn_blocking(move || slot.proven()).await;
    proven.is_ok_and(|proven| proven == Some(generation))
}

/// Settles what is said of a play, and writes down what follows from it for the next.
async fn weigh(slot: &Slot, generation: u64, mends: bool, mut report: PlayReport) -> PlayReport {
    let verdict = judged(mends, report.verdict);
    let acquitted = verdict != report.verdict;
    report.verdict = verdict;
    let proves = verdict == Verdict::Converged && !mends;
    if !acquitted && !proves {
        return report;
    }
    let slot = slot.clone();
    let noted = tokio::task::spawn_blocking(move || match slot.read()? {
        Some(record) if acquitted && !record.phase.is_open() => slot.close(),
        _ if proves => slot.prove(generation),
        _ => Ok(()),
    });
    match noted.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = %chain(&error), "cannot note how a play went"),
        Err(error) => tracing::warn!(%error, "cannot note how a play went"),
    }
    report
}

async fn read(slot: &Slot) -> Result<Option<Record>, TrialError> {
    let slot = slot.clone();
    match tokio::task::spawn_blocking(move || slot.read()).await {
        Ok(result) => result,
        Err(error) => Err(TrialError::stopped(std::io::Error::other(error))),
    }
}

fn unreadable(slot: &Slot, error: &TrialError) -> PlayReport {
    slot.set_aside();
    PlayReport::new(Verdict::Failed, &chain(error), &[], 0)
}
