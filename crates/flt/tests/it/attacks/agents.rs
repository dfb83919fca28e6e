//! An enrolled agent in the wrong hands.

use std::time::Duration;

use flt::compose::now;
use protocols::control::{Compare, Push, SendBeat, Submit, SubmitError};
use protocols::entry::{Enroll, Role};
use protocols::heartbeat::Beat;
use protocols::node::{AskWitness, GetChain, PlanScore};
use protocols::record::{RECORDS_PER_WRITER_MAX, SignedRecord};
use protocols::{Body, Digest, Entry, Labels, PeerAddr, SecretKey};

use crate::fleet::rig::{Rig, name};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dates_entries_in_the_future_moves_no_clock() {
    let mut rig = Rig::found().await;
    rig.enroll("edge-1", Labels::new()).await;
    let key = rig.keys["edge-1"].clone();
    let agent = rig.raw(key.clone()).await;
    let state = rig.state();
    let body = Body::Enroll(Enroll {
        key: SecretKey::generate().id(),
        name: name("edge-9"),
        role: Role::Agent,
        labels: Labels::new(),
        replaces: None,
    });
    for years in [0, 1, 100] {
        let at = now().plus(Duration::from_secs(years * 365 * 86_400));
        let (fleet, seq, prev) = (Some(rig.fleet), state.head().seq + 1, Some(state.head().hash));
        let entry = Entry { fleet, seq, prev, at, not_after: None, author: key.id(), body: body.clone() };
        let answer = agent.control().rpc(Submit(entry.sign(&key).unwrap())).await.unwrap();
        let refused =
            matches!(answer, Err(SubmitError::Refused(_) | SubmitError::Denied(_) | SubmitError::ClockOff { .. }));
        assert!(refused, "{answer:?}");
    }
    assert_eq!((rig.state().head(), rig.state().time()), (state.head(), state.time()));
    agent.mesh.close().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_records_and_heartbeats_is_bounded_and_disturbs_nobody() {
    let mut rig = Rig::found().await;
    rig.enroll("evil", Labels::new()).await;
    let good = rig.join("edge-1").await;
    let key = rig.keys["evil"].clone();
    let evil = rig.raw(key.clone()).await;
    let record = |n: usize| SignedRecord::sign(&key, &format!("outcome/x/{n}"), 1, &"x".repeat(8000)).unwrap();
    for some in 0..20 {
        let records = (some * 16..some * 16 + 16).map(record).collect();
        drop(evil.control().rpc(Push(records)).await.unwrap());
    }
    let kept = evil.control().rpc(Compare).await.unwrap().unwrap();
    assert!(kept.len() <= RECORDS_PER_WRITER_MAX, "{} records were kept", kept.len());
    let head = rig.state().head();
    let (records, addr) = (Digest::from_bytes([0; 32]), PeerAddr::unknown(key.id()));
    let beats = (0..500_u64).map(|number| {
        let beat = Beat { number, head, records, addr: addr.clone(), document: Some([7; 32]) };
        let client = evil.control();
        tokio::spawn(async move { drop(client.rpc(SendBeat(beat)).await) })
    });
    let beats: Vec<_> = beats.collect();
    let generation = rig.publish("*", "news").await;
    rig.outcome(good, generation, protocols::Verdict::Converged).await;
    for beat in beats {
        beat.await.unwrap();
    }
    evil.mesh.close().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_agents_ask_each_other_is_the_ledger_and_nothing_else() {
    let mut rig = Rig::found().await;
    rig.enroll("evil", Labels::new()).await;
    rig.join("edge-1").await;
    rig.publish("*", "one").await;
    rig.says("edge-1", "one").await;
    let evil = rig.raw(rig.keys["evil"].clone()).await;
    let at = rig.agents["edge-1"].mesh.addr();
    let ask = || evil.mesh.client::<protocols::node::Node>(at.clone(), protocols::alpn::NODE);
    let testimony = ask().rpc(AskWitness).await.unwrap().unwrap();
    assert!(testimony.claims.iter().all(protocols::HeadClaim::holds));
    let head = rig.agents["edge-1"].role.stats().head;
    assert_eq!(testimony.head.map(|h| h.seq), Some(head));
    let entries = ask().rpc(GetChain { from: 1 }).await.unwrap().unwrap();
    assert_eq!(u64::try_from(entries.len()).unwrap(), head);
    assert!(ask().rpc(GetChain { from: u64::MAX }).await.unwrap().unwrap().is_empty());
    // What a score would do here tells what is here.
    let draft = protocols::node::Draft {
        name: "base/motd".parse().unwrap(),
        kind: crate::fleet::rig::FILES.parse().unwrap(),
        subject: "files/etc".parse().unwrap(),
        policy_json: "{}".into(),
        payload: crate::fleet::rig::motd("one"),
    };
    let denied = ask().rpc(PlanScore(draft)).await.unwrap();
    assert!(denied.is_err(), "{denied:?}");
    // A stranger gets nothing at all.
    let stranger = rig.raw(SecretKey::generate()).await;
    let client = stranger.mesh.client::<protocols::node::Node>(at.clone(), protocols::alpn::NODE);
    assert!(client.rpc(AskWitness).await.is_err());
    stranger.mesh.close().await;
    evil.mesh.close().await;
    rig.stop().await;
}
