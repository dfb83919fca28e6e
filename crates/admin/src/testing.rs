//! Fleets for tests, and a coordinator in memory that can be told to misbehave.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use protocols::Client;
use protocols::control::{
    Control, ControlMessage, Denied, NodeReport, OfferProgress, Receipt, SubmitError, TailBatch, Welcome,
};
use protocols::entry::{Enroll, Founder, Payload, Publish, Role};
use protocols::store::{Ledger, Store};
use protocols::{Body, Digest, FleetId, FleetState, HeadClaim, Millis, SecretKey, SignedEntry};

use crate::author::{Author, Intent};
use crate::found::{Founded, found};
use crate::session::Session;
use crate::workspace::Workspace;

/// A moment for entries.
pub(crate) const NOW: Millis = Millis(1_800_000_000_000);

/// A fleet of one admin and one coordinator.
pub(crate) fn fleet() -> (SecretKey, Founded) {
    let (key, coordinator) = (SecretKey::from_seed(&[1; 32]), coordinator_key());
    let coordinators = vec![Founder { key: coordinator.id(), name: "coordinator-1".parse().unwrap() }];
    let nonce = Digest::from_bytes([3; 32]);
    let founded = found("acme".parse().unwrap(), "anna".parse().unwrap(), &key, coordinators, nonce, NOW).unwrap();
    (key, founded)
}

/// The coordinator's key.
pub(crate) fn coordinator_key() -> SecretKey {
    SecretKey::from_seed(&[2; 32])
}

/// An agent's key by number.
pub(crate) fn node_key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[100 + n; 32])
}

/// Enrols `edge-N` with labels.
pub(crate) fn enroll(n: u8, labels: &[(&str, &str)]) -> Body {
    Body::Enroll(Enroll {
        key: node_key(n).id(),
        name: format!("edge-{n}").parse().unwrap(),
        role: Role::Agent,
        labels: labels.iter().map(|(k, v)| (k.parse().unwrap(), (*v).to_owned())).collect(),
        replaces: None,
    })
}

/// Publishes a file below `/root`.
pub(crate) fn publish(name: &str, on: &str, root: &str, content: &str) -> Body {
    let payload = serde_json::json!({"entries": {"f": {"content": content}}, "root": root}).to_string();
    Body::Publish(Publish {
        name: name.parse().unwrap(),
        on: on.parse().unwrap(),
        kind: "files/1".parse().unwrap(),
        subject: format!("files{root}").parse().unwrap(),
        policy: protocols::Policy::default(),
        payload: Payload::from_json(payload).unwrap(),
        artifacts: Vec::new(),
        note: None,
    })
}

/// The state after some bodies, all signed by the admin.
pub(crate) fn state_after(bodies: &[Body]) -> FleetState {
    let (key, founded) = fleet();
    let author = Author::new(key);
    let mut state = founded.state;
    for body in bodies {
        state = author.sign(&state, &Intent::Enter(body.clone()), NOW).unwrap().1;
    }
    state
}

/// A coordinator in memory, on a real ledger.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    inner: Arc<Mutex<Inner>>,
    pub(crate) client: Client<Control>,
    pub(crate) fleet: FleetId,
    pub(crate) key: SecretKey,
}

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    faults: BTreeSet<Fault>,
    /// Entered just before the next submission is looked at, as another admin's would be.
    rivals: Vec<Body>,
    reports: Vec<NodeReport>,
    submissions: usize,
    admin: Author,
}

/// What the coordinator does wrong, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It appends and then says nothing.
    LoseAnswer,
    /// It does not even append.
    LoseRequest,
    /// It alters an entry on the way.
    TamperTail,
    /// It calls everything stale.
    AlwaysStale,
    /// It sends an entry that nobody was allowed to make.
    ForgeTail,
    /// It gives up on offers.
    DropOffer,
}

impl Fake {
    /// Starts on a folder.
    pub(crate) fn start(dir: &Path) -> Self {
        let (key, founded) = fleet();
        let store = Arc::new(Store::open(&dir.join("coordinator")).unwrap());
        let mut ledger = Ledger::open(store, None).unwrap();
        ledger.found(founded.genesis, founded.fleet).unwrap();
        let inner = Inner {
            ledger,
            faults: BTreeSet::new(),
            rivals: Vec::new(),
            reports: Vec::new(),
            submissions: 0,
            admin: Author::new(key.clone()),
        };
        let inner = Arc::new(Mutex::new(inner));
        let (tx, mut rx) = tokio::sync::mpsc::channel::<ControlMessage>(16);
        let serving = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Some(message) = rx.recv().await {
                handle(&serving, message).await;
            }
        });
        Self { inner, client: Client::from(irpc::Client::local(tx)), fleet: founded.fleet, key }
    }

    /// An admin's session with a folder of its own.
    pub(crate) fn session(&self, dir: &Path) -> Session {
        let author = Author::new(self.key.clone());
        Session::open(Workspace::new(dir), self.fleet, author, self.client.clone()).unwrap()
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.inner.lock().unwrap().faults.insert(fault);
    }

    pub(crate) fn rival(&self, body: Body) {
        self.inner.lock().unwrap().rivals.push(body);
    }

    pub(crate) fn enter(&self, body: Body) {
        self.inner.lock().unwrap().enter(body);
    }

    pub(crate) fn report(&self, report: NodeReport) {
        self.inner.lock().unwrap().reports.push(report);
    }

    pub(crate) fn submissions(&self) -> usize {
        self.inner.lock().unwrap().submissions
    }

    pub(crate) fn entries(&self) -> Vec<SignedEntry> {
        self.inner.lock().unwrap().ledger.range(0, usize::MAX, usize::MAX).unwrap()
    }
}

impl Inner {
    fn enter(&mut self, body: Body) {
        let state = self.ledger.state().unwrap().clone();
        let (entry, _) = self.admin.sign(&state, &Intent::Enter(body), NOW).unwrap();
        self.ledger.append(vec![entry.signed().clone()]).unwrap();
    }

    fn submit(&mut self, entry: SignedEntry) -> Option<Result<Receipt, SubmitError>> {
        self.submissions += 1;
        for rival in std::mem::take(&mut self.rivals) {
            self.enter(rival);
        }
        let head = self.ledger.head().unwrap();
        if self.faults.contains(&Fault::AlwaysStale) {
            return Some(Err(SubmitError::StaleHead { head }));
        }
        if self.faults.remove(&Fault::LoseRequest) {
            return None;
        }
        let Ok(verified) = entry.clone().verify() else { return Some(Err(SubmitError::Unverified("no".into()))) };
        if verified.entry().prev != Some(head.hash) {
            return Some(Err(SubmitError::StaleHead { head }));
        }
        let answer = match self.ledger.append(vec![entry]) {
            Ok(Some(head)) => Ok(Receipt { head }),
            Ok(None) => Err(SubmitError::Storage("empty".into())),
            Err(protocols::store::LedgerError::Refused { refusal, .. }) => Err(SubmitError::Refused(refusal)),
            Err(error) => Err(SubmitError::Storage(error.to_string())),
        };
        (!self.faults.remove(&Fault::LoseAnswer)).then_some(answer)
    }

    fn tail(&mut self, after: Option<protocols::Head>) -> TailBatch {
        let tail = self.ledger.tail(after, usize::MAX, usize::MAX).unwrap().unwrap();
        let mut entries = tail.entries;
        if self.faults.remove(&Fault::TamperTail)
            && let Some(last) = entries.last_mut()
        {
            let text = String::from_utf8(last.bytes.to_vec()).unwrap().replace("edge-", "edgy-");
            last.bytes = text.into_bytes().into();
        }
        if self.faults.remove(&Fault::ForgeTail) {
            let state = self.ledger.state().unwrap();
            let head = state.head();
            let stranger = SecretKey::from_seed(&[77; 32]);
            let entry = protocols::Entry {
                fleet: Some(state.fleet()),
                seq: head.seq + 1,
                prev: Some(head.hash),
                at: NOW,
                not_after: None,
                author: stranger.id(),
                body: publish("evil/x", "*", "/etc", "evil"),
            };
            entries.push(entry.sign(&stranger).unwrap());
        }
        let fleet = self.ledger.state().unwrap().fleet();
        let claim = Some(HeadClaim::sign(&coordinator_key(), fleet, tail.head).signature);
        TailBatch { entries, head: tail.head, claim, end: None }
    }
}

async fn handle(inner: &Arc<Mutex<Inner>>, message: ControlMessage) {
    match message {
        ControlMessage::Hello(request) => {
            let welcome = {
                let inner = inner.lock().unwrap();
                let state = inner.ledger.state().unwrap();
                let head = state.head();
                let (fleet, version) = (state.fleet(), "test".into());
                let claim = HeadClaim::sign(&coordinator_key(), fleet, head).signature;
                Welcome { fleet, head, claim, document: None, clock: NOW, version }
            };
            drop(request.tx.send(Ok(welcome)).await);
        }
        ControlMessage::Tail(request) => {
            let batch = inner.lock().unwrap().tail(request.after);
            drop(request.tx.send(batch).await);
        }
        ControlMessage::Submit(request) => {
            let answer = inner.lock().unwrap().submit(request.0.clone());
            if let Some(answer) = answer {
                drop(request.tx.send(answer).await);
            }
        }
        ControlMessage::Report(request) => {
            let reports: Vec<NodeReport> = inner.lock().unwrap().reports.clone();
            for report in reports.into_iter().filter(|r| request.nodes.is_empty() || request.nodes.contains(&r.node)) {
                drop(request.tx.send(Ok(report)).await);
            }
        }
        ControlMessage::Offer(request) => {
            let of = request.blobs.len() as u64;
            let dropped = inner.lock().unwrap().faults.remove(&Fault::DropOffer);
            let blobs = if dropped { of - 1 } else { of };
            drop(request.tx.send(Ok(OfferProgress { blobs, of, bytes: 3 })).await);
        }
        ControlMessage::Locate(request) => drop(request.tx.send(Ok(None)).await),
        ControlMessage::Ticket(request) => {
            drop(request.tx.send(Err(Denied::Unavailable("no ticket here".into()))).await);
        }
        other => panic!("no test asks for {other:?}"),
    }
}
