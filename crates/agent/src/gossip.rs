//! Agents tell each other which heads their coordinators signed for, and find out who is told less, or something else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocols::entry::{Head, Role};
use protocols::standing::{STANDING, STANDING_FILE, Standing};
use protocols::{FleetId, FleetState, ForkEvidence, HeadClaim, NodeId, Signature, SignedEntry};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::witness::weigh;
use crate::witness::{Alarm, Held};

mod ask;
mod chase;

/// What agents say to their neighbours, in postcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Said {
    /// The newest head on the speaker's own history that a coordinator signed for.
    Claim(HeadClaim),
    /// The speaker has evidence of a split history: ask for it.
    Alarm([HeadClaim; 2]),
}

/// What is to be looked into.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A signed head that contradicts our history, and entries that came with it.
    Suspicion(HeadClaim, Source, Vec<SignedEntry>),
    /// A neighbour is there.
    Neighbour,
    /// A neighbour said something.
    Heard(NodeId, Bytes),
}

/// Who showed a claim, and may have the entries for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Coordinator(NodeId),
    Peer(NodeId),
}

/// A head came without its coordinator's signature.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the coordinator did not sign for entry {0}, which it serves")]
pub(crate) struct Unsigned(Head);

impl Unsigned {
    pub(crate) const fn of(head: Head) -> Self {
        Self(head)
    }
}

/// What gossip about heads is sent under: members of one fleet meet there.
pub fn heads_topic(fleet: FleetId) -> [u8; 32] {
    blake3::derive_key("flotilla gossip of heads 1", fleet.as_bytes())
}

impl Agent {
    /// A neighbour in the gossip of heads said something.
    pub fn overhear(&self, from: NodeId, message: Bytes) {
        let _dropped = self.mail.try_send(Mail::Heard(from, message));
    }

    /// There is a new neighbour in the gossip of heads.
    pub fn meet(&self, _peer: NodeId) {
        let _dropped = self.mail.try_send(Mail::Neighbour);
    }

    /// How this node stands to the ledger.
    pub fn standing(&self) -> Standing {
        self.witness.standing((self.options.clock)(), self.head(), self.unsure_after())
    }

    /// The evidence of a split history that this node has, if it has some.
    pub fn evidence(&self) -> Option<ForkEvidence> {
        self.witness.alarm().and_then(|alarm| alarm.evidence)
    }

    /// A coordinator served a head. Its entries, if it sent some, were handled before.
    pub(crate) fn claimed(&self, by: NodeId, head: Head, signature: Signature) -> Result<HeadClaim, Unsigned> {
        let claim = HeadClaim::checked(self.options.ticket.fleet, head, by, signature).ok_or(Unsigned(head))?;
        self.witness.coordinator_spoke((self.options.clock)());
        self.weigh(claim, Source::Coordinator(by));
        Ok(claim)
    }

    /// Compares a claim whose signature holds with what is here.
    fn weigh(&self, claim: HeadClaim, source: Source) {
        if !self.state().is_some_and(|s| s.is_coordinator(claim.by)) {
            return;
        }
        let ours = self.with_ledger(|ledger| weigh::hash_at(ledger, claim.head.seq));
        match ours {
            Some(hash) if hash == claim.head.hash => self.agree(claim, source),
            Some(_) => self.suspect(claim, source, Vec::new()),
            None => {
                if let Source::Peer(peer) = source {
                    self.witness.note_ahead(claim, peer, (self.options.clock)());
                    // The own coordinator may just be slower.
                    self.behind.notify_one();
                }
            }
        }
    }

    /// A claim lies on our history.
    fn agree(&self, claim: HeadClaim, source: Source) {
        if let Source::Coordinator(coordinator) = source {
            let head = self.head();
            let withheld = head.filter(|head| head.seq > claim.head.seq).map(|head| {
                let name = self.name_of(coordinator);
                format!("the coordinator {name} goes as far as entry {}, and entry {} exists", claim.head.seq, head.seq)
            });
            if let Some(why) = &withheld {
                tracing::warn!(why, "a coordinator holds entries back, or lost them");
            }
            self.witness.set_withheld(withheld);
        }
        if self.witness.hold(claim) == Held::Newest {
            self.say(Said::Claim(claim));
        }
    }

    /// Something contradicts our history: it is looked into.
    pub(crate) fn suspect(&self, claim: HeadClaim, source: Source, shown: Vec<SignedEntry>) {
        let asked_before = shown.is_empty() && self.witness.was_unfounded(&claim);
        if !self.witness.refuses() && !asked_before {
            let _dropped = self.mail.try_send(Mail::Suspicion(claim, source, shown));
        }
    }

    fn say(&self, said: Said) {
        if let Ok(bytes) = postcard::to_stdvec(&said) {
            self.uplink.tell(bytes.into());
        }
    }

    /// What there is to tell a neighbour that is new, or may have missed it.
    fn say_all(&self) {
        if let Some(claim) = self.witness.newest() {
            self.say(Said::Claim(claim));
        }
        if let Some(evidence) = self.evidence() {
            self.say(Said::Alarm(evidence.claims));
        }
    }

    pub(crate) async fn witness_loop(self: &Arc<Self>, mut mail: mpsc::Receiver<Mail>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.options.heartbeat);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut tick = 0_u32;
        let mut chased: Option<Instant> = None;
        let mut written = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {
                    if tick.is_multiple_of(SAY_TICKS) {
                        self.mingle(tick / SAY_TICKS);
                        self.say_all();
                    }
                    tick = tick.wrapping_add(1);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.look_ahead() => {}
                    }
                    self.write_standing(&mut written).await;
                }
                Some(item) = mail.recv() => match item {
                    Mail::Neighbour => self.say_all(),
                    Mail::Heard(from, message) => {
                        let alarm = self.hear(from, &message);
                        let pause = CHASE_PAUSE.min(self.options.heartbeat);
                        if alarm && chased.is_none_or(|at| at.elapsed() >= pause) {
                            tokio::select! {
                                () = stop.cancelled() => return,
                                _ = self.ask_for_evidence(from) => {}
                            }
                            chased = Some(Instant::now());
                        }
                    }
                    Mail::Suspicion(claim, source, shown) => {
                        let asked_before = shown.is_empty() && self.witness.was_unfounded(&claim);
                        if !self.witness.refuses() && !asked_before {
                            tokio::select! {
                                () = stop.cancelled() => return,
                                () = self.chase(claim, source, &shown) => {}
                            }
                        }
                    }
                },
            }
        }
    }

    /// Takes what a neighbour said. True if it has evidence that is worth asking for.
    fn hear(&self, from: NodeId, message: &Bytes) -> bool {
        let Some(state) = self.state() else { return false };
        if !state.is_agent(from) {
            return false;
        }
        let Ok(said) = postcard::from_bytes::<Said>(message) else { return false };
        let sound = |claim: &HeadClaim| claim.fleet == state.fleet() && state.is_coordinator(claim.by) && claim.holds();
        match said {
            Said::Claim(claim) if sound(&claim) => {
                self.witness.peer_spoke((self.options.clock)());
                self.weigh(claim, Source::Peer(from));
                false
            }
            Said::Alarm(claims) if claims.iter().all(sound) => {
                self.witness.peer_spoke((self.options.clock)());
                !self.witness.refuses()
            }
            Said::Claim(_) | Said::Alarm(_) => false,
        }
    }

    /// Looks for neighbours among the fleet's agents: others each time.
    fn mingle(&self, round: u32) {
        let Some(state) = self.state() else { return };
        let me = self.id();
        let mut others: Vec<NodeId> = state.with_role(Role::Agent).map(|(id, _)| id).filter(|id| *id != me).collect();
        // An order that differs from node to node, and from round to round.
        let salt = [me.as_bytes().as_slice(), &round.to_le_bytes()].concat();
        others.sort_by_cached_key(|id| *blake3::hash(&[id.as_bytes().as_slice(), &salt].concat()).as_bytes());
        others.truncate(MINGLE_MAX);
        self.uplink.mingle(others);
    }

    fn alarm(&self, alarm: Alarm) {
        let why = alarm.why.clone();
        self.set_split();
        if self.witness.raise(alarm) {
            tracing::error!(why, "THE LEDGER'S HISTORY IS SPLIT: this node takes no more entries until it is resolved");
            self.say_all();
        }
    }

    fn name_of(&self, coordinator: NodeId) -> String {
        let state = self.state();
        let name = state.as_ref().and_then(|s| s.members().get(&coordinator)).map(|m| m.name.to_string());
        name.unwrap_or_else(|| coordinator.short())
    }

    fn unsure_after(&self) -> Duration {
        self.options.heartbeat * UNSURE_BEATS
    }

    /// Writes how this node stands: into its folder, and into its records where more than a time changed.
    async fn write_standing(&self, written: &mut Option<Standing>) {
        let standing = self.standing();
        let plain = |s: &Standing| Standing {
            at: protocols::Millis(0),
            coordinator_at: None,
            peer_at: None,
            // Otherwise every entry would be a record.
            head: s.head.filter(|_| s.behind_since.is_some()),
            newest: s.newest.filter(|_| s.behind_since.is_some()),
            ..s.clone()
        };
        if written.as_ref().map(plain) != Some(plain(&standing)) && self.is_member() {
            self.write_record(STANDING, &standing);
        }
        let path = self.folder.join(STANDING_FILE);
        let due = written.as_ref().is_none_or(|w| {
            plain(w) != plain(&standing) || w.head != standing.head || standing.at.since(w.at) >= FILE_EVERY
        });
        if due {
            let json = serde_json::to_vec_pretty(&standing).unwrap_or_default();
            let saved = tokio::task::spawn_blocking(move || save(&path, &json)).await;
            if !matches!(saved, Ok(Ok(()))) {
                tracing::debug!("cannot write the status file");
            }
            *written = Some(standing);
        }
    }
}

/// Whether entries may be taken although the alarm was raised: those that end with none of the accused a coordinator.
pub(crate) fn ends_the_alarm(state: &FleetState, entries: &[SignedEntry], accused: &[NodeId]) -> bool {
    let mut state = state.clone();
    for signed in entries {
        let Ok(verified) = signed.clone().verify() else { return false };
        if verified.seq() > state.head().seq && state.apply(&verified).is_err() {
            return false;
        }
    }
    !accused.is_empty() && accused.iter().all(|key| !state.is_coordinator(*key))
}

fn save(path: &std::path::Path, json: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let fresh = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(json)?;
    std::fs::rename(&fresh, path)
}

/// After how many heartbeats without a word from anybody a node is unsure.
const UNSURE_BEATS: u32 = 8;
/// Every so many heartbeats the newest claim is said again, and other neighbours are looked for.
const SAY_TICKS: u32 = 4;
/// How many agents are asked at once to become neighbours.
const MINGLE_MAX: usize = 6;
/// The least time between two questions for evidence.
const CHASE_PAUSE: Duration = Duration::from_secs(5);
/// How often the status file is written although nothing changed.
const FILE_EVERY: Duration = Duration::from_secs(30);
/// How much may wait to be looked into.
pub(crate) const MAIL_MAX: usize = 128;

#[cfg(test)]
mod tests;
