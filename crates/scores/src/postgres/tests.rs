use super::*;
use crate::service::Kept;
use crate::{Plan as _, catalogue, score};

const FULL: &str = r#"{"name":"orders","succession":{"candidates":["a","b"],"first":"a","profile":"fast"},"addresses":{"a":"10.0.0.1:5433","b":"10.0.0.2:5433"},"route":"127.0.0.1:5432","folder":"/var/lib/flotilla-postgres/orders","tls":{"folder":"/etc/flotilla/postgres","authorities":{"north":"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"}},"parameters":{"shared_buffers":"1GB"},"users":{"orders":{"verifier":"SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"}},"databases":{"orders":"orders"},"clients":["10.0.0.0/8"]}"#;

fn parse(payload: &str) -> Result<PostgresScore, Invalid> {
    score::parse(payload)
}

/// What is said of the sample with one thing changed.
fn refused(from: &str, to: &str) -> String {
    assert!(FULL.contains(from), "{from}");
    parse(&FULL.replacen(from, to, 1)).unwrap_err().to_string()
}

#[test]
fn the_payload_is_the_same_for_ever() {
    let score = parse(FULL).unwrap();
    assert_eq!(serde_json::to_string(&score).unwrap(), FULL);
    assert_eq!(score.subject().as_str(), "postgres/orders");
    assert!(catalogue().validate(&PostgresScore::KIND, FULL).is_ok());
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    for (from, to, says) in [
        (r#""first":"a","#, "", "`succession.first`: is missing; name the candidate"),
        (r#""first":"a""#, r#""first":"z""#, "is not among `candidates`"),
        (r#"["a","b"]"#, r#"["a","b","c"]"#, "`addresses.c`: is missing; say where"),
        (r#"["a","b"]"#, r#"["a"]"#, "`addresses.b`: is not the address of a candidate"),
        ("10.0.0.2:5433", "10.0.0.1:5433", "which another candidate has already"),
        ("10.0.0.2:5433", "0.0.0.0:5433", "name the one address"),
        ("10.0.0.2:5433", "10.0.0.2:0", "name a port"),
        ("127.0.0.1:5432", "10.0.0.9:5432", "`route`: is 10.0.0.9:5432 and must be a loopback address"),
        ("/var/lib/flotilla-postgres/orders", "orders", "`folder`: `orders` is not an absolute path"),
        ("/var/lib/flotilla-postgres/orders", "/var/../etc", "`folder`: `/var/../etc` holds an empty part"),
        ("/var/lib/flotilla-postgres/orders", "/a'b", "holds something else than letters"),
        ("/etc/flotilla/postgres", "", "`tls.folder`"),
        ("BEGIN CERTIFICATE", "BEGIN PRIVATE KEY", "must never leave its site"),
        ("BEGIN CERTIFICATE", "BEGIN", "is not one certificate in PEM"),
        ("shared_buffers", "fsync", "`parameters.\"fsync\"`: is set by Flotilla"),
        ("shared_buffers", "Shared", "is not the name of a setting in lower case"),
        ("1GB", "1\\nfsync = off", "on one line"),
        (r#""users":{"orders""#, r#""users":{"pg_x""#, "is a name that is taken"),
        (r#""users":{"orders""#, r#""users":{"a-b""#, "must be 1 to 63 of a-z 0-9 _"),
        ("SCRAM-SHA-256$4096", "md5", "is not `SCRAM-SHA-256$…`; PostgreSQL makes one"),
        (r#"{"orders":"orders"}"#, r#"{"orders":"x"}"#, "`databases.\"orders\"`: is owned by `x`, which is not among"),
        ("10.0.0.0/8", "10.0.0.0/33", "`clients[0]`: `10.0.0.0/33` is not a network"),
        (r#""profile":"fast""#, r#""strategy":"split-brain-allowed""#, "`succession`"),
        (r#""name":"orders""#, r#""name":"orders","account":"root""#, "PostgreSQL refuses to run as root"),
        (r#""name":"orders""#, r#""name":"orders","port":1"#, "unknown field `port`"),
    ] {
        let message = refused(from, to);
        assert!(message.contains(says), "{to}: {message}");
    }
}

#[test]
fn a_folder_may_be_named_after_the_node() {
    let score = parse(&FULL.replace("/etc/flotilla/postgres", "/etc/{node}/pg")).unwrap();
    assert_eq!(PostgresScore::folder_of(&score.tls.folder, &"a".parse().unwrap()), "/etc/a/pg");
    assert!(refused("/etc/flotilla/postgres", "/etc/{name}/pg").contains("holds something else than letters"));
}

#[test]
fn the_plan_law_holds() {
    let declared = parse(FULL).unwrap();
    let begin = declared.plan(&Kept::default());
    assert_eq!(begin.iter().map(ToString::to_string).collect::<Vec<_>>(), ["keep one writer of postgres/orders"]);
    assert!(declared.plan(&Kept { payload: Some(FULL.to_owned()) }).is_empty());
    let other = FULL.replace("1GB", "2GB");
    let change = declared.plan(&Kept { payload: Some(other) });
    assert_eq!(change[0].to_string(), "change how the one writer is kept of postgres/orders");
}

proptest::proptest! {
    #[test]
    fn any_payload_parses_or_is_refused(at in 0usize..700, text in "\\PC{0,6}") {
        let at = FULL.char_indices().map(|(at, _)| at).take_while(|found| *found <= at).last().unwrap_or(0);
        drop(parse(&format!("{}{text}{}", &FULL[..at], &FULL[at..])));
    }
}
