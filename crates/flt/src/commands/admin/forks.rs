//! `flt admin verify --fork`: whether everybody tells the same history, and what evidence that somebody does not proves.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use protocols::control::Hello;
use protocols::entry::{Head, Role};
use protocols::fork::FORK_BYTES_MAX;
use protocols::node::{AskWitness, GetChain};
use protocols::standing::CHAIN_ENTRIES_MAX;
use protocols::store::Ledger;
use protocols::{FleetId, FleetState, ForkEvidence, HeadClaim, Name, NodeId, PeerAddr, SignedEntry};
use serde::Serialize;

use super::context::{Admin, Online, told};
use crate::output::{Style, Table, View};
use crate::report::{Advise as _, Code};

/// How long one member may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How many members are asked at a time.
const AT_ONCE: usize = 16;

/// What evidence in a file proves.
#[derive(Debug, Serialize)]
struct ProofView {
    fleet: String,
    /// Always true: what proves nothing is an error.
    proven: bool,
    what: String,
    /// Histories differ at this place at the latest.
    by_entry: u64,
    signers: Vec<Signer>,
    entries: usize,
}

#[derive(Debug, Serialize)]
struct Signer {
    key: NodeId,
    /// What the fleet's ledger on this machine calls it; nothing if it knows no such coordinator, or there is none.
    coordinator: Option<Name>,
    entry: u64,
    hash: String,
}

impl View for ProofView {
    const SCHEMA: &'static str = "flt.fork-proof/1";

    fn text(&self, _style: &Style) -> String {
        let mut text = format!("PROVEN: {}\n", self.what);
        for signer in &self.signers {
            let who = signer.coordinator.as_ref().map_or_else(
                || "a key that the ledger here does not know as a coordinator".to_owned(),
                |name| format!("the coordinator {name}"),
            );
            text.push_str(&format!("  entry {} {}  signed by {}, {who}\n", signer.entry, signer.hash, signer.key));
        }
        text
    }
}

/// Judges evidence in a file. Needs no network.
pub(super) fn verify_file(file: &Path, fleet: Option<FleetId>, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let shown = file.display();
    let size = std::fs::metadata(file).with_context(|| format!("cannot read {shown}"))?.len();
    if size > FORK_BYTES_MAX as u64 {
        return Err(anyhow!("{shown} has {size} bytes, and evidence has at most {FORK_BYTES_MAX}"));
    }
    let json = std::fs::read(file).with_context(|| format!("cannot read {shown}"))?;
    let fleet = match fleet {
        Some(fleet) => fleet,
        None => admin.ticket().map(|ticket| ticket.fleet).hint("name the fleet: --fleet FLEET-ID")?,
    };
    let evidence = ForkEvidence::from_json(&json).with_context(|| format!("cannot use {shown}"))?;
    let proof = evidence.verify(fleet).with_context(|| format!("{shown} proves nothing"))?;
    let state = admin.workspace.ledger(Some(fleet)).ok().and_then(|ledger| ledger.state().cloned());
    let signer = |claim: &HeadClaim| Signer {
        key: claim.by,
        coordinator: state.as_ref().and_then(|s| coordinator_name(s, claim.by)),
        entry: claim.head.seq,
        hash: claim.head.hash.to_string(),
    };
    admin.out.view(&ProofView {
        fleet: fleet.to_string(),
        proven: true,
        what: proof.to_string(),
        by_entry: proof.by_place,
        signers: proof.claims.iter().map(signer).collect(),
        entries: evidence.branches.iter().map(Vec::len).sum(),
    })?;
    Ok(Code::Done)
}

fn coordinator_name(state: &FleetState, key: NodeId) -> Option<Name> {
    state.members().get(&key).filter(|m| m.role == Role::Coordinator).map(|m| m.name.clone())
}

/// One member's word on how far the ledger goes.
#[derive(Debug, Clone, Serialize)]
struct WordRow {
    name: Name,
    role: Role,
    /// What it says to be the newest.
    head: Option<u64>,
    verdict: Verdict,
    note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// Its head lies on the history that is here, or goes on from it.
    Same,
    /// It has another history.
    Split,
    /// It could not be asked.
    Unreached,
    /// It said something that cannot be checked.
    Unsure,
}

#[derive(Debug, Serialize)]
struct WordsView {
    fleet: String,
    /// The newest entry that is here.
    head: u64,
    /// Whether all that were reached lie on one history.
    one_history: bool,
    members: Vec<WordRow>,
    /// Evidence that was found, as files.
    evidence: Vec<String>,
}

impl View for WordsView {
    const SCHEMA: &'static str = "flt.fork-check/1";

    fn text(&self, style: &Style) -> String {
        let mut table = Table::new(&["NAME", "ROLE", "HEAD", "HISTORY", "NOTE"]);
        for row in &self.members {
            let history = match row.verdict {
                Verdict::Same => "same",
                Verdict::Split => "SPLIT",
                Verdict::Unreached => "unreached",
                Verdict::Unsure => "unsure",
            };
            let role = match row.role {
                Role::Agent => "agent",
                Role::Coordinator => "coordinator",
            };
            let head = row.head.map(|h| h.to_string()).unwrap_or_default();
            table.row([row.name.to_string(), role.into(), head, history.into(), row.note.clone()]);
        }
        let reached = self.members.iter().filter(|row| row.verdict != Verdict::Unreached).count();
        let mut text = table.text(style);
        if self.one_history {
            text.push_str(&format!("\nok: the {reached} members that answered lie on one history\n"));
        } else {
            text.push_str("\nTHE HISTORY IS SPLIT\n");
        }
        for file in &self.evidence {
            text.push_str(&format!("evidence: {file}\n"));
        }
        text
    }
}

/// Asks every member that can be reached how far its ledger goes, and compares.
pub(super) async fn ask_around(admin: &Admin<'_>) -> anyhow::Result<Code> {
    let online = admin.online().await?;
    let result = ask_all(&online).await;
    online.close().await;
    result
}

/// What somebody said.
struct Word {
    head: Option<Head>,
    claims: Vec<HeadClaim>,
    evidence: Option<String>,
    note: String,
    /// Entries of it from a place on, to compare where it goes further.
    more: Option<Vec<SignedEntry>>,
}

async fn ask_all(online: &Online<'_>) -> anyhow::Result<Code> {
    let state = online.state()?;
    let ledger = online.admin.workspace.ledger(Some(state.fleet())).context("cannot read the copy of the ledger")?;
    let members: Vec<(NodeId, Name, Role)> =
        state.members().iter().map(|(id, member)| (*id, member.name.clone(), member.role)).collect();
    let (mut rows, mut evidence) = (Vec::new(), Vec::new());
    for some in members.chunks(AT_ONCE) {
        let asked = some.iter().map(|(id, _, role)| ask(online, *id, *role, state.head().seq));
        let words = all_of(asked).await;
        for ((id, name, role), word) in some.iter().zip(words) {
            let row = match word {
                None => WordRow {
                    name: name.clone(),
                    role: *role,
                    head: None,
                    verdict: Verdict::Unreached,
                    note: String::new(),
                },
                Some(word) => {
                    evidence.extend(keep_evidence(online, &state, *id, &word)?);
                    judge(&ledger, &state, name, *role, &word)
                }
            };
            rows.push(row);
        }
    }
    rows.sort_by(|a, b| (a.role != Role::Coordinator, &a.name).cmp(&(b.role != Role::Coordinator, &b.name)));
    let one_history = rows.iter().all(|row| row.verdict != Verdict::Split) && evidence.is_empty();
    let out = online.admin.out;
    let view =
        WordsView { fleet: state.fleet().to_string(), head: state.head().seq, one_history, members: rows, evidence };
    out.view(&view)?;
    if let Some(file) = view.evidence.first() {
        out.hint(format!("show it to anybody: flt admin verify --fork {file} --fleet {}", state.fleet()));
    }
    Ok(if one_history { Code::Done } else { Code::Failed })
}

/// Waits for all of them.
async fn all_of<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut left = false;
        for (future, slot) in pending.iter_mut().zip(&mut done).filter(|(_, slot)| slot.is_none()) {
            match future.as_mut().poll(context) {
                std::task::Poll::Ready(value) => *slot = Some(value),
                std::task::Poll::Pending => left = true,
            }
        }
        if left { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    done.into_iter().flatten().collect()
}

async fn ask(online: &Online<'_>, id: NodeId, role: Role, ours: u64) -> Option<Word> {
    if role == Role::Coordinator {
        let answer = tokio::time::timeout(ANSWER_WITHIN, online.link.control_of(id).rpc(Hello)).await;
        let welcome = answer.ok()?.ok()?.ok()?;
        let claim = HeadClaim::checked(welcome.fleet, welcome.head, id, welcome.claim);
        let note = if claim.is_none() { "it does not sign for what it says".to_owned() } else { String::new() };
        return Some(Word {
            head: Some(welcome.head),
            claims: claim.into_iter().collect(),
            evidence: None,
            note,
            more: None,
        });
    }
    let at = told(online.session.locate(id).await).ok().flatten().unwrap_or_else(|| PeerAddr::unknown(id));
    let client = online.link.node(at);
    let answer = tokio::time::timeout(ANSWER_WITHIN, client.rpc(AskWitness)).await;
    let testimony = answer.ok()?.ok()?.ok()?;
    let more = match testimony.head {
        Some(head) if head.seq > ours => {
            let answer = tokio::time::timeout(ANSWER_WITHIN, client.rpc(GetChain { from: ours })).await;
            answer.ok().and_then(Result::ok).and_then(Result::ok)
        }
        _ => None,
    };
    let note = testimony.standing.refuses.or(testimony.standing.withheld).unwrap_or_else(|| {
        if testimony.standing.unsure { "cannot know whether it has the newest".into() } else { String::new() }
    });
    Some(Word { head: testimony.head, claims: testimony.claims, evidence: testimony.evidence, note, more })
}

/// Compares what a member said with the history that is here.
fn judge(ledger: &Ledger, state: &FleetState, name: &Name, role: Role, word: &Word) -> WordRow {
    let ours = state.head();
    let at = |seq: u64| ledger.range(seq, 1, usize::MAX).ok().and_then(|e| e.first().map(SignedEntry::hash));
    let sound = |claim: &&HeadClaim| claim.fleet == state.fleet() && claim.holds() && state.is_coordinator(claim.by);
    let heads = word.head.into_iter().chain(word.claims.iter().filter(sound).map(|c| c.head));
    let mut verdict = Verdict::Same;
    for head in heads {
        if head.seq <= ours.seq {
            if at(head.seq) != Some(head.hash) {
                verdict = Verdict::Split;
            }
        } else if verdict == Verdict::Same && role == Role::Agent {
            // The first of its entries is the newest of ours, if it goes on from there.
            verdict = match word.more.as_ref().map(|more| more.iter().take(CHAIN_ENTRIES_MAX).next()) {
                Some(Some(first)) if first.hash() == ours.hash => Verdict::Same,
                Some(Some(_)) => Verdict::Split,
                _ => Verdict::Unsure,
            };
        }
    }
    WordRow { name: name.clone(), role, head: word.head.map(|h| h.seq), verdict, note: word.note.clone() }
}

/// Writes down the evidence that a member has, if it proves anything.
fn keep_evidence(online: &Online<'_>, state: &FleetState, from: NodeId, word: &Word) -> anyhow::Result<Option<String>> {
    let Some(json) = &word.evidence else { return Ok(None) };
    let Ok(evidence) = ForkEvidence::from_json(json.as_bytes()) else { return Ok(None) };
    let Ok(proof) = evidence.verify(state.fleet()) else { return Ok(None) };
    if !proof.claims.iter().all(|claim| state.is_coordinator(claim.by) || state.revoked().contains_key(&claim.by)) {
        return Ok(None);
    }
    let file = online.admin.workspace.dir().join(format!("fork-{}-{}.json", proof.by_place, from.short()));
    std::fs::write(&file, json).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Some(file.display().to_string()))
}
