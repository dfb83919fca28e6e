//! Commands a second over one session, and a LAG of four ports with LACP, declared, verified and saved: ours, and netmiko's
//! on the same simulated switch in the same run. Nothing is timed by a test.
//!
//! What is compared is not the same work: ours reads both configurations before and after, keeps what was before on the
//! disk, and looks for what stands against the change; netmiko sends the lines, reads the configuration once and saves.

#![allow(clippy::unwrap_used, reason = "a benchmark may fail so")]
#![allow(dead_code, reason = "the tests use more of it")]

#[path = "../tests/it/bed.rs"]
mod bed;

use std::process::Command;
use std::time::{Duration, Instant};

use protocols::Verdict;
use scores::switch::{LagMode, PortChannelScore, Switch};
use switchsim::Profile;

use crate::bed::Bed;

/// Commands that are timed.
const COMMANDS: u32 = 100;
/// How often the LAG is made.
const ROUNDS: u32 = 5;

/// A system, and what is said and seen there.
struct Case {
    name: &'static str,
    /// What the script of the other side calls it.
    kind: &'static str,
    profile: fn() -> Profile,
    /// What stands in `show version`.
    version: &'static str,
    members: [&'static str; 4],
    /// What stands in the configuration when the LAG is made.
    made: &'static str,
}

const OLD: Case = Case {
    name: "FastIron with primary-port and deploy",
    kind: "old",
    profile: Profile::fastiron_8030,
    version: "SW: Version",
    members: ["1/1/1", "1/1/2", "2/1/1", "2/1/2"],
    made: "lag uplink dynamic id 7",
};
const NEW: Case = Case { name: "FastIron with lag interfaces", kind: "new", profile: Profile::fastiron_8095, ..OLD };
const NOS: Case = Case {
    name: "Network OS",
    kind: "nos",
    profile: Profile::nos,
    version: "Network Operating System Version",
    members: ["te1/0/1", "te1/0/2", "te2/0/1", "te2/0/2"],
    made: "channel-group 7 mode active type standard",
};

/// What one side took.
#[derive(Debug)]
struct Took {
    login: f64,
    commands_a_second: f64,
    lag: f64,
}

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    // `cargo test --benches` asks for a list.
    if std::env::args().any(|word| word == "--list" || word == "--test") {
        return;
    }
    let scripts = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../switchsim/tests/netmiko");
    let python = Command::new(scripts).output().unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let python = String::from_utf8(python.stdout).unwrap().trim().to_owned();
    count_parsers();
    println!("{COMMANDS} times `show version`; a LAG of four ports made {ROUNDS} times; seconds are medians");
    for case in [OLD, NEW, NOS] {
        let ours = ours(&case).await;
        let theirs = theirs(&case, &python).await;
        println!("{}", case.name);
        for (who, took) in [("flotilla", &ours), ("netmiko", &theirs)] {
            let Took { login, commands_a_second, lag } = took;
            println!("  {who:<9} login {login:.3} s, {commands_a_second:.0} commands/s, LAG {lag:.3} s");
        }
        println!(
            "  ratio     login {:.1}, commands {:.1}, LAG {:.1} times as fast",
            theirs.login / ours.login,
            ours.commands_a_second / theirs.commands_a_second,
            theirs.lag / ours.lag
        );
    }
}

/// Lines of each parser, without blank ones and comments.
fn count_parsers() {
    let parse = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/parse");
    let mut counts = Vec::new();
    for family in ["fastiron", "nos", "netconf"] {
        for file in std::fs::read_dir(parse.join(family)).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count();
            counts.push((family, name, code));
        }
    }
    counts.retain(|(_, name, _)| name != "tests");
    counts.sort();
    let told: Vec<String> = counts.iter().map(|(family, name, count)| format!("{family}/{name} {count}")).collect();
    println!("lines of parsers: {}", told.join(", "));
}

async fn ours(case: &Case) -> Took {
    let bed = Bed::new((case.profile)()).await;
    let mut logins = Vec::new();
    for _ in 0..3 {
        bed.device.close().await;
        let since = Instant::now();
        bed.device.show("clock").await.unwrap();
        logins.push(since.elapsed());
    }
    let since = Instant::now();
    for _ in 0..COMMANDS {
        let lines = bed.device.show("version").await.unwrap();
        assert!(lines.iter().any(|line| line.contains(case.version)));
    }
    let commands = since.elapsed();
    let mut lags = Vec::new();
    for round in 0..u64::from(ROUNDS) {
        let members = case.members.map(|port| port.parse().unwrap()).into();
        let score = PortChannelScore {
            device: bed.device.device().clone(),
            name: "uplink".into(),
            id: Some(7),
            mode: LagMode::Lacp,
            members,
            description: None,
            absent: false,
        };
        let since = Instant::now();
        let report = bed.play(&score, 2 * round + 1).await;
        lags.push(since.elapsed());
        assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
        assert!(bed.sim.startup_config().contains(case.made));
        let gone = PortChannelScore { absent: true, members: Default::default(), ..score };
        assert_eq!(bed.play(&gone, 2 * round + 2).await.verdict, Verdict::Converged);
    }
    Took { login: median(logins), commands_a_second: f64::from(COMMANDS) / commands.as_secs_f64(), lag: median(lags) }
}

async fn theirs(case: &Case, python: &str) -> Took {
    let bed = Bed::new((case.profile)()).await;
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/beside.py");
    let words = [case.kind.to_owned(), bed.sim.addr().port().to_string(), COMMANDS.to_string(), ROUNDS.to_string()];
    let ran = tokio::process::Command::new(python).arg(script).args(words).output().await.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let took: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let times = |key: &str| -> Vec<Duration> {
        let list = took[key].as_array().unwrap().iter();
        list.map(|seconds| Duration::from_secs_f64(seconds.as_f64().unwrap())).collect()
    };
    assert!(!bed.sim.running_config().contains(case.made));
    Took {
        login: median(times("logins")),
        commands_a_second: f64::from(COMMANDS) / took["commands"].as_f64().unwrap(),
        lag: median(times("lags")),
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}
