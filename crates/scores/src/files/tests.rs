use super::*;
use crate::Plan as _;
use crate::score::{parse, payload};

fn refused(json: &str) -> String {
    parse::<FilesScore>(json).unwrap_err().to_string()
}

fn with(entries: &str) -> String {
    format!(r#"{{"root":"/etc/x","entries":{{{entries}}}}}"#)
}

#[test]
fn reads_the_sample_and_writes_it_back() {
    let table: toml::Table = include_str!("../../samples/files.toml").parse().unwrap();
    let json = serde_json::to_string(&table).unwrap();
    let score: FilesScore = parse(&json).unwrap();
    assert_eq!(score.subject().as_str(), "files/etc/myapp");
    assert_eq!(score.entries.len(), 5);
    assert_eq!(
        score.entries["key.der"],
        Entry::File {
            content: Content::Bytes(vec![0, 1, 2, 3]),
            mode: Mode::from_bits(0o600),
            owner: None,
            group: None,
        }
    );
    assert_eq!(score.artifacts().len(), 1);
    assert_eq!(parse::<FilesScore>(&payload(&score).unwrap()).unwrap(), score);
    let empty = b"";
    assert_eq!(score.artifacts()[0].hash.as_bytes(), blake3::hash(empty).as_bytes());
}

#[test]
fn refuses_paths_that_leave_the_root() {
    for (path, why) in [
        ("/etc/passwd", "it is an absolute path and should be relative to the root"),
        ("../passwd", "it may not hold `..`"),
        ("a/../../b", "it may not hold `..`"),
        ("./a", "it may not hold `.`"),
        ("a//b", "it has an empty name between slashes or at its end"),
        ("a/", "it has an empty name between slashes or at its end"),
        ("", "it has an empty name between slashes or at its end"),
        ("a\\u0000b", "it holds a NUL"),
    ] {
        let message = refused(&with(&format!(r#""{path}":{{"content":""}}"#)));
        assert!(message.ends_with(why), "{path}: {message}");
    }
    for root in ["etc", "", "/etc/../x", "/etc//x", "/etc/", "/./x"] {
        let json = format!(r#"{{"root":"{root}","entries":{{"a":{{"absent":true}}}}}}"#);
        assert!(refused(&json).starts_with("`root`: "), "{root}");
    }
    assert!(refused(&with(&format!(r#""{}":{{"content":""}}"#, "n".repeat(256)))).contains("256 bytes"));
}

#[test]
fn refuses_what_contradicts_itself() {
    for (entries, why) in [
        (r#""a":{"content":""},"a/b":{"content":""}"#, "`entries.\"a/b\"`: it is below `a`, which is declared a file"),
        (r#""a":{"absent":true},"a/b/c":{"directory":true}"#, "it is below `a`, which is declared absent"),
        (r#""a":{"content":""},"a":{"content":"x"}"#, "`a` is declared twice"),
        (r#""a":{}"#, "exactly one of content"),
        (r#""a":{"content":"","absent":true}"#, "exactly one of content"),
        (r#""a":{"absent":true,"mode":"0644"}"#, "an absent entry has no mode"),
        (r#""a":{"content":"","mode":"644x"}"#, "three or four octal digits"),
        (r#""a":{"content":"","mode":"0888"}"#, "three or four octal digits"),
        (r#""a":{"content":"","owner":"-x"}"#, "is not the name or number of an owner"),
        (r#""a":{"content":"","group":"4294967295"}"#, "too large"),
        (r#""a":{"base64":"*"}"#, "its base64 does not decode"),
        (r#""a":{"contents":""}"#, "unknown field `contents`"),
        ("", "there are none"),
    ] {
        let message = refused(&with(entries));
        assert!(message.contains(why), "{entries}: {message}");
    }
    assert!(parse::<FilesScore>(&with(r#""a":{"absent":true},"a/b":{"absent":true}"#)).is_ok());
}

#[test]
fn names_the_field_and_the_place() {
    let message = refused("{\"root\":\"/etc/x\",\n\"entries\":{\"a\":{\"content\":\"\",\"mode\":7}}}");
    assert!(message.starts_with("`entries.a"), "{message}");
    assert!(message.contains("line 2"), "{message}");
    assert!(refused(r#"{"root":"/x","entries":{"a":{"absent":true}}} x"#).contains("trailing"));
    assert!(refused(r#"{"root":"/x","entries":{"a":{"absent":true}},"extra":1}"#).contains("unknown field `extra`"));
    assert!(refused("").contains("EOF"));
}

#[test]
fn bounds_content() {
    let entry = |n: usize| format!(r#""f{n}":{{"content":"{}"}}"#, "x".repeat(INLINE_BYTES_MAX));
    assert!(parse::<FilesScore>(&with(&(0..4).map(entry).collect::<Vec<_>>().join(","))).is_ok());
    let five = refused(&with(&(0..5).map(entry).collect::<Vec<_>>().join(",")));
    assert!(five.contains("use blobs"), "{five}");
    let large = format!(r#""f":{{"content":"{}"}}"#, "x".repeat(INLINE_BYTES_MAX + 1));
    assert!(refused(&with(&large)).contains("use a blob"));
    let huge = format!(r#""f":{{"blob":{{"hash":"{}","size":99999999999}}}}"#, "0".repeat(64));
    assert!(refused(&with(&huge)).contains("its blob has"));
    let many: Vec<String> = (0..=ENTRIES_MAX).map(|n| format!(r#""{n}":{{"absent":true}}"#)).collect();
    assert!(refused(&with(&many.join(","))).contains("more than 4096"));
    assert!(refused(&" ".repeat(crate::score::PAYLOAD_BYTES_MAX + 1)).contains("1048577 bytes"));
}

#[test]
fn every_root_has_a_subject() {
    let subject = |root: &str| FilesScore { root: root.into(), entries: BTreeMap::new() }.subject().to_string();
    assert_eq!(subject("/"), "files/");
    assert_eq!(subject("/a b/ü%"), "files/a%20b/%c3%bc%25");
    let long = format!("/{}", "x".repeat(400));
    assert!(subject(&long).starts_with("files/blake3/"));
    assert_ne!(subject(&long), subject(&format!("{long}y")));
}

#[test]
fn steps_print_for_people() {
    let score: FilesScore =
        parse(&with(r#""a":{"content":"hi","owner":"web"},"d":{"directory":true},"o":{"absent":true}"#)).unwrap();
    let link = Seen::Symlink { target: "/tmp/x".into() };
    let steps = score.plan(&Tree::from([("/etc/x/o".into(), link)]));
    let lines: Vec<String> = steps.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "remove /etc/x/o (a link to /tmp/x)",
            "make directory /etc/x/d (0755)",
            "write /etc/x/a (2 bytes, 0644, web; was absent)",
        ]
    );
}

proptest::proptest! {
    #[test]
    fn any_payload_parses_or_is_refused(text in "\\PC{0,80}") {
        drop(parse::<FilesScore>(&text));
        drop(parse::<FilesScore>(&with(&text)));
    }

    #[test]
    fn what_is_accepted_survives_a_round_trip(path in "[a-c./ü\\\\\"]{1,8}", content in "\\PC{0,20}", mode in 0u32..0o10000) {
        let content = Content::Text(content);
        let entry = Entry::File { content, mode: Mode::from_bits(mode), owner: None, group: None };
        let score = FilesScore { root: "/r".into(), entries: BTreeMap::from([(path, entry)]) };
        if let Ok(json) = payload(&score) {
            assert_eq!(parse::<FilesScore>(&json).unwrap(), score);
            assert_eq!(score.plan(&Tree::new()).len(), 1);
        } else {
            assert!(score.check().is_err());
        }
    }
}
