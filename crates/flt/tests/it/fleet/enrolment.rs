//! Who becomes a member, and who does not.

use flt::compose::agent;
use protocols::control::Hello;
use protocols::enroll::{EnrollError, Enrolled, Enrollment, RedeemInvite};
use protocols::entry::Redeem;
use protocols::ticket::BadTicket;
use protocols::{Millis, Refusal, SecretKey, Ticket, Verdict, alpn};
use testkit::until_async;

use super::rig::{Raw, Rig, SOON, later, name};

impl Raw {
    /// Redeems a ticket's invite under a name, as this endpoint.
    async fn redeem(&self, ticket: &Ticket, of: &str) -> Result<Enrolled, EnrollError> {
        let invite = ticket.invite.as_ref().unwrap();
        self.redeem_raw(Redeem::new(ticket.fleet, &invite.key(), &self.key, name(of))).await
    }

    async fn redeem_raw(&self, redeem: Redeem) -> Result<Enrolled, EnrollError> {
        let at = self.mesh.client::<Enrollment>(self.coordinator(), alpn::ENROLL);
        at.rpc(RedeemInvite(redeem)).await.unwrap()
    }
}

fn refused(refusal: Refusal) -> Result<Enrolled, EnrollError> {
    Err(EnrollError::Refused(refusal))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_lets_one_node_in_and_is_used_up_then() {
    let mut rig = Rig::found().await;
    let ticket = rig.invite(Some("edge-1"), 1, later()).await;
    let early = rig.raw(SecretKey::generate()).await;
    assert_eq!(early.redeem(&ticket, "edge-2").await, refused(Refusal::InviteForOther(name("edge-1"))));
    early.mesh.close().await;
    // As it is copied: a text.
    let text = ticket.to_string();
    let parts = rig.parts("edge-1", text.parse().unwrap());
    rig.start("edge-1", parts).await;
    rig.is_member("edge-1").await;
    let second = rig.raw(SecretKey::generate()).await;
    assert_eq!(second.redeem(&ticket, "edge-1").await, refused(Refusal::InviteUsed));
    // The node itself may ask again: the first answer may have got lost.
    rig.stop_agent("edge-1").await;
    let again = rig.raw(rig.keys["edge-1"].clone()).await;
    assert!(again.redeem(&ticket, "edge-1").await.is_ok());
    second.mesh.close().await;
    again.mesh.close().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_expired_withdrawn_and_foreign_invites_let_nobody_in() {
    let mut rig = Rig::found().await;
    let other = Rig::found().await;
    let stranger = rig.raw(SecretKey::generate()).await;
    let good = rig.invite(None, 9, later()).await;
    let expired = rig.invite(None, 1, Millis(1)).await;
    assert_eq!(stranger.redeem(&expired, "edge-1").await, refused(Refusal::InviteExpired));
    let foreign = Ticket { fleet: other.fleet, ..good.clone() };
    assert_eq!(stranger.redeem(&foreign, "edge-1").await, refused(Refusal::InviteUnproven));
    let mut other = other;
    let theirs = other.invite(None, 1, later()).await;
    assert_eq!(stranger.redeem(&theirs, "edge-1").await, refused(Refusal::NoSuchInvite));
    let withdrawn = rig.invite(None, 1, later()).await;
    rig.admin.revoke(withdrawn.invite.as_ref().unwrap().key().id()).await;
    assert_eq!(stranger.redeem(&withdrawn, "edge-1").await, refused(Refusal::NoSuchInvite));
    // Whoever saw the invite's key, and not its secret.
    let invite = good.invite.as_ref().unwrap().key();
    let forged =
        Redeem { invite: invite.id(), ..Redeem::new(rig.fleet, &SecretKey::generate(), &stranger.key, name("x")) };
    assert_eq!(stranger.redeem_raw(forged).await, refused(Refusal::InviteUnproven));
    let not_ours = Redeem::new(rig.fleet, &invite, &SecretKey::generate(), name("edge-1"));
    assert_eq!(stranger.redeem_raw(not_ours).await, Err(EnrollError::NotYourKey));
    assert!(!rig.state().knows(stranger.key.id()));
    // And nothing else is open to a stranger.
    assert!(stranger.control().rpc(Hello).await.is_err());
    stranger.mesh.close().await;
    other.stop().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_or_mistyped_ticket_is_recognised_as_such() {
    let mut rig = Rig::found().await;
    let text = rig.invite(None, 1, later()).await.to_string();
    for cut in [text.len() / 2, text.len() - 1] {
        assert_eq!(text[..cut].parse::<Ticket>(), Err(BadTicket::Damaged));
    }
    assert_eq!(text[4..].parse::<Ticket>(), Err(BadTicket::NotATicket));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_that_race_for_an_invite_one_wins() {
    let mut rig = Rig::found().await;
    for round in 0..5 {
        let ticket = rig.invite(None, 1, later()).await;
        let (a, b) = (rig.raw(SecretKey::generate()).await, rig.raw(SecretKey::generate()).await);
        let (name_a, name_b) = (format!("a-{round}"), format!("b-{round}"));
        let (of_a, of_b) = tokio::join!(a.redeem(&ticket, &name_a), b.redeem(&ticket, &name_b));
        assert!(of_a.is_ok() != of_b.is_ok(), "{of_a:?} {of_b:?}");
        let lost = if of_a.is_ok() { of_b } else { of_a };
        assert_eq!(lost, refused(Refusal::InviteUsed));
        assert!(rig.state().knows(a.key.id()) != rig.state().knows(b.key.id()));
        a.mesh.close().await;
        b.mesh.close().await;
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_not_given_twice() {
    let mut rig = Rig::found().await;
    let ticket = rig.invite(None, 2, later()).await;
    let (a, b) = (rig.raw(SecretKey::generate()).await, rig.raw(SecretKey::generate()).await);
    assert!(a.redeem(&ticket, "edge-1").await.is_ok());
    assert_eq!(b.redeem(&ticket, "edge-1").await, refused(Refusal::NameTaken(name("edge-1"))));
    assert_eq!(b.redeem(&ticket, "coordinator-1").await, refused(Refusal::NameTaken(name("coordinator-1"))));
    assert!(b.redeem(&ticket, "edge-2").await.is_ok(), "it cost no use");
    a.mesh.close().await;
    b.mesh.close().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_enrolled_before_needs_no_invite() {
    let mut rig = Rig::found().await;
    let generation = rig.publish("*", "one").await;
    let node = rig.join("edge-1").await;
    rig.outcome(node, generation, Verdict::Converged).await;
    assert_eq!(rig.motd("edge-1").as_deref(), Some("one"));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_any_right_learns_nothing_and_is_let_in_once_it_is_enrolled() {
    let mut rig = Rig::found().await;
    rig.publish("*", "one").await;
    let parts = rig.parts("edge-1", rig.ticket());
    rig.start("edge-1", parts).await;
    let turned_away = rig.raw(rig.keys["edge-1"].clone()).await;
    assert!(turned_away.control().rpc(Hello).await.is_err());
    turned_away.mesh.close().await;
    assert!(rig.agents["edge-1"].role.state().is_none());
    rig.enroll("edge-1", protocols::Labels::new()).await;
    rig.says("edge-1", "one").await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_fleets_ticket_on_old_data_is_refused_at_the_start() {
    let mut rig = Rig::found().await;
    rig.join("edge-1").await;
    rig.stop_agent("edge-1").await;
    let other = Rig::found().await;
    let parts = rig.parts("edge-1", other.ticket());
    let error = agent::start(parts).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains(&rig.fleet.to_string()) && text.contains(&other.fleet.to_string()), "{text}");
    other.stop().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_agent_is_cut_off_at_once_and_leaves_the_status() {
    let mut rig = Rig::found().await;
    let (gone, stays) = (rig.join("edge-1").await, rig.join("edge-2").await);
    let first = rig.publish("*", "one").await;
    rig.outcome(gone, first, Verdict::Converged).await;
    rig.outcome(stays, first, Verdict::Converged).await;
    rig.admin.revoke(gone).await;
    let coordinator = &rig.coordinator.as_ref().unwrap().mesh;
    testkit::until("the end of its connections", SOON, || !coordinator.connected().contains(&gone));
    let nodes: Vec<_> = rig.reports("").await.iter().map(|r| r.node).collect();
    assert_eq!(nodes, [stays]);
    assert!(rig.admin.session.reports(&[gone], "").await.unwrap().is_empty());
    let second = rig.publish("*", "two").await;
    rig.outcome(stays, second, Verdict::Converged).await;
    assert_eq!(rig.motd("edge-1").as_deref(), Some("one"), "it hears of nothing");
    // Not with an invite either: the key is worth nothing any more.
    let ticket = rig.invite(None, 1, later()).await;
    rig.stop_agent("edge-1").await;
    let back = rig.raw(rig.keys["edge-1"].clone()).await;
    let at = back.mesh.client::<Enrollment>(back.coordinator(), alpn::ENROLL);
    let redeem = Redeem::new(rig.fleet, &ticket.invite.as_ref().unwrap().key(), &back.key, name("edge-3"));
    assert!(!matches!(at.rpc(RedeemInvite(redeem)).await, Ok(Ok(_))));
    assert!(!rig.state().knows(gone));
    back.mesh.close().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_join_with_one_ticket() {
    let mut rig = Rig::found().await;
    let ticket = rig.invite(None, 5, later()).await;
    let generation = rig.publish("*", "one").await;
    let names: Vec<String> = (0..5).map(|i| format!("edge-{i}")).collect();
    for of in &names {
        let parts = rig.parts(of, ticket.clone());
        rig.start(of, parts).await;
    }
    for of in &names {
        rig.is_member(of).await;
        rig.outcome(rig.keys[of].id(), generation, Verdict::Converged).await;
    }
    until_async("five nodes that are online", SOON, async || {
        let online = rig.reports("").await.iter().filter(|r| r.liveness.online).count();
        if online == 5 { Ok(()) } else { Err(online) }
    })
    .await;
    rig.stop().await;
}
