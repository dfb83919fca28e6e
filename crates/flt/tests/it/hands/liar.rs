//! A network half in the wrong hands: whatever it says, nothing is played but what an admin signed for this node.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use agent::hands::wire::{self, Answer, FRAME_BYTES_MAX, Greeting, PROTOCOL, Say};
use protocols::entry::{Enroll, Role, Withdraw};
use protocols::{Body, Labels, SecretKey, Verdict};
use testkit::{DEADLINE, Program, until_async};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::bed::STRANGER;
use super::paper::{Hands, Paper, motd, program, publish, write_ticket};

#[tokio::test]
async fn entries_that_no_admin_signed_are_refused() {
    let mut paper = Paper::found();
    let hands = Hands::start(&paper);
    let (mut liar, welcome) = hands.greet().await;
    assert_eq!((welcome.node, welcome.fleet, welcome.head), (paper.node.id(), paper.fleet(), None));
    assert_eq!(welcome.kinds, ["files/1", "postgres/1", "service/1"].map(|kind| kind.parse().unwrap()));

    // Another fleet's ledger, however sound.
    let other = Paper::found();
    let refused = liar.entries(&other.entries).await.unwrap_err();
    assert!(refused.contains(&other.fleet().to_string()), "{refused}");
    // One that begins in the middle.
    liar.entries(&paper.entries[1..]).await.unwrap_err();
    assert_eq!(liar.entries(&paper.entries).await, Ok(Some(paper.head())));

    // By a stranger, by the node itself, with another's signature, altered, out of order, of another fleet.
    let evil = || publish("*", &motd("evil"));
    let stranger = paper.next(&SecretKey::generate(), evil());
    let own = paper.next(&paper.node, evil());
    let mut unsigned = paper.next(&paper.admin, evil());
    unsigned.signature = stranger.signature;
    let mut altered = paper.next(&paper.admin, publish("*", &motd("good")));
    let text = String::from_utf8(altered.bytes.to_vec()).unwrap().replace("good", "evil");
    altered.bytes = text.into_bytes().into();
    let elsewhere = other.next(&paper.admin, evil());
    for forged in [stranger, own, unsigned, altered, elsewhere] {
        liar.entries(std::slice::from_ref(&forged)).await.unwrap_err();
    }
    let honest = paper.head();
    assert_eq!(hands.greet().await.1.head, Some(honest), "nothing of it was kept");

    // A second history, by an admin who is one: the first stays.
    let (mut liar, _) = hands.greet().await;
    let split = paper.next(&paper.admin, evil());
    let generation = paper.publish("edge-1", &motd("good"));
    liar.entries(&paper.entries).await.unwrap();
    let refused = liar.entries(&[split]).await.unwrap_err();
    assert!(refused.contains("two different entries"), "{refused}");
    liar.ask("files/etc", generation).await;
    assert_eq!(liar.played().await.unwrap().verdict, Verdict::Converged);
    assert_eq!(hands.motd().as_deref(), Some("good"));
}

#[tokio::test]
async fn nothing_is_played_but_what_is_declared_here_and_now() {
    let mut paper = Paper::found();
    let other = SecretKey::generate().id();
    let name = "edge-2".parse().unwrap();
    paper.enter(Body::Enroll(Enroll { key: other, name, role: Role::Agent, labels: Labels::new(), replaces: None }));
    let hands = Hands::start(&paper);
    let (mut liar, _) = hands.greet().await;
    liar.ask("files/etc", 1).await;
    assert!(liar.played().await.unwrap_err().contains("no ledger"));

    // For another node; of no generation that is; of one to come.
    let theirs = paper.publish("edge-2", &motd("theirs"));
    liar.entries(&paper.entries).await.unwrap();
    for generation in [theirs, 0, 1, theirs + 1, u64::MAX] {
        liar.ask("files/etc", generation).await;
        let refused = liar.played().await.unwrap_err();
        assert!(refused.contains("not what the ledger declares"), "{refused}");
    }
    // An older one, before and after it was played.
    let first = paper.publish("edge-1", &motd("first"));
    liar.entries(&paper.entries).await.unwrap();
    liar.ask("files/etc", first).await;
    assert_eq!(liar.played().await.unwrap().verdict, Verdict::Converged);
    let second = paper.publish("edge-1", &motd("second"));
    liar.entries(&paper.entries).await.unwrap();
    liar.ask("files/etc", first).await;
    let refused = liar.played().await.unwrap_err();
    assert!(refused.contains(&format!("that is entry {second}")), "{refused}");
    assert_eq!(hands.motd().as_deref(), Some("first"));
    liar.ask("files/etc", second).await;
    assert_eq!(liar.played().await.unwrap().verdict, Verdict::Converged);
    assert_eq!(hands.motd().as_deref(), Some("second"));
    // Handing the past over again changes nothing.
    assert_eq!(liar.entries(&paper.entries[..2]).await, Ok(Some(paper.head())));
    liar.ask("files/etc", first).await;
    liar.played().await.unwrap_err();
    // What was withdrawn is not played.
    paper.enter(Body::Withdraw(Withdraw { name: "base/motd".parse().unwrap() }));
    liar.entries(&paper.entries).await.unwrap();
    liar.ask("files/etc", second).await;
    liar.played().await.unwrap_err();
    assert_eq!(hands.motd().as_deref(), Some("second"));
}

#[tokio::test]
async fn a_lost_ledger_is_no_way_back() {
    let mut paper = Paper::found();
    let first = paper.publish("edge-1", &motd("first"));
    let second = paper.publish("edge-1", &motd("second"));
    let mut hands = Hands::start(&paper);
    let (mut liar, _) = hands.greet().await;
    liar.entries(&paper.entries).await.unwrap();
    liar.ask("files/etc", second).await;
    assert_eq!(liar.played().await.unwrap().verdict, Verdict::Converged);
    hands.process.kill();
    hands.process.wait(DEADLINE);
    fs::remove_file(hands.path().join("data/state.redb")).unwrap();
    hands.process.restart();
    until_async("the hands listen again", DEADLINE, async || {
        let connected = UnixStream::connect(hands.path().join("hands.sock")).await;
        connected.map(drop).map_err(|e| e.to_string())
    })
    .await;
    // An old but true part of the ledger, in which the first was the newest.
    let (mut liar, welcome) = hands.greet().await;
    assert_eq!(welcome.head, None);
    liar.entries(&paper.entries[..paper.entries.len() - 1]).await.unwrap();
    liar.ask("files/etc", first).await;
    let refused = liar.played().await.unwrap_err();
    assert!(refused.contains(&format!("something was played by entry {second} before")), "{refused}");
    assert_eq!(hands.motd().as_deref(), Some("second"));
    // With all of it, it goes on.
    liar.entries(&paper.entries).await.unwrap();
    liar.ask("files/etc", second).await;
    assert_eq!(liar.played().await.unwrap().verdict, Verdict::Converged);
}

#[tokio::test]
async fn frames_out_of_bounds_end_a_connection_and_nothing_else() {
    let paper = Paper::found();
    let hands = Hands::start(&paper);
    // Too large by its own word, no message, a length and no more, an unknown version.
    let (mut liar, _) = hands.greet().await;
    liar.stream.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    liar.closed().await;
    let (mut liar, _) = hands.greet().await;
    let length = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
    liar.stream.write_all(&length.to_le_bytes()).await.unwrap();
    liar.closed().await;
    let (mut liar, _) = hands.greet().await;
    liar.stream.write_all(&[4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).await.unwrap();
    liar.closed().await;
    let mut stream = hands.connect().await;
    wire::write(&mut stream, &Greeting { protocol: PROTOCOL + 1, version: "9".into() }).await.unwrap();
    let answer = timeout(DEADLINE, wire::read::<Answer>(&mut stream)).await.unwrap().unwrap().unwrap();
    assert!(answer.unwrap_err().contains("version"));
    // It goes on for whoever comes next.
    let (mut liar, _) = hands.greet().await;
    liar.entries(&paper.entries).await.unwrap();
    liar.ask("files/none", 1).await;
    liar.played().await.unwrap_err();
    assert!(hands.process.is_running());
}

#[tokio::test]
async fn connections_that_say_nothing_do_not_keep_others_out() {
    let paper = Paper::found();
    let hands = Hands::start(&paper);
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(hands.connect().await);
    }
    // Some say half a greeting.
    for stream in &mut silent {
        drop(stream.write_all(&[9, 0]).await);
    }
    until_async("a connection that greets is heard", DEADLINE, async || {
        let mut stream = hands.connect().await;
        let greeting = Greeting { protocol: PROTOCOL, version: "0".into() };
        wire::write(&mut stream, &greeting).await.map_err(|e| e.to_string())?;
        match timeout(DEADLINE, wire::read::<Answer>(&mut stream)).await {
            Ok(Ok(Some(answer))) => answer.map(drop),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    for mut stream in silent {
        let mut byte = [0; 1];
        let read = timeout(DEADLINE, stream.read(&mut byte)).await.expect("it is closed in time");
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
}

#[tokio::test]
async fn the_newest_connection_takes_the_place_of_the_one_before() {
    let paper = Paper::found();
    let hands = Hands::start(&paper);
    let (mut first, _) = hands.greet().await;
    let (mut second, _) = hands.greet().await;
    first.closed().await;
    assert_eq!(second.entries(&paper.entries).await, Ok(Some(paper.head())));
    // One that does not greet takes nobody's place.
    let _silent = hands.connect().await;
    second.say(&Say::Recover { id: 9 }).await;
    assert!(matches!(second.hear().await, wire::Word::Recovered { id: 9, told } if told.is_empty()));
}

/// At the second socket, where the network half lends its devices.
#[tokio::test]
async fn lenders_out_of_bounds_end_their_connection_and_nothing_else() {
    let paper = Paper::found();
    let hands = Hands::start(&paper);
    let lend = async |said: &[u8]| {
        let mut stream = UnixStream::connect(hands.path().join("hands-devices.sock")).await.unwrap();
        stream.write_all(said).await.unwrap();
        stream
    };
    let ended = async |mut stream: UnixStream| {
        let read = timeout(DEADLINE, stream.read(&mut [0; 1])).await.expect("it is closed in time");
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    };
    // Too large by its own word, no greeting, one of another version, half of one.
    for said in [&[0xff; 4][..], &[4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], &[1, 0, 0, 0, 9], &[1, 0]] {
        ended(lend(said).await).await;
    }
    let greeting = [1, 0, 0, 0, 1];
    // A lender that says what nobody asked for is not heard; one that says what is no answer is not kept.
    let mut lender = lend(&greeting).await;
    let unasked = [3, 0, 0, 0, 7, 0, 1];
    lender.write_all(&unasked).await.unwrap();
    lender.write_all(&[4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).await.unwrap();
    ended(lender).await;
    // The newest that greets takes the place of the one before; one that does not takes nobody's.
    let first = lend(&greeting).await;
    let mut second = lend(&greeting).await;
    ended(first).await;
    second.write_all(&unasked).await.unwrap();
    ended(lend(&[]).await).await;
    let still = second.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(still.kind(), std::io::ErrorKind::WouldBlock, "it was closed");
    assert!(hands.process.is_running());
}

#[test]
fn a_stranger_lends_nothing() {
    if !testkit::require("a_stranger_lends_nothing", &["setpriv", "/usr/bin/python3"]) {
        return;
    }
    let paper = Paper::found();
    let hands = Hands::start(&paper);
    let socket = hands.path().join("hands-devices.sock");
    // Whatever the file's mode would allow.
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(hands.path(), Permissions::from_mode(0o755)).unwrap();
    let script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.recv(1))";
    let own = STRANGER.to_string();
    let stranger = Program::new("setpriv").args(["--reuid", &own, "--regid", &own, "--clear-groups"]);
    let output = stranger.args(["/usr/bin/python3", "-c", script]).arg(&socket).run();
    assert!(output.code == Some(0) && output.stdout.trim() == "b''" || output.stderr.contains("reset"), "{output:?}");
    hands.process.wait_for("refused a connection of another user that would lend devices");
}

#[tokio::test]
async fn what_decides_whom_the_hands_obey_is_roots_alone() {
    let paper = Paper::found();
    let mut hands = Hands::start(&paper);
    hands.process.terminate();
    hands.process.wait(DEADLINE).expect(0);
    let refused = |why: &str| {
        let output = program(&hands.path()).run().expect(64);
        assert!(output.stderr.contains(why), "{}", output.stderr);
    };
    // The pin outlives the process.
    write_ticket(&hands.path(), Paper::found().fleet());
    refused("pinned to");
    write_ticket(&hands.path(), paper.fleet());
    fs::set_permissions(hands.path().join("ticket"), Permissions::from_mode(0o666)).unwrap();
    refused("can be written by others");
    write_ticket(&hands.path(), paper.fleet());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(hands.path().join("key"), Some(64_711), None).unwrap();
        refused("belongs to another user");
    }
}
