//! A line whose other end lies: what is not signed as it must be is no answer.

use std::sync::Arc;

use failover::{Answer, Attempt, ClusterName, Epoch, LogTime, Outcome, Request, Span};
use protocols::control::Denied;
use protocols::entry::{Founder, Genesis};
use protocols::lease_word::{LeaseWord, PromiseWord};
use protocols::node::{AskPromise, DriverReport};
use protocols::{Body, Digest, Entry, FleetId, FleetState, Millis, NodeId, SecretKey, Signature};
use scores::BoxFuture;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::wire::{Ask, Tell};
use super::{Carried, FarCarrier};
use crate::failover::{Carrier, Workloads};
use crate::hands::wire;

/// Promises whatever it is asked by one node.
struct Promising(NodeId);

impl Workloads for Promising {
    fn promise(&self, from: NodeId, _question: AskPromise) -> BoxFuture<'_, Result<(), Denied>> {
        let given = if from == self.0 { Ok(()) } else { Err(Denied::NotAllowed("be a candidate".into())) };
        Box::pin(std::future::ready(given))
    }

    fn reports(&self, _cluster: Option<ClusterName>) -> BoxFuture<'_, Vec<DriverReport>> {
        Box::pin(std::future::ready(Vec::new()))
    }
}

struct Rig {
    coordinator: SecretKey,
    admin: SecretKey,
    peer: SecretKey,
    node: NodeId,
    fleet: FleetId,
    carrier: Arc<FarCarrier>,
    line: Arc<Carried>,
}

fn rig() -> Rig {
    let [admin, coordinator, peer, node] = [1, 2, 3, 4].map(|seed| SecretKey::from_seed(&[seed; 32]));
    let founder = |key: &SecretKey, name: &str| Founder { key: key.id(), name: name.parse().unwrap() };
    let genesis = Genesis {
        name: "test".parse().unwrap(),
        nonce: Digest::from_bytes([9; 32]),
        admins: vec![founder(&admin, "anna")],
        coordinators: vec![founder(&coordinator, "one")],
        recovery: None,
    };
    let (author, body) = (admin.id(), Body::Genesis(genesis));
    let genesis = Entry { fleet: None, seq: 0, prev: None, at: Millis(1), not_after: None, author, body };
    let state = FleetState::found(&genesis.sign(&admin).unwrap().verify().unwrap()).unwrap();
    let (fleet, node, line) = (state.fleet(), node.id(), Arc::new(Carried::default()));
    let states = watch::Sender::new(Some(Arc::new(state))).subscribe();
    let carrier =
        FarCarrier { node, fleet, states, line: Arc::clone(&line), new_enough: Box::new(|_: &FleetState| true) };
    Rig { coordinator, admin, peer, node, fleet, carrier: Arc::new(carrier), line }
}

/// The other end of a new line.
async fn connect(rig: &Rig) -> (OwnedReadHalf, OwnedWriteHalf, JoinHandle<()>) {
    let (near, far) = UnixStream::pair().unwrap();
    let (line, workloads) = (Arc::clone(&rig.line), Arc::new(Promising(rig.peer.id())) as Arc<dyn Workloads>);
    let (mut reader, mut writer) = far.into_split();
    let served = tokio::spawn(async move {
        let (reader, writer) = near.into_split();
        drop(line.attend(reader, writer, &workloads).await);
    });
    // It is the line of now when it answers.
    wire::write(&mut writer, &Tell::Report { id: 0, cluster: None }).await.unwrap();
    let answer = wire::read::<Ask>(&mut reader).await.unwrap();
    assert_eq!(answer, Some(Ask::Reports { id: 0, reports: Vec::new() }));
    (reader, writer, served)
}

fn cluster(text: &str) -> ClusterName {
    ClusterName::try_from(text.to_owned()).unwrap()
}

fn granted(attempt: Attempt) -> Outcome {
    let answer = Ok(Answer::Granted { epoch: Epoch(7), ttl: Span::from_secs(5) });
    Outcome { at: LogTime::ZERO, attempt: Some(attempt), answer, view: None }
}

const ASKED: Attempt = Attempt { boot: 3, seq: 9 };

#[tokio::test]
async fn a_lease_is_granted_by_a_coordinators_signature_alone() {
    let rig = rig();
    let (mut reader, mut writer, _served) = connect(&rig).await;
    let name = cluster("service/a");
    let word = |key: &SecretKey, fleet, node, name: &str, attempt| {
        LeaseWord::sign(key, fleet, node, &cluster(name), &granted(attempt)).unwrap()
    };
    let good = || word(&rig.coordinator, rig.fleet, rig.node, "service/a", ASKED);
    let stranger = SecretKey::from_seed(&[8; 32]);
    let earlier = Attempt { seq: 8, ..ASKED };
    let lies = [
        None,
        Some(word(&rig.admin, rig.fleet, rig.node, "service/a", ASKED)),
        Some(word(&rig.peer, rig.fleet, rig.node, "service/a", ASKED)),
        Some(word(&stranger, rig.fleet, rig.node, "service/a", ASKED)),
        Some(LeaseWord { by: rig.coordinator.id(), ..word(&stranger, rig.fleet, rig.node, "service/a", ASKED) }),
        Some(word(&rig.coordinator, FleetId::from_bytes([5; 32]), rig.node, "service/a", ASKED)),
        Some(word(&rig.coordinator, rig.fleet, rig.peer.id(), "service/a", ASKED)),
        Some(word(&rig.coordinator, rig.fleet, rig.node, "service/b", ASKED)),
        // A true answer to another request.
        Some(word(&rig.coordinator, rig.fleet, rig.node, "service/a", earlier)),
        Some(LeaseWord { outcome: b"nothing".as_slice().into(), ..good() }),
    ];
    let honest = std::iter::once((Some(good()), true));
    for (word, believed) in lies.into_iter().map(|lie| (lie, false)).chain(honest) {
        let renew = Request::Renew { epoch: Epoch(7), version: 1 };
        let asked = tokio::spawn(rig.carrier.ask_group(name.clone(), ASKED, renew));
        let Some(Ask::Lease { id, attempt, .. }) = wire::read::<Ask>(&mut reader).await.unwrap() else {
            panic!("it asks about a lease");
        };
        assert_eq!(attempt, ASKED);
        // An answer to nothing, and one of another sort, change nothing.
        wire::write(&mut writer, &Tell::Leased { id: id + 77, word: Some(good()) }).await.unwrap();
        wire::write(&mut writer, &Tell::Promised { id, signature: None }).await.unwrap();
        wire::write(&mut writer, &Tell::Leased { id, word: word.clone() }).await.unwrap();
        let outcome = asked.await.unwrap();
        assert_eq!(outcome, believed.then(|| granted(ASKED)), "{word:?}");
    }
}

#[tokio::test]
async fn a_promise_counts_with_its_givers_signature_alone() {
    let rig = rig();
    let (mut reader, mut writer, _served) = connect(&rig).await;
    let term = Span::from_secs(5);
    let question = AskPromise { cluster: cluster("service/a"), attempt: ASKED, epoch: Epoch(7), term };
    let word = PromiseWord { fleet: rig.fleet, holder: rig.node, question: &question };
    let longer = AskPromise { term: Span::from_secs(6), ..question.clone() };
    let answers: [(Option<Signature>, bool); 5] = [
        (None, false),
        (Some(word.sign(&rig.admin)), false),
        (Some(PromiseWord { question: &longer, ..word }.sign(&rig.peer)), false),
        (Some(PromiseWord { holder: rig.peer.id(), ..word }.sign(&rig.peer)), false),
        (Some(word.sign(&rig.peer)), true),
    ];
    for (signature, counts) in answers {
        let asked = tokio::spawn(rig.carrier.ask_peer(rig.peer.id(), question.clone()));
        let Some(Ask::Peer { id, to, question: carried }) = wire::read::<Ask>(&mut reader).await.unwrap() else {
            panic!("it asks for a promise");
        };
        assert_eq!((to, &carried), (rig.peer.id(), &question));
        wire::write(&mut writer, &Tell::Promised { id, signature }).await.unwrap();
        assert_eq!(asked.await.unwrap(), counts);
    }
}

#[tokio::test]
async fn a_newer_line_takes_the_place_and_none_is_no_answer() {
    let rig = rig();
    let ask = || rig.carrier.ask_group(cluster("service/a"), ASKED, Request::Follow { epoch: Epoch(7) });
    assert_eq!(ask().await, None, "nobody carries");
    let (_reader, _writer, first) = connect(&rig).await;
    let waiting = tokio::spawn(ask());
    let (mut reader, writer, second) = connect(&rig).await;
    first.await.unwrap();
    assert_eq!(waiting.await.unwrap(), None, "its line is gone");
    let waiting = tokio::spawn(ask());
    assert!(matches!(wire::read::<Ask>(&mut reader).await.unwrap(), Some(Ask::Lease { .. })));
    drop((reader, writer));
    assert_eq!(waiting.await.unwrap(), None, "its line is gone");
    second.await.unwrap();
}

#[tokio::test]
async fn a_flood_of_questions_ends_the_line() {
    let rig = rig();
    let (mut reader, mut writer, served) = connect(&rig).await;
    let term = Span::from_secs(5);
    let question = AskPromise { cluster: cluster("service/a"), attempt: ASKED, epoch: Epoch(7), term };
    for id in 1..3 {
        let from = if id == 1 { rig.peer.id() } else { rig.node };
        wire::write(&mut writer, &Tell::Asked { id, from, question: question.clone() }).await.unwrap();
        let Some(Ask::Given { result, .. }) = wire::read::<Ask>(&mut reader).await.unwrap() else {
            panic!("it answers");
        };
        assert_eq!(result.is_ok(), id == 1);
    }
    // Nothing is read of what is answered, so that answers wait.
    let mut id = 10;
    while wire::write(&mut writer, &Tell::Report { id, cluster: None }).await.is_ok() && !served.is_finished() {
        id += 1;
    }
    served.await.unwrap();
}
