//! Documents are the fast path: without them everything works, and alone they still carry the news.

use std::time::Duration;

use protocols::Verdict;

use super::rig::{Rig, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn with_documents_and_requests_news_travel_both_ways() {
    let mut rig = Rig::found_with(true).await;
    let node = rig.join("edge-1").await;
    for text in ["one", "two"] {
        let generation = rig.publish("*", text).await;
        rig.outcome(node, generation, Verdict::Converged).await;
        assert_eq!(rig.motd("edge-1").as_deref(), Some(text));
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_alone_carry_the_news_both_ways() {
    let mut rig = Rig::found_with(true).await;
    let node = rig.join("edge-1").await;
    let first = rig.publish("*", "one").await;
    rig.outcome(node, first, Verdict::Converged).await;
    rig.stop_agent("edge-1").await;
    let mut parts = rig.parts("edge-1", rig.ticket());
    parts.pulls = false;
    // One heartbeat tells the coordinator which document to follow, and no other tells the agent anything.
    parts.heartbeat = Duration::from_secs(3600);
    rig.start("edge-1", parts).await;
    testkit::until("a coordinator", SOON, || rig.agents["edge-1"].role.is_connected());
    let second = rig.publish("*", "two").await;
    rig.says("edge-1", "two").await;
    // What the coordinator does not hear at once it finds when it looks again, every minute.
    rig.outcome_within(SOON * 2, node, second, Verdict::Converged).await;
    rig.stop().await;
}
