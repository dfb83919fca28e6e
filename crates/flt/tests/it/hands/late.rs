//! What may no longer be begun: the hands look at an entry's time themselves.

use std::time::Duration;

use protocols::entry::{Entry, Withdraw};
use protocols::{Body, Millis, SignedEntry, Verdict};
use testkit::{DEADLINE, until_async};

use super::paper::{Hands, Paper, motd, publish};

const HOUR: Duration = Duration::from_secs(3600);

/// Enters what is dated, and may be begun, as a test says.
fn enter(paper: &mut Paper, at: Millis, not_after: Option<Millis>, body: Body) -> u64 {
    let head = paper.state.head();
    let (seq, prev, fleet) = (head.seq + 1, Some(head.hash), Some(paper.fleet()));
    let entry: SignedEntry =
        Entry { fleet, seq, prev, at, not_after, author: paper.admin.id(), body }.sign(&paper.admin).unwrap();
    paper.state.apply(&entry.clone().verify().unwrap()).unwrap();
    paper.entries.push(entry);
    seq
}

/// Lets the fleet's time pass, by an entry that means nothing here.
fn pass(paper: &mut Paper, at: Millis) {
    enter(paper, at, None, publish("edge-9", &motd("elsewhere")));
    enter(paper, at, None, Body::Withdraw(Withdraw { name: "base/motd".parse().unwrap() }));
}

fn named(of: &str, text: &str) -> Body {
    let Body::Publish(mut publish) = publish("edge-1", &motd(text)) else { unreachable!("a publication") };
    publish.name = of.parse().unwrap();
    Body::Publish(publish)
}

#[tokio::test]
async fn what_came_too_late_is_not_begun_by_the_hands_whatever_the_other_half_says() {
    let mut paper = Paper::found();
    let begin = flt::compose::now();
    let (soon, later) = (begin.plus(HOUR), begin.plus(HOUR * 2));
    let mut hands = Hands::start(&paper);
    // Begun in time.
    let first = enter(&mut paper, begin, Some(soon), named("edge/motd", "first"));
    let (mut liar, _) = hands.greet().await;
    liar.entries(&paper.entries).await.unwrap();
    liar.ask("files/etc", first).await;
    assert_eq!(liar.played().await.unwrap().verdict, Verdict::Converged);
    // Then its time passes: it is kept up all the same, also by hands that started anew.
    pass(&mut paper, later);
    liar.entries(&paper.entries).await.unwrap();
    for _ in 0..2 {
        std::fs::write(hands.path().join("root/etc/motd"), "by hand").unwrap();
        liar.ask("files/etc", first).await;
        assert_eq!(liar.played().await.unwrap().verdict, Verdict::Converged);
        assert_eq!(hands.motd().as_deref(), Some("first"));
        hands.process.kill();
        hands.process.wait(DEADLINE);
        hands.process.restart();
        until_async("the hands listen again", DEADLINE, async || {
            let connected = tokio::net::UnixStream::connect(hands.path().join("hands.sock")).await;
            connected.map(drop).map_err(|e| e.to_string())
        })
        .await;
        liar = hands.greet().await.0;
    }
    // Published in time, and handed over when it is over: asked for as often as one likes, it is not begun.
    let second = enter(&mut paper, later, Some(later.plus(HOUR)), named("edge/motd", "second"));
    pass(&mut paper, later.plus(HOUR * 2));
    liar.entries(&paper.entries).await.unwrap();
    for _ in 0..3 {
        liar.ask("files/etc", second).await;
        let report = liar.played().await.unwrap();
        assert_eq!(
            (report.verdict, report.message.as_str()),
            (Verdict::Refused, "expired before this node could begin")
        );
        assert_eq!(hands.motd().as_deref(), Some("first"));
    }
    // What comes after it is played.
    let third = enter(&mut paper, later.plus(HOUR * 2), None, named("edge/motd", "third"));
    liar.entries(&paper.entries).await.unwrap();
    liar.ask("files/etc", third).await;
    assert_eq!(liar.played().await.unwrap().verdict, Verdict::Converged);
    assert_eq!(hands.motd().as_deref(), Some("third"));
}
