//! Secrets in files: written, compared and told of without a word on what they are.

use std::collections::BTreeSet;

use protocols::secret::Place;
use protocols::{SealedText, SecretKey, Verdict};
use scores::files::{Content, Entry, FilesScore, Mode, Owner, Seen};
use scores::{Interpret as _, Score as _};

use crate::fake::{MemTree, Node, assignment, files, hash_of, node_key};

const SECRET: &[u8] = b"hunter2";

/// A score that declares a secret in `/r/a`, sealed to the node or to somebody else.
fn with_secret(value: &[u8], to: &SecretKey, mode: Mode) -> FilesScore {
    let mut score = files(&[("b", "no secret")]);
    let (kind, subject) = (FilesScore::KIND, score.subject());
    let place = Place { kind: &kind, subject: &subject };
    let recipients = BTreeSet::from([to.id()]);
    let sealed = SealedText::seal("db".parse().unwrap(), place, &value.to_vec().into(), &recipients).unwrap();
    let entry = Entry::File { content: Content::Sealed(sealed), mode, owner: None, group: None };
    score.entries.insert("a".into(), entry);
    score
}

fn nobody() -> Owner {
    Owner { id: 0, name: Some("root".into()) }
}

fn directory() -> Seen {
    Seen::Directory { mode: Mode::DIRECTORY, owner: nobody(), group: nobody() }
}

fn file(bytes: &[u8], mode: Mode) -> Seen {
    let (hash, size) = hash_of(bytes);
    Seen::File { hash, size, mode, owner: nobody(), group: nobody() }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_there_the_secret_is_there_afterwards_and_then_nothing_is_to_be_done() {
    let before = [
        None,
        Some(file(SECRET, Mode::SECRET)),
        Some(file(SECRET, Mode::FILE)),
        Some(file(b"hunter3", Mode::SECRET)),
        Some(file(b"hunter3 and more", Mode::FILE)),
        Some(directory()),
        Some(Seen::Symlink { target: "/etc/shadow".into() }),
    ];
    for was in before {
        let node = Node::new();
        let found = was.clone().map(|was| ("/r/a".to_owned(), was));
        node.disk.tree.lock().unwrap().extend(found.into_iter().chain([("/r".to_owned(), directory())]));
        let agent = node.start();
        let job = assignment(&with_secret(SECRET, &node_key(), Mode::SECRET), 1, "{}");
        let plan = agent.plan(&job).await.unwrap();
        let report = agent.play(&job, &node.stage).await;
        assert_eq!(report.verdict, Verdict::Converged, "{was:?}: {report:?}");
        assert_eq!(node.disk.tree()["/r/a"], file(SECRET, Mode::SECRET), "{was:?}");
        assert!(agent.plan(&job).await.unwrap().is_empty(), "{was:?}");
        let writes: Vec<&String> = plan.iter().filter(|step| step.starts_with("write /r/a")).collect();
        assert_eq!(writes.is_empty(), was == Some(file(SECRET, Mode::SECRET)), "{plan:?}");
        for step in writes {
            assert!(step.starts_with("write /r/a (the secret `db`, 0600; was "), "{step}");
            assert!(!step.contains("bytes") && !step.contains("hunter"), "{step}");
            for told in [SECRET, b"hunter3", b"hunter3 and more"] {
                assert!(!step.contains(&hash_of(told).0.short()), "{step}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_observed_holds_no_hash_of_a_secret() {
    let node = Node::new();
    let found = [("/r".to_owned(), directory()), ("/r/a".to_owned(), file(SECRET, Mode::SECRET))];
    node.disk.tree.lock().unwrap().extend(found);
    let score = with_secret(SECRET, &node_key(), Mode::SECRET);
    let is = serde_json::to_string(&score.observe(&MemTree(node.disk.clone())).await.unwrap()).unwrap();
    let other = with_secret(b"hunter3", &node_key(), Mode::SECRET);
    let is_not = serde_json::to_string(&other.observe(&MemTree(node.disk.clone())).await.unwrap()).unwrap();
    for text in [is, is_not] {
        assert!(text.contains("/r/a") && !text.contains(&hash_of(SECRET).0.to_string()), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_nodes_secret_is_refused_before_anything_changes_and_a_new_publication_mends_it() {
    let node = Node::new();
    let agent = node.start();
    let score = with_secret(SECRET, &SecretKey::generate(), Mode::SECRET);
    let report = agent.play(&assignment(&score, 1, "{}"), &node.stage).await;
    assert_eq!(report.verdict, Verdict::Refused, "{report:?}");
    assert!(report.message.contains("it is not sealed to this node's key"), "{}", report.message);
    assert!(report.message.ends_with("flt admin secret reseal db"), "{}", report.message);
    assert!(node.disk.tree().is_empty(), "neither the secret nor the other file");
    assert_eq!(node.open_trials(), 0);
    let score = with_secret(SECRET, &node_key(), Mode::SECRET);
    assert_eq!(agent.play(&assignment(&score, 2, "{}"), &node.stage).await.verdict, Verdict::Converged);
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_another_declaration_does_not_open_here() {
    let node = Node::new();
    let mut score = with_secret(SECRET, &node_key(), Mode::SECRET);
    score.root = "/tmp".into();
    let report = node.start().play(&assignment(&score, 1, "{}"), &node.stage).await;
    assert_eq!(report.verdict, Verdict::Refused, "{report:?}");
    assert!(report.message.contains("sealed for another place"), "{}", report.message);
    assert!(node.disk.tree().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_fails_its_checks_is_taken_back() {
    let node = Node::new();
    let agent = node.start();
    agent.play(&assignment(&with_secret(SECRET, &node_key(), Mode::SECRET), 1, "{}"), &node.stage).await;
    let policy = r#"{"checks":[{"type":"exec","command":["fail"]}],"check_seconds":3}"#;
    let bad = assignment(&with_secret(b"hunter3", &node_key(), Mode::SECRET), 2, policy);
    assert_eq!(agent.play(&bad, &node.stage).await.verdict, Verdict::Quarantined);
    assert_eq!(node.disk.tree()["/r/a"], file(SECRET, Mode::SECRET));
}

#[test]
fn a_secret_for_everybody_is_refused() {
    for mode in [0o644, 0o604, 0o602, 0o601] {
        let error = with_secret(SECRET, &node_key(), Mode::from_bits(mode)).check().unwrap_err().to_string();
        assert!(error.starts_with("`entries.\"a\"`: it holds a secret, and with the mode"), "{error}");
    }
    for mode in [0o600, 0o640, 0o400, 0o660] {
        let score = with_secret(SECRET, &node_key(), Mode::from_bits(mode));
        let json = scores::score::payload(&score).unwrap();
        assert_eq!(scores::score::parse::<FilesScore>(&json).unwrap(), score);
        assert_eq!(json.contains("\"mode\""), mode != 0o600, "{json}");
        assert_eq!(score.secrets().len(), 1);
        assert_eq!(scores::catalogue().secrets(&FilesScore::KIND, &json).unwrap()[0].name().as_str(), "db");
    }
}
