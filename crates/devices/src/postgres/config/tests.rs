use scores::score;

use super::*;

fn setup() -> Setup {
    let payload = r#"{"name":"orders","succession":{"candidates":["a","b"],"first":"a"},"addresses":{"a":"10.0.0.1:5433","b":"10.0.0.2:5433"},"folder":"/srv/pg","tls":{"folder":"/etc/pg","authorities":{"n":"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"}},"parameters":{"max_connections":"7","log_line_prefix":"it's \\ %m"},"clients":["10.9.0.0/16"]}"#;
    Setup::new(score::parse(payload).unwrap(), "a".parse().unwrap())
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn a_score_changes_what_it_may_and_nothing_else() {
    let text = postgresql(&setup(), &State::default()).unwrap();
    let last = |name: &str| {
        let prefix = format!("{name} = ");
        text.lines().rev().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
    };
    assert_eq!(last("max_connections").unwrap(), "'7'");
    assert_eq!(last("log_line_prefix").unwrap(), r"'it''s \\ %m'");
    assert_eq!(last("listen_addresses").unwrap(), "'10.0.0.1'");
    assert_eq!(last("restart_after_crash").unwrap(), "'off'");
    assert_eq!(last("primary_conninfo").unwrap(), "''");
    assert_eq!(last("recovery_target_timeline").unwrap(), "'1'");
    // Every setting that is fixed here is one that a score is refused for.
    let own: Vec<&str> = FIXED.iter().map(|(name, _)| *name).collect();
    for name in own {
        assert!(scores::postgres::OWN_PARAMETERS.contains(&name), "{name}");
    }
}

#[test]
fn who_has_been_told_no_set_acknowledges_nothing() {
    assert_eq!(State::default().sync.setting(), "ANY 1 (\"NOBODY\")");
    assert!("NOBODY".parse::<Name>().is_err());
    let names = vec!["b".parse().unwrap(), "c".parse().unwrap()];
    assert_eq!(Sync::Any { num: 1, names }.setting(), "ANY 1 (\"b\", \"c\")");
    assert_eq!(Sync::Alone.setting(), "");
}

#[test]
fn standbys_come_by_certificate_and_the_superuser_from_here_alone() {
    assert_eq!(
        lines(&hba(&setup(), &State::default()).unwrap())[1..],
        [
            "local all all peer map=here",
            "hostssl replication flotilla_replication all cert clientcert=verify-full map=candidates",
            "hostssl postgres flotilla_replication all cert clientcert=verify-full map=candidates",
            "host all,replication flotilla_replication,postgres all reject",
            "host replication all all reject",
            "host all all 10.0.0.1/32 scram-sha-256",
            "hostssl all all 10.0.0.2/32 scram-sha-256",
            "hostssl all all 10.9.0.0/16 scram-sha-256",
        ]
    );
    assert_eq!(
        lines(&ident(&setup()))[1..],
        ["here \"root\" postgres", "here \"postgres\" postgres", "candidates \"b\" flotilla_replication"]
    );
}

#[test]
fn a_standby_proves_its_name_and_wants_the_others_proven() {
    let upstream = Upstream { node: "b".parse().unwrap(), epoch: Epoch(3) };
    let state = State { timeline: 4, upstream: Some(upstream), ..State::default() };
    let text = postgresql(&setup(), &state).unwrap();
    let line = text.lines().find(|line| line.starts_with("primary_conninfo")).unwrap();
    for part in
        ["host=b hostaddr=10.0.0.2 port=5433", "sslmode=verify-full", "application_name=a", "/srv/pg/tls/node.key"]
    {
        assert!(line.contains(part), "{line}");
    }
    assert!(text.contains("recovery_target_timeline = '4'"));
}
