//! What members say they have seen: it holds an order back that may be behind, and never one that knows better.

use admin::session::SubmitFailure;
use protocols::control::{SendBeat, Submit, SubmitError};
use protocols::enroll::{EnrollError, SubmitRecovery};
use protocols::entry::{Enroll, Head, Recover, Role, Rotate};
use protocols::heartbeat::Beat;
use protocols::{Body, Digest, EntryHash, Labels, PeerAddr, SecretKey, alpn};

use crate::fleet::rig::{Raw, Rig, entry_after, name};

/// An agent says that it has this entry.
async fn says(agent: &Raw, head: Head) {
    let beat = Beat {
        number: 1,
        head,
        records: Digest::from_bytes([0; 32]),
        addr: PeerAddr::unknown(agent.key.id()),
        document: None,
    };
    agent.control().rpc(SendBeat(beat)).await.unwrap().unwrap();
}

fn another(of: &str) -> Body {
    let key = SecretKey::generate().id();
    Body::Enroll(Enroll { key, name: name(of), role: Role::Agent, labels: Labels::new(), replaces: None })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_seen_more_holds_an_order_back_that_has_just_started_and_no_other() {
    let mut rig = Rig::found().await;
    rig.enroll("edge-1", Labels::new()).await;
    let beyond = |seq| Head { seq, hash: EntryHash::from_bytes([9; 32]) };
    let agent = rig.raw(rig.keys["edge-1"].clone()).await;
    // It has ordered since it started: nobody can have seen more, whatever they say.
    for seq in [rig.state().head().seq + 1, u64::MAX] {
        says(&agent, beyond(seq)).await;
        rig.admin.enter(another(&format!("edge-{}", seq % 1000 + 10))).await;
    }
    agent.mesh.close().await;
    rig.stop_coordinator().await;
    rig.start_coordinator().await;
    // Now its ledger may be an old copy, for all that it knows.
    let agent = rig.raw(rig.keys["edge-1"].clone()).await;
    let head = rig.state().head();
    says(&agent, beyond(head.seq + 5)).await;
    let failure = rig.admin.try_enter(another("edge-7")).await.unwrap_err();
    let SubmitFailure::Rejected(SubmitError::Withheld { why }) = failure else { panic!("{failure}") };
    assert!(why.contains(&format!("edge-1 has seen entry {}", head.seq + 5)), "{why}");
    assert_eq!(rig.state().head(), head, "nothing was appended");
    // What it takes back holds nothing.
    says(&agent, head).await;
    rig.admin.enter(another("edge-7")).await;
    agent.mesh.close().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_hand_in_a_new_key_of_their_own_and_strangers_a_recovery_and_nothing_else() {
    let mut rig = Rig::found().await;
    rig.enroll("edge-1", Labels::new()).await;
    rig.enroll("edge-2", Labels::new()).await;
    let (agent, key) = (rig.raw(rig.keys["edge-1"].clone()).await, rig.keys["edge-1"].clone());
    let (fleet, new) = (rig.fleet, SecretKey::generate());
    let admin = rig.admin.session.author().key().clone();
    let submit = async |entry| agent.control().rpc(Submit(entry)).await.unwrap();
    // A sound entry of an admin's, brought by an agent; and another agent's new key.
    let error = submit(entry_after(&rig.state(), &admin, another("edge-9"))).await.unwrap_err();
    assert!(matches!(error, SubmitError::Denied(_)), "{error}");
    let other = rig.keys["edge-2"].clone();
    let rotate = |old: &SecretKey| Body::Rotate(Rotate::new(fleet, old.id(), &new));
    let error = submit(entry_after(&rig.state(), &other, rotate(&other))).await.unwrap_err();
    assert!(matches!(error, SubmitError::Denied(_)), "{error}");
    // The old key is cut off at once, perhaps before the answer is there.
    drop(agent.control().rpc(Submit(entry_after(&rig.state(), &key, rotate(&key)))).await);
    assert!(rig.state().is_agent(new.id()) && !rig.state().is_agent(key.id()));
    // A stranger.
    let stranger = rig.raw(SecretKey::generate()).await;
    let client: protocols::Client<protocols::enroll::Enrollment> =
        stranger.mesh.client(stranger.coordinator(), alpn::ENROLL);
    let hand_in = async |entry| client.rpc(SubmitRecovery(entry)).await.unwrap().unwrap_err();
    let error = hand_in(entry_after(&rig.state(), &admin, another("edge-9"))).await;
    assert!(matches!(error, EnrollError::Unverified(_)), "{error}");
    let recover = || {
        Body::Recover(Recover { name: name("zoe"), revoke: Vec::new(), compromised_since: None, approvals: Vec::new() })
    };
    let head = rig.state().head();
    let error = hand_in(entry_after(&rig.state(), &stranger.key, recover())).await;
    assert!(matches!(error, EnrollError::Refused(_)), "{error}");
    let founding = protocols::FleetState::found(&rig.genesis.clone().verify().unwrap()).unwrap();
    let error = hand_in(entry_after(&founding, &stranger.key, recover())).await;
    assert_eq!(error, EnrollError::StaleHead { head });
    assert_eq!(rig.state().head(), head);
    agent.mesh.close().await;
    stranger.mesh.close().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinators_key_is_not_changed_under_those_who_look_for_it() {
    let mut rig = Rig::found().await;
    rig.join("edge-1").await;
    let admin = rig.raw(rig.admin.session.author().key().clone()).await;
    let (key, new, head) = (rig.coordinator_key.clone(), SecretKey::generate(), rig.state().head());
    let rotate = Body::Rotate(Rotate::new(rig.fleet, key.id(), &new));
    let entry = entry_after(&rig.state(), &key, rotate);
    // Its own key signs for it, the new one agrees, and the ledger's rules have nothing against it.
    rig.state().as_ref().clone().apply(&entry.clone().verify().unwrap()).unwrap();
    let error = admin.control().rpc(Submit(entry)).await.unwrap().unwrap_err().to_string();
    for step in ["flt coordinator init", "coordinator enroll", "coordinator appoint", "coordinator retire"] {
        assert!(error.contains(step), "{error}");
    }
    assert_eq!(rig.state().head(), head);
    rig.publish("*", "still here").await;
    rig.says("edge-1", "still here").await;
    admin.mesh.close().await;
    rig.stop().await;
}
