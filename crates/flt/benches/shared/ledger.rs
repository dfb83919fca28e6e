//! A ledger that is written without a coordinator, for programs that measure what is done with one.

use std::path::Path;
use std::sync::Arc;

use protocols::store::{Ledger, Store};
use protocols::{Body, Entry, FleetState, SecretKey, SignedEntry};

/// Signs and appends an entry.
pub(crate) fn enter(log: &mut Vec<SignedEntry>, state: &mut FleetState, author: &SecretKey, body: Body) {
    let (head, at) = (state.head(), state.time());
    let (fleet, seq, prev) = (Some(state.fleet()), head.seq + 1, Some(head.hash));
    let signed = Entry { fleet, seq, prev, at, not_after: None, author: author.id(), body }.sign(author).unwrap();
    state.apply(&signed.clone().verify().unwrap()).unwrap();
    log.push(signed);
}

/// Puts a ledger into a folder, as many entries at once as said.
pub(crate) fn store(dir: &Path, log: &[SignedEntry], batch: usize) {
    let state = FleetState::found(&log[0].clone().verify().unwrap()).unwrap();
    let mut ledger = Ledger::open(Arc::new(Store::open(dir).unwrap()), None).unwrap();
    ledger.found(log[0].clone(), state.fleet()).unwrap();
    for entries in log[1..].chunks(batch) {
        ledger.append(entries.to_vec()).unwrap();
    }
}
