//! Which declaration to play next: pure, with the time as an argument.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocols::state::{Declaration, Isolation};
use protocols::{FleetState, Millis, NodeId, Subject, Verdict};
use scores::Assignment;
use tokio::time::Instant;

/// What became of a subject so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// The generation that was played last.
    pub generation: u64,
    /// How it went.
    pub verdict: Verdict,
    /// When: in this process. Nothing for what an earlier process left behind.
    pub at: Option<Instant>,
    /// How many plays of this generation failed in a row.
    pub failures: u32,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// To be played now, oldest publication first.
    pub play: Vec<Arc<Declaration>>,
    /// Not begun, and not to be begun any more: their time is over.
    pub over: Vec<Arc<Declaration>>,
    /// Subjects that are no longer declared: their outcomes are taken back.
    pub forget: Vec<Subject>,
    /// When to look again, if nothing changes before.
    pub again: Option<Instant>,
}

/// Why a node plays nothing and mends nothing, if it shall not. What it is in the middle of comes to its end first: a
/// trial that nobody judges would stay half of each.
pub fn held(state: &FleetState, node: NodeId) -> Option<&Isolation> {
    state.quarantine(node)
}

/// Whether a declaration is not begun any more: its time is over at `clock`, and what was begun here last is another
/// generation, or nothing. What was begun is brought to its end, and kept up.
pub fn is_too_late(declaration: &Declaration, begun: Option<u64>, clock: Millis) -> bool {
    begun != Some(declaration.generation) && declaration.is_over(clock)
}

/// What a topology gets of a declaration.
pub fn assignment(declaration: &Declaration) -> Assignment {
    Assignment {
        name: declaration.name.clone(),
        generation: declaration.generation,
        kind: declaration.kind.clone(),
        subject: declaration.subject.clone(),
        payload: declaration.payload.get().to_owned(),
        policy: declaration.policy.clone(),
    }
}

/// Decides from what is desired and what was played.
///
/// A generation is played once; again if it failed for a passing reason, after a pause that doubles; and again, every
/// `drift`, if it converged, which finds and mends what somebody changed by hand. What was refused or quarantined stays so
/// until the declaration changes. What was not begun when its time was over at `clock` is not begun any more.
pub fn decide(
    desired: &BTreeMap<&Subject, &Arc<Declaration>>,
    played: &BTreeMap<Subject, Played>,
    drift: Duration,
    now: Instant,
    clock: Millis,
) -> Decision {
    let mut over: Vec<Arc<Declaration>> = Vec::new();
    let mut play: Vec<Arc<Declaration>> = Vec::new();
    let mut again: Option<Instant> = None;
    for (subject, declaration) in desired {
        let due = match played.get(*subject) {
            Some(p) if p.generation == declaration.generation => due(p, drift, now),
            p if is_too_late(declaration, p.map(|p| p.generation), clock) => {
                over.push(Arc::clone(declaration));
                None
            }
            _ => Some(now),
        };
        match due {
            Some(at) if at <= now => play.push(Arc::clone(declaration)),
            Some(at) => again = Some(again.map_or(at, |a| a.min(at))),
            None => {}
        }
    }
    play.sort_by_key(|d| d.generation);
    let forget = played.keys().filter(|s| !desired.contains_key(s)).cloned().collect();
    Decision { play, over, forget, again }
}

fn due(played: &Played, drift: Duration, now: Instant) -> Option<Instant> {
    let Some(at) = played.at else {
        // From an earlier process: what it judged for good stays, anything else is looked at again.
        return match played.verdict {
            Verdict::Quarantined | Verdict::Refused => None,
            _ => Some(now),
        };
    };
    match played.verdict {
        Verdict::Quarantined | Verdict::Refused => None,
        Verdict::Converged | Verdict::RebootPending => Some(at + drift),
        Verdict::Playing => Some(now),
        Verdict::Failed => {
            let doublings = played.failures.saturating_sub(1).min(10);
            Some(at + (RETRY_MIN * 2_u32.pow(doublings)).min(RETRY_MAX))
        }
    }
}

/// The pause after the first failure.
const RETRY_MIN: Duration = Duration::from_secs(5);
/// The longest pause between tries.
const RETRY_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    const DRIFT: Duration = Duration::from_secs(600);

    fn declaration(generation: u64) -> Arc<Declaration> {
        let json = format!(
            r#"{{"name":"g/a","generation":{generation},"on":"*","within":[],"kind":"files/1","subject":"files/a",
            "policy":{{}},"payload":{{}},"artifacts":[],"author":"{}","at":0,"note":null}}"#,
            "07".repeat(32)
        );
        Arc::new(serde_json::from_str(&json).unwrap())
    }

    fn of(verdict: Verdict, failures: u32, played_generation: u64, wanted: u64, after: Duration) -> Decision {
        let now = Instant::now();
        let declaration = declaration(wanted);
        let subject: Subject = "files/a".parse().unwrap();
        let played = Played { generation: played_generation, verdict, at: Some(now), failures };
        let desired = BTreeMap::from([(&subject, &declaration)]);
        decide(&desired, &BTreeMap::from([(subject.clone(), played)]), DRIFT, now + after, Millis(0))
    }

    #[tokio::test]
    async fn a_new_generation_is_played_whatever_became_of_the_old() {
        for verdict in [Verdict::Quarantined, Verdict::Refused, Verdict::Converged, Verdict::Failed] {
            assert_eq!(of(verdict, 9, 4, 5, Duration::ZERO).play.len(), 1, "{verdict}");
        }
    }

    #[tokio::test]
    async fn what_is_over_is_not_begun_and_what_was_begun_is_brought_to_its_end() {
        let mut declared = (*declaration(5)).clone();
        declared.not_after = Some(Millis(1000));
        let (declared, subject) = (Arc::new(declared), "files/a".parse::<Subject>().unwrap());
        let at = |played: &[(u64, Verdict)], clock: u64| {
            let now = Instant::now();
            let played = played.iter().map(|(generation, verdict)| Played {
                generation: *generation,
                verdict: *verdict,
                at: Some(now),
                failures: 1,
            });
            let played = played.map(|p| (subject.clone(), p)).collect();
            let decision =
                decide(&BTreeMap::from([(&subject, &declared)]), &played, DRIFT, now + RETRY_MAX, Millis(clock));
            (decision.play.len(), decision.over.len())
        };
        for before in [&[][..], &[(4, Verdict::Converged)], &[(4, Verdict::Failed)]] {
            assert_eq!(at(before, 1000), (1, 0));
            assert_eq!(at(before, 1001), (0, 1));
        }
        assert_eq!(at(&[(5, Verdict::Failed)], 2000), (1, 0));
        assert_eq!(at(&[(5, Verdict::Converged)], 2000), (1, 0), "drift is mended");
        assert_eq!(at(&[(5, Verdict::Refused)], 2000), (0, 0), "said once");
    }

    #[tokio::test]
    async fn what_was_judged_for_good_is_left_alone() {
        for verdict in [Verdict::Quarantined, Verdict::Refused] {
            let decision = of(verdict, 1, 5, 5, Duration::from_secs(1_000_000));
            assert!(decision.play.is_empty() && decision.again.is_none(), "{verdict}");
        }
    }

    #[tokio::test]
    async fn failures_are_tried_again_with_growing_pauses() {
        assert!(of(Verdict::Failed, 1, 5, 5, Duration::from_secs(4)).play.is_empty());
        assert_eq!(of(Verdict::Failed, 1, 5, 5, Duration::from_secs(5)).play.len(), 1);
        assert!(of(Verdict::Failed, 4, 5, 5, Duration::from_secs(39)).play.is_empty());
        assert_eq!(of(Verdict::Failed, 4, 5, 5, Duration::from_secs(40)).play.len(), 1);
        assert_eq!(of(Verdict::Failed, 99, 5, 5, RETRY_MAX).play.len(), 1);
    }

    #[tokio::test]
    async fn drift_is_looked_for() {
        let early = of(Verdict::Converged, 0, 5, 5, Duration::from_secs(599));
        assert!(early.play.is_empty() && early.again.is_some());
        assert_eq!(of(Verdict::Converged, 0, 5, 5, DRIFT).play.len(), 1);
    }

    #[tokio::test]
    async fn what_is_declared_no_more_is_forgotten() {
        let played = Played { generation: 1, verdict: Verdict::Converged, at: None, failures: 0 };
        let played = BTreeMap::from([("files/b".parse().unwrap(), played)]);
        let decision = decide(&BTreeMap::new(), &played, DRIFT, Instant::now(), Millis(0));
        assert_eq!(decision.forget.len(), 1);
    }
}
