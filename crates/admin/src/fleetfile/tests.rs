use super::*;

fn read(text: &str) -> Result<FleetFile, BadFile> {
    FleetFile::read("fleet.toml", text, Format::Toml, &scores::catalogue())
}

fn resolve(text: &str) -> Result<Vec<Resolved>, BadFile> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("motd.txt"), "hello\n").unwrap();
    std::fs::write(dir.path().join("logo.bin"), [0, 159, 146, 150]).unwrap();
    std::fs::write(dir.path().join("big"), vec![b'x'; 20_000]).unwrap();
    read(text)?.resolve(&scores::catalogue(), &mut LocalFiles::new(dir.path()))
}

const GOOD: &str = r#"
version = 1
fleet = "acme"

[group.edge]
on = "role=edge,!edge-7"

[group.edge.score.motd]
kind = "files/1"
spec = { root = "/etc", entries = { motd = { file = "motd.txt", mode = "0600" } } }
policy = { check_seconds = 5, checks = [{ type = "tcp", address = "localhost:22" }] }
"#;

#[test]
fn a_good_file_is_read() {
    let file = read(GOOD).unwrap();
    assert_eq!(file.names().map(DeclarationName::as_str).collect::<Vec<_>>(), ["edge/motd"]);
    assert!(file.check_fleet(&"acme".parse().unwrap()).is_ok());
    let other = file.check_fleet(&"other".parse().unwrap()).unwrap_err().to_string();
    assert!(
        other.starts_with("fleet.toml:3:9: the file is for the fleet `acme`, and this is the fleet `other`"),
        "{other}"
    );
    let resolved = resolve(GOOD).unwrap().remove(0);
    assert_eq!(resolved.payload.get(), r#"{"entries":{"motd":{"content":"hello\n","mode":"0600"}},"root":"/etc"}"#);
    assert_eq!(resolved.policy.checks.len(), 1);
    assert_eq!(resolved.on.as_str(), "role=edge,!edge-7");
    assert_eq!(resolved.subject.as_str(), "files/etc");
}

#[test]
fn json_says_the_same() {
    let json = r#"{"fleet": "acme", "group": {"edge": {"on": "role=edge,!edge-7", "score": {"motd": {
        "kind": "files/1",
        "spec": {"root": "/etc", "entries": {"motd": {"mode": "0600", "content": "hello\n"}}},
        "policy": {"check_seconds": 5, "checks": [{"type": "tcp", "address": "localhost:22"}]}}}}}}"#;
    assert_eq!(Format::guess("-", json), Format::Json);
    let file = FleetFile::read("f.json", json, Format::Json, &scores::catalogue()).unwrap();
    let from_json = file.resolve(&scores::catalogue(), &mut LocalFiles::new("/nonexistent")).unwrap();
    assert_eq!(from_json, resolve(GOOD).unwrap());
}

#[test]
fn local_files_become_text_bytes_or_blobs() {
    let text = r#"
[group.a]
on = "*"
[group.a.score.f]
kind = "files/1"
[group.a.score.f.spec]
root = "/srv"
entries.text = { file = "motd.txt" }
entries.bytes = { file = "logo.bin" }
entries."sub/big" = { file = "big" }
"#;
    let resolved = resolve(text).unwrap().remove(0);
    let payload: serde_json::Value = serde_json::from_str(resolved.payload.get()).unwrap();
    assert_eq!(payload["entries"]["text"]["content"], "hello\n");
    assert_eq!(payload["entries"]["bytes"]["base64"], "AJ+Slg==");
    let hash = blake3::hash(&[b'x'; 20_000]).to_string();
    assert_eq!(payload["entries"]["sub/big"]["blob"]["hash"], hash);
    assert_eq!(payload["entries"]["sub/big"]["blob"]["size"], 20_000);
    assert_eq!(resolved.artifacts, [resolved.uploads[0].blob]);
}

/// The message of the only problem, with its place.
fn wrong(text: &str) -> String {
    resolve(text).expect_err(text).to_string()
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let base = |score: &str| format!("[group.a]\non = \"*\"\n[group.a.score.f]\n{score}\n");
    let cases = [
        ("[group.a]\n".to_owned(), "fleet.toml:1:8: the group `a` does not say which nodes it is for"),
        (
            "groups = 1\n".to_owned(),
            "fleet.toml:1:1: unknown field `groups`\n  | groups = 1\n  = did you mean `group`?",
        ),
        ("version = 2\n".to_owned(), "fleet.toml:1:11: the version is not 1"),
        ("[group.A]\non = \"*\"\n".to_owned(), "fleet.toml:1:8: `A` is not a name"),
        (
            "[group.a]\non = \"a,,b\"\n".to_owned(),
            "fleet.toml:2:6: `a,,b` is not a selector: a part between commas is empty",
        ),
        ("[group.a]\non = 3\n".to_owned(), "fleet.toml:2:6: this should be a text"),
        ("x = = 1\n".to_owned(), "fleet.toml:1:5: "),
        (
            base("kind = \"file/1\"\nspec = {}"),
            "fleet.toml:4:8: `file/1` is not a kind of score\n  | kind = \"file/1\"\n  = did you mean `files/1`?",
        ),
        (
            base("knd = \"files/1\"\nspec = {}"),
            "fleet.toml:4:1: unknown field `knd`\n  | knd = \"files/1\"\n  = did you mean `kind`?",
        ),
        (base("kind = \"files/1\""), "fleet.toml:3:16: `f` has no `spec`"),
        (
            base("kind = \"files/1\"\nspec = { rot = \"/etc\", entries = {} }"),
            "fleet.toml:5:10: unknown field `rot`\n  | spec = { rot = \"/etc\", entries = {} }\n  = did you mean `root`?",
        ),
        (
            base(
                "kind = \"files/1\"\n[group.a.score.f.spec]\nroot = \"/etc\"\nentries.\"app.conf\" = { contnt = \"x\" }",
            ),
            "fleet.toml:7:24: unknown field `contnt`",
        ),
        (
            base("kind = \"files/1\"\n[group.a.score.f.spec]\nroot = \"/etc\"\nentries.\"../x\" = { content = \"x\" }"),
            "fleet.toml:7:18: `entries.\"../x\"`: it may not hold `..`",
        ),
        (
            base("kind = \"files/1\"\nspec = { root = \"etc\", entries = { a = { content = \"\" } } }"),
            "fleet.toml:5:17: `root`: `etc` is not an absolute path",
        ),
        (
            base("kind = \"files/1\"\nspec = { root = \"/etc\", entries = { a = { file = \"none.txt\" } } }"),
            "fleet.toml:5:50: cannot read ",
        ),
        (
            base(
                "kind = \"files/1\"\nspec = { root = \"/etc\", entries = { a = { file = \"motd.txt\", content = \"\" } } }",
            ),
            "fleet.toml:5:43: `file` and `content` cannot stand together",
        ),
        (
            base(
                "kind = \"files/1\"\nspec = { root = \"/etc\", entries = { a = { content = \"\" } } }\npolicy = { chekcs = [] }",
            ),
            "fleet.toml:6:12: unknown field `chekcs`\n  | policy = { chekcs = [] }\n  = did you mean `checks`?",
        ),
        (
            base(
                "kind = \"files/1\"\nspec = { root = \"/etc\", entries = { a = { content = \"\" } } }\npolicy = { attempts = 99 }",
            ),
            "fleet.toml:6:10: the policy's attempts is 99 and may be 1 to 20",
        ),
    ];
    let mut failed = Vec::new();
    for (text, message) in cases {
        let found = wrong(&text);
        if !found.starts_with(message) {
            failed.push(format!("{text}\nsays:     {found}\nexpected: {message}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn every_problem_is_reported_at_once() {
    let error = read("[group.a]\nnn = 1\n[group.b]\non = \"*\"\n[group.b.score.x]\nkind = \"y\"\n").unwrap_err();
    let lines: Vec<usize> = error.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [1, 2, 5, 6]);
}

#[test]
fn json_problems_have_places_too() {
    let read =
        |text: &str| FleetFile::read("f.json", text, Format::Json, &scores::catalogue()).unwrap_err().to_string();
    assert!(read("{\n \"group\": {\"a\": {\"on\": 3}}}").starts_with("f.json:2:24: this should be a text"));
    assert!(read("{\"version\": 1, \"version\": 1}").starts_with("f.json:1:27: `version` is here twice"));
    assert!(read("{\"group\": ").starts_with("f.json:1:"));
    let deep = format!("{{\"group\":{}1{}}}", "[".repeat(100), "]".repeat(100));
    assert!(read(&deep).contains("nested"), "{}", read(&deep));
}

#[test]
fn a_system_is_published_from_its_link() {
    struct Store;
    impl Resolve for Store {
        fn file(&mut self, _path: &str, _inline: bool) -> Result<Content, ResolveError> {
            Err(ResolveError::new("no file"))
        }
        fn closure(&mut self, toplevel: Toplevel<'_>) -> Result<Closure, ResolveError> {
            match toplevel {
                Toplevel::Link("./result") => {
                    let toplevel = format!("/nix/store/{}-nixos-system", "a".repeat(32));
                    let blob = protocols::BlobRef { hash: protocols::BlobHash::from_bytes([7; 32]), size: 9 };
                    let source = Source::Bytes(bytes::Bytes::from_static(b"manifest!"));
                    Ok(Closure { toplevel, manifest: blob, uploads: vec![Upload { blob, source }] })
                }
                _ => Err(ResolveError::new("there is no such path in this machine's store")),
            }
        }
    }
    if !scores::catalogue().kinds().any(|kind| kind.as_str() == "nixos/1") {
        panic!("the catalogue has no nixos/1");
    }
    let text = |spec: &str| format!("[group.a]\non = \"*\"\n[group.a.score.os]\nkind = \"nixos/1\"\nspec = {spec}\n");
    let resolve = |spec: &str| read(&text(spec)).unwrap().resolve(&scores::catalogue(), &mut Store);
    let one = resolve("{ toplevel-link = \"./result\", mode = \"boot\" }").unwrap().remove(0);
    assert_eq!(one.subject.as_str(), "nixos");
    assert_eq!(one.artifacts.len(), 1);
    assert!(one.payload.get().contains("\"mode\":\"boot\"") && !one.payload.get().contains("toplevel-link"));
    let error = resolve("{ toplevel = \"/nix/store/x\" }").unwrap_err().to_string();
    assert!(
        error.starts_with("fleet.toml:5:23: there is no such path in this machine's store")
            || error.starts_with("fleet.toml:5:21:"),
        "{error}"
    );
    assert!(resolve("{ }").unwrap_err().to_string().contains("the spec names no system"));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        drop(FleetFile::read("f", &text, Format::Toml, &scores::catalogue()));
        drop(FleetFile::read("f", &text, Format::Json, &scores::catalogue()));
    }

    #[test]
    fn no_damage_to_a_good_file_panics(at in 0..GOOD.len(), with in "\\PC{0,4}", cut in 0..8usize) {
        let end = (at + cut).min(GOOD.len());
        let damaged = format!("{}{with}{}", &GOOD[..at], &GOOD[end..]);
        if let Ok(file) = read(&damaged) {
            drop(file.resolve(&scores::catalogue(), &mut LocalFiles::new("/nonexistent")));
        }
    }

    #[test]
    fn equal_specs_give_equal_payloads(keys in proptest::collection::btree_map("[a-z]{1,6}", 0..1000i64, 1..8)) {
        let forward: String = keys.iter().map(|(k, v)| format!("{k} = {v}\n")).collect();
        let backward: String = keys.iter().rev().map(|(k, v)| format!("{k} = {v}\n")).collect();
        let json = serde_json::to_string(&keys).unwrap();
        let payload = tree::from_toml(&forward).unwrap().to_json();
        assert_eq!(payload, tree::from_toml(&backward).unwrap().to_json());
        assert_eq!(payload, tree::from_json(&json).unwrap().to_json());
    }
}
