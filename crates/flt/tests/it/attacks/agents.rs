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

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_shut_for_nobody_but_who_may_and_whose_turn_it_is() {
    use protocols::NodeId;
    use protocols::control::Denied;
    use protocols::node::ShutPort;
    let mut rig = Rig::found().await;
    let evil = rig.enroll("evil", Labels::new()).await;
    let good = rig.enroll("good", Labels::new()).await;
    let other = rig.enroll("other", Labels::new()).await;
    rig.join("edge-1").await;
    let spec = r#"{"name":"ledger","run":{"program":{"command":["true"]}},"succession":{"candidates":["evil","good"],
        "promotion":"require-proof","remote":{"rung":{"action":"switch-port"},"within_ms":60000},"ports":{
        "evil":[{"agent":"edge-1","device":"rack-3","port":"1/1/1"}],
        "good":[{"agent":"edge-1","device":"rack-3","port":"1/1/2"},{"agent":"other","device":"rack-4","port":"1/1/2"}]}}}"#;
    let (catalogue, kind) = (scores::catalogue(), "service/1".parse().unwrap());
    let body = Body::Publish(protocols::entry::Publish {
        name: "base/ledger".parse().unwrap(),
        on: "*".parse().unwrap(),
        subject: catalogue.validate(&kind, spec).unwrap(),
        artifacts: catalogue.artifacts(&kind, spec).unwrap(),
        kind,
        policy: protocols::Policy::default(),
        payload: protocols::entry::Payload::from_json(spec.to_owned()).unwrap(),
        note: None,
    });
    rig.admin.enter(body).await;
    rig.publish("*", "after").await;
    rig.says("edge-1", "after").await;
    let at = rig.agents["edge-1"].mesh.addr();
    let ask = async |by: &str, cluster: &str, target: NodeId, device: &str, port: &str| {
        let raw = rig.raw(rig.keys[by].clone()).await;
        let question = ShutPort {
            cluster: cluster.to_owned().try_into().unwrap(),
            epoch: failover::Epoch(0),
            target,
            device: name(device),
            port: port.to_owned(),
        };
        let answer = raw.mesh.client::<protocols::node::Node>(at.clone(), protocols::alpn::NODE).rpc(question).await;
        raw.mesh.close().await;
        match answer.unwrap() {
            Err(Denied::NotAllowed(what)) => what,
            other => panic!("{other:?}"),
        }
    };
    let cluster = "service/ledger";
    let unnamed = "shut a port that the declaration names for this candidate here";
    // The port of somebody else, of another switch, of another agent, one that nobody names, and what is no port at all.
    for (device, port) in [("rack-3", "1/1/1"), ("rack-4", "1/1/2"), ("rack-3", "1/1/3"), ("rack-3", "x\ndisable")] {
        assert_eq!(ask("evil", cluster, good, device, port).await, unnamed);
    }
    let candidate = "be another candidate of this cluster";
    assert_eq!(ask("evil", cluster, evil, "rack-3", "1/1/1").await, candidate);
    assert_eq!(ask("other", cluster, good, "rack-3", "1/1/2").await, candidate);
    assert_eq!(ask("evil", cluster, other, "rack-3", "1/1/2").await, unnamed);
    assert_eq!(ask("evil", "service/none", good, "rack-3", "1/1/2").await, "a cluster `service/none`");
    // What is declared, by one that may, when it is not its turn.
    let turn = "act against the holder of this lease now";
    assert_eq!(ask("evil", cluster, good, "rack-3", "1/1/2").await, turn);
    rig.stop().await;
}
