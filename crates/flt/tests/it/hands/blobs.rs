//! Blobs from a liar: what is not what its hash says gets nowhere.

use std::fs;

use agent::hands::wire::{Say, Unfetched, Word};
use protocols::{BlobHash, BlobRef, Verdict};

use super::paper::{Hands, Liar, Paper};

fn blob_of(bytes: &[u8]) -> BlobRef {
    BlobRef { hash: BlobHash::from_bytes(*blake3::hash(bytes).as_bytes()), size: bytes.len() as u64 }
}

fn declared(blob: &BlobRef) -> String {
    let content = format!(r#"{{"hash":"{}","size":{}}}"#, blob.hash, blob.size);
    format!(r#"{{"root":"/etc","entries":{{"motd":{{"blob":{content}}}}}}}"#)
}

/// Waits for the question after a blob; gives its name.
async fn asked(liar: &mut Liar, blob: &BlobRef) -> u64 {
    match liar.hear().await {
        Word::Fetch { id, blob: wanted } if wanted == *blob => id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_what_its_hash_says_is_written() {
    let truth = "truth ".repeat(100_000);
    let blob = blob_of(truth.as_bytes());
    let mut paper = Paper::found();
    let generation = paper.publish("edge-1", &declared(&blob));
    let hands = Hands::start(&paper);
    let (mut liar, _) = hands.greet().await;
    liar.entries(&paper.entries).await.unwrap();

    let lie = truth.replace("truth", "false");
    let long = format!("{truth}!");
    let short = &truth[..truth.len() - 1];
    for bytes in [lie.as_str(), &long, short, ""] {
        liar.ask("files/etc", generation).await;
        let id = asked(&mut liar, &blob).await;
        for chunk in bytes.as_bytes().chunks(100_000) {
            liar.say(&Say::Chunk { id, bytes: chunk.to_vec().into() }).await;
        }
        liar.say(&Say::Fetched { id, result: Ok(()) }).await;
        // Answers to what nobody asked are passed over.
        liar.say(&Say::Chunk { id: id + 7, bytes: vec![1].into() }).await;
        liar.say(&Say::Checked { id, result: Ok(()) }).await;
        let report = liar.played().await.unwrap();
        assert_eq!(report.verdict, Verdict::Failed, "{report:?}");
        assert!(report.message.contains("not what its hash says"), "{}", report.message);
        assert_eq!(hands.motd(), None);
    }
    // None there; and a connection that ends in the middle.
    liar.ask("files/etc", generation).await;
    let id = asked(&mut liar, &blob).await;
    let gone = Unfetched { why: "nobody has it".into(), transient: true };
    liar.say(&Say::Fetched { id, result: Err(gone) }).await;
    assert!(liar.played().await.unwrap().message.contains("nobody has it"));
    liar.ask("files/etc", generation).await;
    let id = asked(&mut liar, &blob).await;
    liar.say(&Say::Chunk { id, bytes: b"tru".to_vec().into() }).await;
    drop(liar);

    let (mut liar, _) = hands.greet().await;
    let mut report = None;
    while report.is_none() {
        liar.ask("files/etc", generation).await;
        loop {
            match liar.hear().await {
                Word::Fetch { id, .. } => {
                    for chunk in truth.as_bytes().chunks(100_000) {
                        liar.say(&Say::Chunk { id, bytes: chunk.to_vec().into() }).await;
                    }
                    liar.say(&Say::Fetched { id, result: Ok(()) }).await;
                }
                Word::Played { result, .. } => {
                    // The play of before may have been waited for.
                    report = result.ok().filter(|report| report.verdict == Verdict::Converged);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(hands.motd().as_deref(), Some(truth.as_str()));
    let left: Vec<_> = fs::read_dir(hands.path().join("data/brought")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn too_many_questions_at_once_end_a_connection() {
    let blob = blob_of(b"what never comes");
    let mut paper = Paper::found();
    let generation = paper.publish("edge-1", &declared(&blob));
    let hands = Hands::start(&paper);
    let (mut liar, _) = hands.greet().await;
    liar.entries(&paper.entries).await.unwrap();
    // Each of them waits for the play that waits for its blob.
    liar.ask("files/etc", generation).await;
    asked(&mut liar, &blob).await;
    for _ in 0..40 {
        let say = Say::Play { id: 1000, subject: "files/etc".parse().unwrap(), generation };
        if agent::hands::wire::write(&mut liar.stream, &say).await.is_err() {
            break;
        }
    }
    liar.closed().await;
    assert_eq!(hands.greet().await.1.head, Some(paper.head()));
}
