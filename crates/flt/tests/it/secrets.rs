//! Secrets from the admin's hands to the nodes that shall have them, and to nobody and nowhere else.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod system;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use protocols::secret::{OpenTextError, Place};
use protocols::{SealedText, SecretKey};
use serde_json::Value;
use testkit::{DEADLINE, Output, Proc, until};

use crate::processes::bed::{Bed, ready};

/// What must be found in the files that were declared, and nowhere else.
const SECRETS: [&str; 3] = ["correct-horse-battery-staple", "Tr0ub4dor-and-3", "four-random-common-words"];

const FILE: &str = r#"
[group.edge]
on = "role=edge,!edge-9"
score.db.kind = "files/1"
score.db.spec.root = "/etc/db"
score.db.spec.entries.password = { secret = "db-password" }
score.db.spec.entries.shared = { secret = "db-password", mode = "0640" }
score.db.spec.entries.host = { content = "localhost\n" }
"#;

/// A fleet whose every part tells all it can in its log.
struct Talkative {
    bed: Bed,
    /// Everything that a command or daemon has printed.
    said: std::cell::RefCell<Vec<String>>,
}

impl Talkative {
    fn found() -> (Self, Proc) {
        let bed = Bed::found();
        let coordinator = bed.coordinator().env("FLT_LOG", "trace").spawn();
        ready(&coordinator);
        std::fs::write(bed.path().join("fleet.toml"), FILE).unwrap();
        (Self { bed, said: Vec::new().into() }, coordinator)
    }

    fn join(&self, name: &str) -> Proc {
        self.bed.join_by(self.bed.agent(name).env("FLT_LOG", "trace").limit(DEADLINE), name)
    }

    /// `flt admin …` with something on its standard input.
    fn admin_with<const N: usize>(&self, input: &str, words: [&str; N]) -> Output {
        let output = self.bed.admin(words).env("FLT_LOG", "trace").input(input).run();
        self.said.borrow_mut().extend([output.stdout.clone(), output.stderr.clone()]);
        output
    }

    fn admin<const N: usize>(&self, words: [&str; N]) -> Output {
        self.admin_with("", words)
    }

    fn json<const N: usize>(&self, words: [&str; N]) -> Value {
        let json = self.bed.json(words);
        self.said.borrow_mut().push(json.to_string());
        json
    }

    fn file(&self, node: &str, name: &str) -> PathBuf {
        self.bed.root(node).join("etc/db").join(name)
    }

    fn has(&self, node: &str, secret: &str) {
        for (name, mode) in [("password", 0o600), ("shared", 0o640)] {
            let path = self.file(node, name);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), secret, "{}", path.display());
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode, "{}", path.display());
        }
    }

    /// The secret as it stands in the ledger.
    fn sealed(&self) -> SealedText {
        let score = self.json(["score", "show", "edge/db"]);
        serde_json::from_value(score["payload"]["entries"]["password"]["secret"].clone()).unwrap()
    }

    fn key(&self, node: &str) -> SecretKey {
        SecretKey::read(&self.bed.data(node).join("key"), || None).unwrap()
    }
}

#[test]
fn a_secret_reaches_the_nodes_it_is_for_and_nothing_else_ever_tells_it() {
    let (fleet, coordinator) = Talkative::found();
    let mut daemons = vec![coordinator, fleet.join("edge-1"), fleet.join("edge-9")];
    let [first, second, third] = SECRETS;

    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemons[1].pid())).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().nth(4), Some("0"), "{cores}");

    // Nobody says what it is: a plan can be looked at, and nothing can be applied.
    let plan = fleet.admin(["plan", "fleet.toml"]).expect(0).stdout;
    assert!(plan.contains("secret `db-password` is not known yet"), "{plan}");
    let error = fleet.admin(["apply", "fleet.toml"]).expect(2).stderr;
    assert!(error.contains("--secret-file db-password=PATH"), "{error}");
    let error = fleet.admin(["apply", "fleet.toml", "--secret-file", "db-pasword=-"]).expect(2).stderr;
    assert!(error.contains("did you mean `db-password`?"), "{error}");
    let plan = fleet.admin_with(first, ["plan", "fleet.toml", "--secret-file", "db-password=-"]).expect(0).stdout;
    assert!(plan.contains("secret `db-password` is new, sealed to 2 keys"), "{plan}");

    fleet.admin_with(first, ["apply", "fleet.toml", "--secret-file", "db-password=-"]).expect(0);
    fleet.has("edge-1", first);
    assert!(!fleet.file("edge-9", "password").exists());
    // The same again changes nothing, with the value and without.
    let head = fleet.json(["status"])["head"].clone();
    fleet.admin_with(first, ["apply", "fleet.toml", "--secret-file", "db-password=-"]).expect(0);
    fleet.admin(["apply", "fleet.toml"]).expect(0);
    fleet.admin(["secret", "reseal"]).expect(0);
    assert_eq!(fleet.json(["status"])["head"], head);

    // Another value, from a file; and back.
    std::fs::write(fleet.bed.path().join("value"), second).unwrap();
    let changed = fleet.admin(["apply", "fleet.toml", "--secret-file", "db-password=value"]).expect(0);
    assert!(changed.stderr.contains("everybody on this machine can read value"), "{}", changed.stderr);
    std::fs::remove_file(fleet.bed.path().join("value")).unwrap();
    fleet.has("edge-1", second);
    fleet.admin(["rollback", "edge/db"]).expect(0);
    fleet.has("edge-1", first);
    fleet.admin_with(third, ["secret", "set", "db-password", "--file", "-"]).expect(0);
    fleet.has("edge-1", third);
    fleet.admin(["secret", "set", "db-password"]).expect(2);
    fleet.admin_with("x", ["secret", "set", "other", "--file", "-"]).expect(2);

    // Somebody opens the file for everybody: that is put right, and told without a word on what it is.
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(fleet.file("edge-1", "password"), open).unwrap();
    let words = ["plan", "fleet.toml", "--preview", "--secret-file", "db-password=-"];
    let preview = fleet.admin_with(first, words).expect(0).stdout;
    assert!(preview.contains("write /etc/db/password (the secret `db-password`, 0600; was a file, 0644 "), "{preview}");
    assert!(preview.contains("secret `db-password` changes, sealed to 2 keys"), "{preview}");

    // Who joins later cannot open it until it is sealed again, and is told of.
    daemons.push(fleet.join("edge-2"));
    until("edge-2 to say that it cannot open the secret", DEADLINE, || {
        let node = fleet.json(["node", "show", "edge-2"]);
        let part = &node["parts"][0];
        let said = part["message"].as_str().unwrap_or_default().contains("flt admin secret reseal db-password");
        if part["verdict"] == "refused" && said { Ok(()) } else { Err(node) }
    });
    let status = fleet.admin(["status"]).expect(0).stdout;
    assert!(status.contains("edge/db: the secret `db-password` is not sealed to edge-2"), "{status}");
    let list = fleet.admin(["secret", "list"]).expect(0);
    assert!(list.stdout.contains("seal-again") && list.stdout.contains("edge-2"), "{list:?}");
    assert_eq!(fleet.json(["secret", "list"])["secrets"][0]["missing"][0], "edge-2");
    let dry = fleet.admin(["secret", "reseal", "--dry-run"]).expect(0).stdout;
    assert!(dry.contains("edge/db: secret `db-password` is sealed again, to 3 keys"), "{dry}");
    fleet.admin(["secret", "reseal", "db-password"]).expect(0);
    fleet.has("edge-1", third);
    fleet.has("edge-2", third);
    assert_eq!(fleet.json(["secret", "list"])["secrets"][0]["state"], "sealed");

    // An enrolled node that it is not for has the whole ledger, and opens nothing.
    let sealed = fleet.sealed();
    let (kind, subject) = ("files/1".parse().unwrap(), "files/etc/db".parse().unwrap());
    let place = Place { kind: &kind, subject: &subject };
    assert_eq!(sealed.open(place, &fleet.key("edge-2")).unwrap().expose(), third.as_bytes());
    let stranger = sealed.open(place, &fleet.key("edge-9")).unwrap_err();
    assert_eq!(stranger, OpenTextError::NotARecipient("db-password".parse().unwrap()));
    // Nor does a declaration that somebody copies it into, to have it written where they can read it.
    let form = serde_json::to_value(&sealed).unwrap();
    let stolen = serde_json::json!({"group": {"thief": {"on": "edge-1", "score": {"db": {"kind": "files/1", "spec":
        {"root": "/tmp", "entries": {"mine": {"secret": form, "mode": "0640"}}}}}}}});
    std::fs::write(fleet.bed.path().join("thief.json"), stolen.to_string()).unwrap();
    let refused = fleet.admin(["apply", "thief.json"]).expect(1);
    assert!(refused.stdout.contains("was sealed for another place"), "{refused:?}");
    assert!(!fleet.bed.root("edge-1").join("tmp/mine").exists());

    for words in [&["status"][..], &["log"], &["score", "list"], &["node", "list"]] {
        let flt = fleet.bed.flt().args(["--json", "admin"]).args(words).run().expect(0);
        fleet.said.borrow_mut().push(flt.stdout);
    }
    fleet.admin(["log", "--export", "all.ledger"]).expect(0);
    let mut said = fleet.said.take();
    for mut daemon in daemons {
        daemon.terminate();
        let ended = daemon.wait(DEADLINE);
        assert!(ended.stderr.contains("TRACE"), "the daemons do tell all they can");
        said.extend([ended.stdout, ended.stderr]);
    }
    for text in &said {
        assert_tells_nothing("what was printed", text.as_bytes());
    }
    let mut declared = Vec::new();
    for node in ["edge-1", "edge-2"] {
        declared.extend(["password", "shared"].map(|name| fleet.file(node, name)));
    }
    let mut looked_at = 0;
    each_file(fleet.bed.path(), &mut |path, bytes| {
        let mode = std::fs::symlink_metadata(path).unwrap().permissions().mode();
        if declared.iter().any(|file| file == path) {
            assert_eq!(mode & 0o007, 0, "{}", path.display());
            assert_eq!(bytes, third.as_bytes(), "{}", path.display());
        } else {
            assert_tells_nothing(&path.display().to_string(), bytes);
            looked_at += 1;
        }
    });
    assert!(looked_at > 20, "{looked_at} files is not all there is");
}

/// Neither a secret nor anything that is made from one without a key.
fn assert_tells_nothing(place: &str, bytes: &[u8]) {
    for secret in SECRETS {
        let hash = blake3::hash(secret.as_bytes());
        let telltales = [
            secret.to_owned(),
            data_encoding::BASE64.encode(secret.as_bytes()).trim_end_matches('=').to_owned(),
            data_encoding::HEXLOWER.encode(secret.as_bytes()),
            // The first characters of its hash are what plans print of other files.
            hash.to_hex()[..10].to_owned(),
        ];
        for telltale in telltales.iter().map(String::as_bytes).chain([hash.as_bytes().as_slice()]) {
            let found = bytes.windows(telltale.len()).position(|window| window == telltale);
            if let Some(at) = found {
                let around = &bytes[at.saturating_sub(200)..(at + 100).min(bytes.len())];
                panic!("{place} tells of a secret: {}", String::from_utf8_lossy(around));
            }
        }
    }
}

fn each_file(folder: &Path, look: &mut dyn FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = std::fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            each_file(&path, look);
        } else if meta.is_file() {
            look(&path, &std::fs::read(&path).unwrap());
        }
    }
}
