//! Whole fleets in one process: a coordinator, agents and an admin over loopback.

mod documents;
mod enrolment;
mod hostile;
pub(crate) mod impostor;
mod life;
pub(crate) mod rig;
mod rights;

use std::time::Duration;

use flt::dev::fleet::{DevFleet, DevOptions};
use protocols::control::Echo;
use protocols::entry::Withdraw;
use protocols::{Body, Labels, Name, Outcome, Policy, Verdict};

/// Generous: these machines are slow and noisy.
const SOON: Duration = Duration::from_secs(60);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn motd(text: &str) -> String {
    format!(r#"{{"root":"/etc","entries":{{"motd":{{"content":"{text}"}}}}}}"#)
}

fn converged(generation: u64) -> impl FnMut(&Outcome) -> bool {
    move |o| o.generation == generation && o.verdict == Verdict::Converged
}

async fn fleet(dir: &tempfile::TempDir) -> DevFleet {
    DevFleet::found(dir.path(), DevOptions::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn echo_completes_admin_to_coordinator() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = fleet(&dir).await;
    let echoed = fleet.link.control().rpc(Echo("hello".into())).await.unwrap();
    assert_eq!(echoed.text, "hello");
    assert_eq!(echoed.caller, fleet.session.author().id());
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_file_arrives_and_its_outcome_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut fleet = fleet(&dir).await;
    let edge = fleet.join("edge-1", Labels::new()).await.unwrap();
    let generation = fleet.publish("base/motd", "*", "files/1", &motd("one"), Policy::default()).await.unwrap();
    let outcome = fleet.wait_outcome(edge, SOON, converged(generation)).await.unwrap();
    assert_eq!(outcome.name.to_string(), "base/motd");
    let file = fleet.agent_root(&name("edge-1")).join("etc/motd");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "one");
    fleet.enter(Body::Withdraw(Withdraw { name: "base/motd".parse().unwrap() })).await.unwrap();
    fleet.stop().await;
}
