//! An admin who wants more than was given, and a key in the wrong hands.

use flt::compose::now;
use protocols::control::{Submit, SubmitError};
use protocols::entry::{Grant, KindPattern, Revoke, Verb};
use protocols::{Body, Entry, Labels, Policy, Refusal, SecretKey};

use crate::fleet::rig::{AdminRig, Rig, motd, publish};

#[tokio::test(flavor = "multi_thread")]
async fn a_narrow_admin_cannot_widen_leave_or_overthrow() {
    let mut rig = Rig::found().await;
    rig.enroll("edge-1", Labels::new()).await;
    rig.enroll("core-1", Labels::new()).await;
    let (narrow, friend) = (SecretKey::generate(), SecretKey::generate());
    rig.admin.grant(narrow.id(), "narrow", &[Verb::Publish, Verb::Grant], "edge-*").await;
    let giver = rig.admin.session.author().id();
    let raw = rig.raw(narrow.clone()).await;
    let grant = |on: &str, verbs: &[Verb], to: &SecretKey| {
        Body::Grant(Grant {
            to: to.id(),
            name: "friend".parse().unwrap(),
            verbs: verbs.iter().copied().collect(),
            on: on.parse().unwrap(),
            kinds: vec![KindPattern::any()],
            expires: None,
        })
    };
    let revoke = |key| Body::Revoke(Revoke { key, reason: "mine now".into(), compromised_since: None });
    let attempts = [
        ("a verb that it does not have", grant("edge-*", &[Verb::Enroll], &friend)),
        ("a right for itself", grant("*", &[Verb::Enroll, Verb::Grant], &narrow)),
        ("a score outside", publish("base/motd", "core-*", &motd("evil"), Policy::default())),
        ("a score for all", publish("base/motd", "*", &motd("evil"), Policy::default())),
        ("its giver's end", revoke(giver)),
        ("a member's end", revoke(rig.keys["edge-1"].id())),
    ];
    for (what, body) in attempts {
        let before = rig.state();
        // Straight to the coordinator: no courtesy of our own client is between.
        let entry = crate::fleet::rig::entry_after(&before, &narrow, body);
        let answer = raw.control().rpc(Submit(entry)).await.unwrap();
        assert!(matches!(answer, Err(SubmitError::Refused(Refusal::NotAllowed { .. }))), "{what}: {answer:?}");
        assert_eq!(rig.state().head(), before.head(), "{what}");
    }
    // What it gives on never reaches further than its own right, whatever it writes.
    let given = crate::fleet::rig::entry_after(&rig.state(), &narrow, grant("*", &[Verb::Publish], &friend));
    raw.control().rpc(Submit(given)).await.unwrap().unwrap();
    let beyond = publish("base/motd", "core-*", &motd("evil"), Policy::default());
    let beyond = crate::fleet::rig::entry_after(&rig.state(), &friend, beyond);
    let answer = raw.control().rpc(Submit(beyond)).await.unwrap();
    assert!(matches!(answer, Err(SubmitError::Refused(Refusal::NotAllowed { .. }))), "{answer:?}");
    let mut other = AdminRig::connect(rig.dir.path().join("friend"), friend, &rig.ticket()).await;
    other.enter(publish("base/motd", "edge-*", &motd("good"), Policy::default())).await;
    other.link.close().await;
    raw.mesh.close().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_key_ends_with_its_revocation_whatever_its_entries_are_dated() {
    let mut rig = Rig::found().await;
    rig.enroll("edge-1", Labels::new()).await;
    let stolen = SecretKey::generate();
    rig.admin.grant(stolen.id(), "bob", &[Verb::Publish], "*").await;
    let evil = || publish("base/motd", "*", &motd("evil"), Policy::default());
    // Before anybody knows, the thief is the admin: within the admin's rights, and on the record.
    let mut thief = AdminRig::connect(rig.dir.path().join("thief"), stolen.clone(), &rig.ticket()).await;
    let since = thief.enter(evil()).await;
    thief.link.close().await;
    assert!(rig.state().declarations().values().any(|d| d.author == stolen.id()));
    rig.admin.session.sync().await.unwrap();
    let revoke = Revoke { key: stolen.id(), reason: "stolen".into(), compromised_since: Some(since) };
    rig.admin.enter(Body::Revoke(revoke)).await;
    // What it did from there on is void, and what it signs now is refused, also as if it were signed long ago.
    let state = rig.state();
    assert!(state.declarations().values().all(|d| d.author != stolen.id()));
    // Whoever carries it: another admin, who has rights of their own.
    let other = SecretKey::generate();
    rig.admin.grant(other.id(), "carl", &[Verb::Publish], "*").await;
    let head = rig.state().head();
    let member = rig.raw(other).await;
    for at in [now(), protocols::Millis(1), now().plus(std::time::Duration::from_secs(86_400 * 365))] {
        let (fleet, seq, prev, author) = (Some(rig.fleet), head.seq + 1, Some(head.hash), stolen.id());
        let entry = Entry { fleet, seq, prev, at, not_after: None, author, body: evil() }.sign(&stolen).unwrap();
        let answer = member.control().rpc(Submit(entry)).await.unwrap();
        let refused =
            matches!(answer, Err(SubmitError::Refused(Refusal::Revoked { .. }) | SubmitError::ClockOff { .. }));
        assert!(refused, "{answer:?}");
    }
    assert_eq!(rig.state().head(), head);
    member.mesh.close().await;
    rig.stop().await;
}
