//! Histories that differ for good: what a coordinator that went back and was written to leaves behind.

mod ends;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocols::control::SendBeat;
use protocols::heartbeat::Beat;
use protocols::{Digest, EntryHash, Head, PeerAddr, SecretKey, alpn};
use serde_json::Value;
use testkit::{DEADLINE, Output, Proc, Program, until};

use super::pair::{Pair, again, kill};
use crate::fleet::rig::loopback;
use crate::processes::bed::get;

/// A coordinator that wrote on after an old backup was put in its place: each of two agents has a part of the story.
struct Forked {
    pair: Pair,
    first: Proc,
    second: Option<Proc>,
    /// Its agent has the longer history, and does not run.
    one: Proc,
    _two: Proc,
    /// The first place that differs.
    parted: u64,
    /// Both histories, entry by entry.
    long: Vec<String>,
    short: Vec<String>,
}

impl Forked {
    /// Split, with both agents up, which find it out. The second coordinator is down: it only follows, has done nothing
    /// wrong, and nothing shall be held against it. With that one, and the name of the one that told two stories.
    fn met() -> (Self, Proc, String) {
        let mut forked = Self::make(true);
        let mut second = forked.second.take().unwrap();
        let liar = forked.orderer();
        kill(&mut second);
        forked.one.restart();
        (forked, second, liar)
    }

    /// Leaves the coordinator running with the shorter history, another one that follows it if that is asked for, and
    /// `edge-2`.
    fn make(with_second: bool) -> Self {
        let pair = Pair::found();
        let mut first = pair.bed.start_coordinator();
        let mut second = with_second.then(|| pair.enroll_second());
        let (mut one, mut two) = (pair.bed.join("edge-1"), pair.bed.join("edge-2"));
        publish(&pair, "common\n");
        for node in ["edge-1", "edge-2"] {
            pair.bed.wait_for_motd(node, "common\n");
            pair.has_all(node);
        }
        let common = pair.export();
        kill(&mut two);
        second.iter_mut().for_each(kill);
        kill(&mut first);
        let all = [data(&pair), admin(&pair)];
        for dir in &all {
            copy(dir, &dir.with_extension("old"));
        }
        again(&mut first);
        for _ in 0..3 {
            invite(&pair);
        }
        publish(&pair, "long\n");
        pair.bed.wait_for_motd("edge-1", "long\n");
        pair.has_all("edge-1");
        let long = pair.export();
        kill(&mut one);
        kill(&mut first);
        for dir in &all {
            std::fs::remove_dir_all(dir).unwrap();
            copy(&dir.with_extension("old"), dir);
        }
        again(&mut first);
        second.iter_mut().for_each(again);
        two.restart();
        invite(&pair);
        publish(&pair, "short\n");
        pair.bed.wait_for_motd("edge-2", "short\n");
        pair.has_all("edge-2");
        let short = pair.export();
        assert!(long.starts_with(&common) && short.starts_with(&common) && long.len() > short.len());
        assert_ne!(long[common.len()], short[common.len()]);
        Self { pair, first, second, one, _two: two, parted: common.len() as u64, long, short }
    }

    fn recover<const N: usize>(&self, words: [&str; N]) -> Output {
        let listen = self.pair.bed.listen().to_string();
        let recover = self.pair.bed.flt().named("flt coordinator recover").args(["--json", "coordinator", "recover"]);
        let recover = recover.args(["--config", "coordinator/coordinator.toml", "--listen", &listen, "--wait", "90s"]);
        recover.args(words).limit(DEADLINE * 3).run()
    }

    /// What is in the coordinator's folder, entry by entry.
    fn kept(&self) -> Vec<String> {
        let file = self.pair.bed.path().join("kept.jsonl");
        drop(std::fs::remove_file(&file));
        // Of an empty ledger there is none.
        self.pair.bed.flt().args(["coordinator", "backup", "--data"]).arg(data(&self.pair)).arg(&file).run();
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().filter(|line| line.starts_with("{\"entry\"")).map(str::to_owned).collect()
    }

    /// A command for a node's folder.
    fn agent<const N: usize>(&self, node: &str, words: [&str; N]) -> Program {
        self.pair.bed.flt().args(["--json", "agent"]).args(words).arg("--data").arg(self.pair.bed.data(node))
    }

    /// What the first coordinator's key is called where its name may not be known.
    fn orderer(&self) -> String {
        self.pair.bed.ticket().parse::<protocols::Ticket>().unwrap().coordinators[0].id.short()
    }

    /// Waits until a node takes no more entries; gives why.
    fn refuses(&self, node: &str) -> String {
        until(&format!("{node} finds out"), DEADLINE * 2, || {
            let status: Value = serde_json::from_str(&self.agent(node, ["status"]).ok()).unwrap();
            status["refuses"].as_str().map(str::to_owned).ok_or(status)
        })
    }
}

fn data(pair: &Pair) -> PathBuf {
    pair.bed.path().join("coordinator/data")
}

fn admin(pair: &Pair) -> PathBuf {
    pair.bed.path().join("home/.local/share/flotilla/admin")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let there = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &there);
        } else if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), &there).unwrap();
        }
    }
}

/// A coordinator that has just started may ask the others first.
fn invite(pair: &Pair) {
    let invite = pair.bed.admin(["invite"]).limit(DEADLINE);
    until("an invite", DEADLINE * 2, || {
        let output = invite.run();
        if output.success() { Ok(()) } else { Err(output.stderr) }
    });
}

fn publish(pair: &Pair, text: &str) {
    pair.bed.declare("fleet.toml", text, &["true"]);
    pair.bed.admin(["apply", "fleet.toml", "--no-wait"]).ok();
}

/// Lets the second coordinator order: it may have to ask around first.
fn appoint_second(pair: &Pair) {
    let appoint = pair.by_second(["coordinator", "appoint", "coordinator-2"]).limit(DEADLINE * 2);
    until("another order", DEADLINE * 2, || {
        let output = appoint.run();
        if output.success() { Ok(()) } else { Err(output.stderr) }
    });
}

/// Lines of a ledger, as a backup and an export have them.
fn ends_alike(one: &[String], other: &[String]) -> bool {
    let entry = |line: &String| serde_json::from_str::<Value>(line).unwrap()["entry"].clone();
    one.len() == other.len() && one.last().map(entry) == other.last().map(entry)
}

#[test]
fn members_whose_histories_differ_are_named_and_a_person_says_which_counts() {
    let mut forked = Forked::make(false);
    kill(&mut forked.first);
    std::fs::remove_dir_all(data(&forked.pair)).unwrap();
    forked.one.restart();
    let (newest, parted) = (forked.long.len() - 1, forked.parted);
    // Whoever was asked first: it is the shorter history that differs from the newest. Nothing is put in place.
    for _ in 0..2 {
        let refused = forked.recover([]).expect(1).stderr;
        assert!(
            refused.contains(&format!("histories differ from entry {parted} on: edge-2 has another entry")),
            "{refused}"
        );
        assert!(refused.contains(&format!("ends with entry {newest} ")), "{refused}");
        assert!(refused.contains("--even-if-split") && refused.contains("--ignore NAME"), "{refused}");
        let left: Vec<_> = std::fs::read_dir(data(&forked.pair)).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().contains("recovering")), "{left:?}");
        assert!(forked.kept().is_empty());
    }
    // Without the one that has the longer history, the shorter is all there is.
    let found: Value = serde_json::from_str(&forked.recover(["--ignore", "edge-1"]).expect(0).stdout).unwrap();
    assert_eq!(found["head"].as_u64(), Some(forked.short.len() as u64 - 1), "{found}");
    assert!(ends_alike(&forked.kept(), &forked.short));
    // What is here differs as well as anybody's; it is kept when the newest takes its place.
    let refused = forked.recover(["--ignore", "edge-2"]).expect(1).stderr;
    assert!(refused.contains("the ledger that was here is another"), "{refused}");
    assert!(ends_alike(&forked.kept(), &forked.short));
    let found: Value = serde_json::from_str(&forked.recover(["--even-if-split"]).expect(0).stdout).unwrap();
    assert_eq!(found["head"].as_u64(), Some(newest as u64), "{found}");
    assert!(forked.pair.bed.path().join(found["aside"].as_str().unwrap()).exists(), "{found}");
    let said = |name: &str| {
        let all = found["members"].as_array().unwrap();
        all.iter().find(|m| m["name"] == name).unwrap()["is_here"].as_bool()
    };
    assert_eq!((said("edge-1"), said("edge-2")), (Some(true), Some(false)), "{found}");
    assert!(ends_alike(&forked.kept(), &forked.long));
}

#[test]
fn a_split_fleet_finds_it_out_takes_no_more_and_shows_the_proof() {
    let (mut forked, mut second, liar) = Forked::met();
    let pair = &forked.pair;
    // Both agents take no more entries, and say why; nothing that was there before is touched.
    for (node, text) in [("edge-1", "long\n"), ("edge-2", "short\n")] {
        let why = forked.refuses(node);
        assert!(why.contains(&format!("the coordinator {liar} signed")), "{why}");
        assert_eq!(pair.bed.motd(node).as_deref(), Some(text));
    }
    forked.first.wait_for("has another history than this coordinator, and both may be true");
    until("the alarm", DEADLINE, || {
        let metrics = get(pair.bed.metrics, "/metrics");
        if metrics.contains("flotilla_split 1") { Ok(()) } else { Err(metrics) }
    });
    // Whoever asks around sees both branches, and who signed for both.
    let asked = pair.bed.flt().args(["--json", "admin", "verify", "--fork"]).limit(DEADLINE * 2).run().expect(1);
    let asked: Value = serde_json::from_str(&asked.stdout).unwrap();
    assert_eq!(asked["one_history"], false, "{asked}");
    let history = |name: &str| {
        let all = asked["members"].as_array().unwrap();
        all.iter().find(|m| m["name"] == name).unwrap()["verdict"].clone()
    };
    assert_eq!((history("edge-1"), history("edge-2")), ("split".into(), "same".into()), "{asked}");
    let file = asked["evidence"][0].as_str().unwrap();
    let proof = pair.bed.json(["verify", "--fork", file]);
    assert_eq!(
        (&proof["proven"], &proof["by_entry"].as_u64().map(|n| n >= forked.parted)),
        (&true.into(), &Some(true))
    );
    let signers = proof["signers"].as_array().unwrap();
    assert!(signers.len() == 2 && signers.iter().all(|s| s["coordinator"] == "coordinator-1"), "{proof}");
    assert_ne!(signers[0]["hash"], signers[1]["hash"]);
    // The one who did both is left for the other, by a person's decision for the history that this one has.
    kill(&mut forked.first);
    kill(&mut forked.one);
    again(&mut second);
    appoint_second(pair);
    until("the alarm in the status", DEADLINE, || {
        let status = pair.by_second(["status"]).ok();
        let told = status.contains(" split") && status.contains("TAKES NO MORE ENTRIES");
        if told { Ok(()) } else { Err(status) }
    });
    assert_eq!(pair.bed.motd("edge-2").as_deref(), Some("short\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_seen_what_nobody_gives_keeps_an_older_ledger_from_being_served() {
    let pair = Pair::found();
    let mut first = pair.bed.start_coordinator();
    let _agent = pair.bed.join("edge-1");
    let liar = SecretKey::generate();
    pair.bed.admin(["enroll", &liar.id().to_string(), "--name", "edge-9"]).ok();
    pair.has_all("edge-1");
    let newest = pair.export().len() as u64 - 1;
    let ticket: protocols::Ticket = pair.bed.ticket().parse().unwrap();
    kill(&mut first);
    std::fs::remove_dir_all(data(&pair)).unwrap();
    let config =
        mesh::MeshConfig { bind: loopback(), ..mesh::MeshConfig::new(liar.clone(), Arc::new(|_, _: &[u8]| true)) };
    let mesh = mesh::MeshBuilder::bind(config).await.unwrap().start();
    mesh.learn(PeerAddr { id: ticket.coordinators[0].id, addrs: vec![pair.bed.listen()], relay: None });
    let head = Head { seq: newest + 7, hash: EntryHash::from_bytes([9; 32]) };
    let addr = PeerAddr::unknown(liar.id());
    let beat = Beat { number: 1, head, records: Digest::from_bytes([0; 32]), addr, document: None };
    let recovering = |words: &[&str]| {
        let listen = pair.bed.listen().to_string();
        let recover = pair.bed.flt().named("flt coordinator recover").args(["--json", "coordinator", "recover"]);
        let recover = recover.args(["--config", "coordinator/coordinator.toml", "--listen", &listen, "--wait", "90s"]);
        recover.args(words).limit(DEADLINE * 3).spawn()
    };
    let says = async |recover: &mut Proc| {
        let mut heard = false;
        while recover.is_running() {
            let client: protocols::Client<protocols::control::Control> =
                mesh.client(ticket.coordinators[0].id, alpn::CONTROL);
            let said = tokio::time::timeout(Duration::from_secs(5), client.rpc(SendBeat(beat.clone()))).await;
            heard |= matches!(said, Ok(Ok(Ok(_))));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(heard, "it was told");
        recover.wait(DEADLINE)
    };
    let refused = says(&mut recovering(&[])).await.expect(1).stderr;
    assert!(refused.contains(&format!("the newest entry that anybody gave is {newest} ")), "{refused}");
    assert!(refused.contains(&format!("edge-9 has seen entry {}", newest + 7)), "{refused}");
    assert!(refused.contains("--ignore NAME"), "{refused}");
    let found = says(&mut recovering(&["--ignore", "edge-9"])).await.expect(0).stdout;
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["head"].as_u64(), Some(newest), "{found}");
    mesh.close().await;
    again(&mut first);
    pair.invite();
}
