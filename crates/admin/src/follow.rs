//! Following publications until every node has had its last word. A pure fold over reports.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use protocols::{DeclarationName, FleetState, Name, NodeId, Outcome, Subject, Verdict};
use serde::Serialize;

use crate::session::CheckedReport;

/// How far a node is with a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// It is online and has said nothing of it yet.
    Waiting,
    /// It is offline, and will converge when it returns.
    Offline,
    /// It is at work.
    Playing,
    /// It failed for a reason that may pass, and will try again.
    Retrying,
    /// It is as declared.
    Converged,
    /// It is as declared for its next boot.
    RebootPending,
    /// A newer declaration governs it meanwhile, or it left the fleet.
    Overtaken,
    /// The change was undone.
    Quarantined,
    /// It cannot or may not.
    Refused,
}

impl Progress {
    /// Whether nothing more will come of it.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Waiting | Self::Offline | Self::Playing | Self::Retrying)
    }

    /// Whether it went wrong for good.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Quarantined | Self::Refused)
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Waiting => "waiting",
            Self::Offline => "offline",
            Self::Playing => "playing",
            Self::Retrying => "retrying",
            Self::Converged => "converged",
            Self::RebootPending => "reboot-pending",
            Self::Overtaken => "overtaken",
            Self::Quarantined => "quarantined",
            Self::Refused => "refused",
        })
    }
}

/// One node and one publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Track {
    /// The node.
    pub node: Name,
    /// The declaration.
    pub declaration: DeclarationName,
    /// What it governs.
    pub subject: Subject,
    /// The publication.
    pub generation: u64,
    /// How far it is.
    pub progress: Progress,
    /// The node's words.
    pub message: String,
    /// The steps it took.
    pub steps: Vec<String>,
}

/// A node that a publication means, and where another declaration counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shadowed {
    /// The node.
    pub node: Name,
    /// The declaration.
    pub declaration: DeclarationName,
    /// The one that counts.
    pub by: DeclarationName,
}

/// How it ended, or stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Every node is as declared.
    Converged,
    /// Every node had its last word, and some failed.
    Failed,
    /// Some nodes are not through.
    Pending,
}

impl Ending {
    /// The exit code of `flt admin apply`.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Converged => 0,
            Self::Failed => 1,
            Self::Pending => 4,
        }
    }
}

/// Publications that are being followed.
#[derive(Debug, Clone, PartialEq)]
pub struct Follow {
    tracks: BTreeMap<(NodeId, DeclarationName), Track>,
    shadowed: Vec<Shadowed>,
}

impl Follow {
    /// Follows declarations as they stand in `state`, on the nodes where they count.
    pub fn new<'a>(state: &FleetState, declarations: impl IntoIterator<Item = &'a DeclarationName>) -> Self {
        let (mut tracks, mut shadowed) = (BTreeMap::new(), Vec::new());
        for declaration in declarations.into_iter().filter_map(|name| state.declarations().get(name)) {
            for (node, member) in state.targets(declaration) {
                let counts = state.desired(node).get(&declaration.subject).map(|d| d.name.clone());
                match counts {
                    Some(by) if by != declaration.name => {
                        let (node, declaration) = (member.name.clone(), declaration.name.clone());
                        shadowed.push(Shadowed { node, declaration, by });
                    }
                    _ => {
                        let track = Track {
                            node: member.name.clone(),
                            declaration: declaration.name.clone(),
                            subject: declaration.subject.clone(),
                            generation: declaration.generation,
                            progress: Progress::Waiting,
                            message: String::new(),
                            steps: Vec::new(),
                        };
                        tracks.insert((node, declaration.name.clone()), track);
                    }
                }
            }
        }
        Self { tracks, shadowed }
    }

    /// The nodes to watch.
    pub fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.tracks.keys().map(|(node, _)| *node).collect();
        nodes.dedup();
        nodes
    }

    /// Every node and publication.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks.values()
    }

    /// Where another declaration counts.
    pub fn shadowed(&self) -> &[Shadowed] {
        &self.shadowed
    }

    /// Takes a node's report in; gives the tracks that changed. A last word is never taken back.
    pub fn observe(&mut self, report: &CheckedReport) -> Vec<Track> {
        let mut changed = Vec::new();
        let own = self.tracks.iter_mut().filter(|((node, _), _)| *node == report.node);
        for (_, track) in own.filter(|(_, track)| !track.progress.is_final()) {
            let outcome = report.outcomes.get(&track.subject);
            let (progress, message) = judge(track, outcome, report.liveness.online);
            if progress != track.progress || message != track.message {
                track.progress = progress;
                track.message = message;
                if let Some(outcome) = outcome.filter(|outcome| outcome.generation == track.generation) {
                    track.steps.clone_from(&outcome.steps);
                }
                changed.push(track.clone());
            }
        }
        changed
    }

    /// Takes a newer state in: publications that count no more on a node will get no last word there.
    pub fn advance(&mut self, state: &FleetState) -> Vec<Track> {
        let mut changed = Vec::new();
        for ((node, name), track) in self.tracks.iter_mut().filter(|(_, track)| !track.progress.is_final()) {
            let desired = state.desired(*node);
            let now = desired.get(&track.subject);
            if now.is_some_and(|d| d.name == *name && d.generation == track.generation) {
                continue;
            }
            track.progress = Progress::Overtaken;
            track.message = match now {
                Some(newer) => format!("`{}` of entry {} counts now", newer.name, newer.generation),
                None => "it was withdrawn, or the node left".into(),
            };
            changed.push(track.clone());
        }
        changed
    }

    /// Whether every node has had its last word.
    pub fn is_done(&self) -> bool {
        self.tracks.values().all(|track| track.progress.is_final())
    }

    /// How it stands.
    pub fn ending(&self) -> Ending {
        if !self.is_done() {
            Ending::Pending
        } else if self.tracks.values().any(|track| track.progress.is_bad()) {
            Ending::Failed
        } else {
            Ending::Converged
        }
    }

    /// How many tracks are how far.
    pub fn counts(&self) -> BTreeMap<Progress, usize> {
        let mut counts = BTreeMap::new();
        for track in self.tracks.values() {
            *counts.entry(track.progress).or_default() += 1;
        }
        counts
    }
}

fn judge(track: &Track, outcome: Option<&Outcome>, online: bool) -> (Progress, String) {
    let idle = if online { Progress::Waiting } else { Progress::Offline };
    let Some(outcome) = outcome.filter(|outcome| outcome.generation >= track.generation) else {
        return (idle, String::new());
    };
    if outcome.generation > track.generation {
        return (Progress::Overtaken, format!("it plays `{}` of entry {}", outcome.name, outcome.generation));
    }
    let progress = match outcome.verdict {
        Verdict::Playing | Verdict::Failed if !online => Progress::Offline,
        Verdict::Playing => Progress::Playing,
        Verdict::Failed => Progress::Retrying,
        Verdict::Converged => Progress::Converged,
        Verdict::RebootPending => Progress::RebootPending,
        Verdict::Quarantined => Progress::Quarantined,
        Verdict::Refused => Progress::Refused,
    };
    (progress, outcome.message.clone())
}
