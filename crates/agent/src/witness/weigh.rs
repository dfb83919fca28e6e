//! What entries that somebody shows mean for the history that is here: pure, but for reading the ledger.

use protocols::fork::{BRANCH_ENTRIES_MAX, ForkProof};
use protocols::store::Ledger;
use protocols::{EntryHash, FleetState, ForkEvidence, HeadClaim, Refusal, SignedEntry};

/// What a run of entries is to our history.
#[derive(Debug)]
pub(crate) enum Branch {
    /// All of it is here.
    Same,
    /// It goes on where ours ends: these are not here.
    Extends(Vec<SignedEntry>),
    /// It leaves ours at a place that is taken, and could have stood there: these are the entries from that place on.
    Leaves { place: u64, entries: Vec<SignedEntry> },
    /// It does not lead to what was signed for: there may be more.
    Short,
    /// Where it comes from is not shown.
    Unlinked,
    /// It is no history at all, or none that could follow ours.
    Unsound(String),
}

/// The hash of the entry in a place of the ledger. A disk that cannot be read knows nothing.
pub(crate) fn hash_at(ledger: &Ledger, seq: u64) -> Option<EntryHash> {
    if ledger.head()?.seq < seq {
        return None;
    }
    ledger.range(seq, 1, usize::MAX).ok()?.first().map(SignedEntry::hash)
}

/// Compares entries that claim to end with `claim` with ours.
pub(crate) fn compare(ledger: &Ledger, entries: &[SignedEntry], claim: &HeadClaim) -> Branch {
    let Some(ours) = ledger.head() else { return Branch::Unlinked };
    let mut verified = Vec::with_capacity(entries.len());
    for signed in entries {
        let entry = match signed.clone().verify() {
            Ok(entry) => entry,
            Err(error) => return Branch::Unsound(error.to_string()),
        };
        if entry.seq() > claim.head.seq {
            break;
        }
        verified.push(entry);
    }
    if verified.last().is_none_or(|last| last.seq() != claim.head.seq || last.hash() != claim.head.hash) {
        return Branch::Short;
    }
    let chained = verified.windows(2).all(|two| match two {
        [one, next] => one.seq().checked_add(1) == Some(next.seq()) && next.entry().prev == Some(one.hash()),
        _ => false,
    });
    if !chained {
        return Branch::Unsound("the entries do not follow each other".into());
    }
    let Some(at) = verified.iter().position(|entry| hash_at(ledger, entry.seq()) != Some(entry.hash())) else {
        return Branch::Same;
    };
    let first = &verified[at];
    let place = first.seq();
    let linked = place > 0 && first.entry().prev.is_some() && first.entry().prev == hash_at(ledger, place - 1);
    if !linked {
        return Branch::Unlinked;
    }
    let rest: Vec<SignedEntry> = verified[at..].iter().map(|entry| entry.signed().clone()).collect();
    if place > ours.seq {
        return Branch::Extends(rest);
    }
    match refused(ledger, place, &rest) {
        Some(why) => Branch::Unsound(why),
        None => Branch::Leaves { place, entries: rest },
    }
}

/// Why entries could not stand from a place on; nothing if they could.
fn refused(ledger: &Ledger, place: u64, entries: &[SignedEntry]) -> Option<String> {
    let Some(mut state) = state_before(ledger, place) else { return Some("this node's ledger cannot be read".into()) };
    for signed in entries {
        let verified = match signed.clone().verify() {
            Ok(verified) => verified,
            Err(error) => return Some(error.to_string()),
        };
        if let Err(refusal) = state.apply(&verified) {
            return Some(format!("entry {}: {refusal}", verified.seq()));
        }
    }
    None
}

/// Why an entry could not have stood at a place of the ledger; nothing if it could, or if the disk cannot tell.
pub(crate) fn refused_at(ledger: &Ledger, seq: u64, entry: &SignedEntry) -> Option<Refusal> {
    let verified = entry.clone().verify().ok()?;
    state_before(ledger, seq)?.apply(&verified).err()
}

/// The state before a place. A disk that cannot be read proves nothing against anybody.
fn state_before(ledger: &Ledger, seq: u64) -> Option<FleetState> {
    let mut state: Option<FleetState> = None;
    let mut next = 0;
    while next < seq {
        let count = usize::try_from(seq - next).unwrap_or(usize::MAX).min(REPLAY_ENTRIES);
        let batch = ledger.range(next, count, REPLAY_BYTES).ok().filter(|b| !b.is_empty());
        for signed in batch? {
            let verified = signed.verify().ok()?;
            match &mut state {
                None => state = Some(FleetState::found(&verified).ok()?),
                Some(state) => state.apply(&verified).ok()?,
            }
            next += 1;
        }
    }
    state
}

/// Evidence from a claim whose entries leave our history at `place`, and the claims that we hold for ours: best of the same
/// coordinator.
pub(crate) fn evidence(
    ledger: &Ledger,
    claim: HeadClaim,
    place: u64,
    theirs: &[SignedEntry],
    held: &[HeadClaim],
) -> Option<(ForkEvidence, ForkProof)> {
    let mut ours: Vec<HeadClaim> = held.iter().filter(|c| c.head.seq >= place).copied().collect();
    ours.sort_by_key(|c| (c.by != claim.by, c.head.seq.abs_diff(claim.head.seq)));
    let theirs = &theirs[theirs.len().saturating_sub(BRANCH_ENTRIES_MAX)..];
    ours.into_iter().find_map(|mine| {
        let most = BRANCH_ENTRIES_MAX as u64;
        let from = place.max((mine.head.seq + 1).saturating_sub(most));
        let count = usize::try_from(mine.head.seq + 1 - from).ok()?;
        let branch = ledger.range(from, count, EVIDENCE_BYTES).ok().filter(|b| b.len() == count);
        // Too much to attach: where the places are the same, the claims alone are proof.
        let branches = [theirs.to_vec(), branch.unwrap_or_default()];
        ForkEvidence::new([claim, mine], branches)
            .or_else(|_| ForkEvidence::new([claim, mine], [Vec::new(), Vec::new()]))
            .ok()
            .filter(|(evidence, _)| evidence.to_json().is_ok())
    })
}

/// How many entries, and how many bytes of them, are read at once to look at an older state.
const REPLAY_ENTRIES: usize = 1024;
const REPLAY_BYTES: usize = 8 * 1024 * 1024;
/// The most bytes of our own branch in evidence.
const EVIDENCE_BYTES: usize = 2 * 1024 * 1024;
