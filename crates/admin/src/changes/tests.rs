use std::fmt::Write as _;

use super::*;
use crate::testing::{enroll, node_key, publish, state_after};

fn resolved(name: &str, on: &str, root: &str, content: &str) -> Resolved {
    let Body::Publish(p) = publish(name, on, root, content) else { unreachable!() };
    Resolved {
        name: p.name,
        on: p.on,
        kind: p.kind,
        subject: p.subject,
        policy: p.policy,
        payload: p.payload,
        artifacts: p.artifacts,
        note: None,
        uploads: Vec::new(),
        secrets: Vec::new(),
    }
}

fn plan(state: &FleetState, wanted: Vec<Resolved>, options: Options) -> Changes {
    let groups = wanted.iter().map(|r| r.name.group().parse().unwrap()).collect();
    Changes::plan(state, wanted, &groups, &BTreeMap::new(), options)
}

fn text(changes: &Changes) -> String {
    let mut text = String::new();
    for change in &changes.changes {
        writeln!(text, "{:?} {} {:?}", change.action, change.name, change.targets).unwrap();
        for line in &change.diff {
            writeln!(text, "  {line}").unwrap();
        }
    }
    for finding in &changes.findings {
        writeln!(text, "{:?} {}: {}", finding.severity, finding.name, finding.what).unwrap();
    }
    text
}

fn base() -> Vec<Body> {
    vec![
        enroll(1, &[("role", "edge")]),
        enroll(2, &[("role", "edge")]),
        enroll(3, &[]),
        publish("edge/motd", "role=edge", "/etc", "one\ntwo\nthree\n"),
        publish("edge/old", "role=edge", "/srv", "x"),
    ]
}

#[test]
fn create_update_unchanged_withdraw() {
    let state = state_after(&base());
    let wanted = vec![
        resolved("edge/motd", "role=edge", "/etc", "one\n2\nthree\n"),
        resolved("edge/new", "edge-1", "/opt", "new"),
    ];
    let changes = plan(&state, wanted.clone(), Options { prune: Prune::Groups, ..Options::default() });
    insta::assert_snapshot!(text(&changes), @r#"
    Update edge/motd [Name(edge-1), Name(edge-2)]
        entries.f.content:
            one
      -     two
      +     2
            three
        root = "/etc"
    Create edge/new [Name(edge-1)]
      + on = edge-1
      + kind = files/1
      + entries.f.content = "new"
      + root = "/opt"
    Withdraw edge/old [Name(edge-1), Name(edge-2)]
    "#);
    assert_eq!(changes.intents().len(), 3);
    assert!(!changes.is_wrong() && !changes.is_empty());
    let kept = plan(&state, wanted, Options::default());
    assert_eq!(
        kept.counts(),
        [(Action::Create, 1), (Action::Update, 1), (Action::Withdraw, 0), (Action::Unchanged, 0)]
    );
}

#[test]
fn the_same_again_is_nothing_to_do() {
    let state = state_after(&base());
    let mut same = resolved("edge/motd", "role=edge", "/etc", "one\ntwo\nthree\n");
    // Written otherwise, meaning the same.
    let other = same.payload.get().replace(':', ": ");
    same.payload = protocols::entry::Payload::from_json(other).unwrap();
    let changes = plan(&state, vec![same], Options::default());
    assert!(changes.is_empty(), "{}", text(&changes));
    assert!(changes.intents().is_empty());
}

#[test]
fn pruning_stays_within_the_files_groups_unless_told() {
    let mut bodies = base();
    bodies.push(publish("core/x", "edge-3", "/x", "x"));
    let state = state_after(&bodies);
    let wanted = || vec![resolved("edge/motd", "role=edge", "/etc", "one\ntwo\nthree\n")];
    let gone = |prune| {
        let changes = plan(&state, wanted(), Options { prune, ..Options::default() });
        changes.changes.iter().filter(|c| c.action == Action::Withdraw).map(|c| c.name.to_string()).collect::<Vec<_>>()
    };
    assert!(gone(Prune::Nothing).is_empty());
    assert_eq!(gone(Prune::Groups), ["edge/old"]);
    assert_eq!(gone(Prune::Everything), ["core/x", "edge/old"]);
}

#[test]
fn findings_name_what_is_wrong() {
    let state = state_after(&base());
    let wanted =
        vec![resolved("core/nobody", "role=core", "/etc", "x"), resolved("core/shadow", "edge-1,edge-3", "/srv", "x")];
    let facts = StableFacts { kinds: vec!["nixos/1".parse().unwrap()], ..StableFacts::default() };
    let facts = BTreeMap::from([(node_key(3).id(), facts)]);
    let groups = BTreeSet::from(["core".parse().unwrap()]);
    let changes = Changes::plan(&state, wanted, &groups, &facts, Options::default());
    let findings: Vec<String> =
        changes.findings.iter().map(|f| format!("{:?} {}: {}", f.severity, f.name, f.what)).collect();
    insta::assert_snapshot!(findings.join("\n"), @r"
    Error core/nobody: the selector `role=core` matches none of the fleet's 3 nodes
    Error core/shadow: edge-3 cannot play files/1: its agent offers nixos/1
    Warning core/shadow: `core/shadow` and `edge/old` both govern files/srv on edge-1; there the newer one counts: `core/shadow`
    ");
    assert!(changes.is_wrong());
}

fn findings(changes: &Changes) -> String {
    let line = |f: &Finding| format!("{:?} {}: {}\n  {}", f.severity, f.name, f.what, f.hint.as_deref().unwrap_or("-"));
    changes.findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn roots_within_each_other_are_told_of_where_both_count() {
    let state = state_after(&base());
    let wanted = vec![
        resolved("core/inner", "edge-1,edge-3", "/etc/x", "x"),
        resolved("core/beside", "edge-1", "/etcetera", "x"),
        resolved("core/elsewhere", "edge-3", "/srv/www", "x"),
        resolved("core/all", "edge-2", "/", "x"),
    ];
    let changes = plan(&state, wanted, Options::default());
    insta::assert_snapshot!(findings(&changes), @r"
    Warning core/inner: `core/inner` governs /etc/x, which lies within /etc of `edge/motd`, on edge-1; when one of them is undone, the other's files may be in its way
      put both into one declaration, or give them roots apart
    Warning core/all: `edge/old` governs /srv, which lies within / of `core/all`, on edge-2; when one of them is undone, the other's files may be in its way
      put both into one declaration, or give them roots apart
    Warning core/all: `edge/motd` governs /etc, which lies within / of `core/all`, on edge-2; when one of them is undone, the other's files may be in its way
      put both into one declaration, or give them roots apart
    ");
    assert!(!changes.is_wrong());
    // Nothing new is nothing to tell.
    let mut bodies = base();
    bodies.push(publish("core/inner", "edge-1", "/etc/x", "x"));
    let changes =
        plan(&state_after(&bodies), vec![resolved("core/inner", "edge-1", "/etc/x", "x")], Options::default());
    assert_eq!(findings(&changes), "");
}

#[test]
fn one_path_in_two_declarations_is_named() {
    let state = state_after(&base());
    let mut whole = resolved("core/whole", "edge-1", "/", "x");
    let json = r#"{"entries": {"etc/f": {"content": "other"}}, "root": "/"}"#;
    whole.payload = protocols::entry::Payload::from_json(json.to_owned()).unwrap();
    let changes = plan(&state, vec![whole], Options::default());
    let found = findings(&changes);
    assert!(found.contains("both declare /etc/f, and each puts right what the other did"), "{found}");
    assert_eq!(changes.findings.len(), 2, "{found}");
}

#[test]
fn a_way_back_that_strikes_during_the_trial_is_told_of() {
    let state = state_after(&base());
    let toplevel = format!("/nix/store/{}-nixos-system", "a".repeat(32));
    let manifest = protocols::BlobRef { hash: protocols::BlobHash::from_bytes([1; 32]), size: 9 };
    let found = |revert_seconds, mode, policy: &str| {
        let score = scores::nixos::NixosScore {
            revert_seconds,
            mode,
            ..scores::nixos::NixosScore::new(toplevel.parse().unwrap(), manifest)
        };
        let mut one = resolved("core/os", "edge-1", "/unused", "x");
        one.kind = "nixos/1".parse().unwrap();
        one.subject = "nixos".parse().unwrap();
        one.payload = protocols::entry::Payload::from_json(scores::score::payload(&score).unwrap()).unwrap();
        one.policy = serde_json::from_str(policy).unwrap();
        findings(&plan(&state, vec![one], Options::default()))
    };
    use scores::nixos::Mode;
    let contact = r#"{"checks": [{"type": "contact"}], "check_seconds": 120}"#;
    assert_eq!(found(900, Mode::Switch, "{}"), "", "the defaults go together");
    assert_eq!(found(721, Mode::Switch, contact), "");
    assert_eq!(found(10, Mode::Boot, contact), "", "no way back is armed");
    assert_eq!(found(601, Mode::Switch, r#"{"check_seconds": 3600}"#), "", "no checks, no time for them");
    let late = found(720, Mode::Switch, contact);
    assert!(late.starts_with("Warning core/os: ") && late.ends_with("set spec.revert_seconds = 780"), "{late}");
    let wrong = found(120, Mode::Switch, contact);
    assert!(wrong.starts_with("Error core/os: ") && wrong.contains("the checks alone have 120"), "{wrong}");
    let long = found(86_400, Mode::Switch, r#"{"apply_seconds": 86400}"#);
    assert!(long.contains("lower policy.apply_seconds"), "{long}");
}

#[test]
fn an_empty_selector_can_be_allowed() {
    let state = state_after(&base());
    let wanted = vec![resolved("core/later", "role=core", "/etc", "x")];
    let changes = plan(&state, wanted, Options { allow_empty: true, ..Options::default() });
    assert!(!changes.is_wrong());
    assert_eq!(changes.findings[0].severity, Severity::Warning);
}

proptest::proptest! {
    /// Applying a plan and planning again finds nothing to do: the file decides, whatever stood before.
    #[test]
    fn applied_is_unchanged(
        before in proptest::collection::btree_map(0..5u8, ("[ab]", 0..3u8), 0..5),
        after in proptest::collection::btree_map(0..5u8, ("[ab]", 0..3u8), 0..5),
    ) {
        let name = |n: &u8| format!("g/s{n}");
        let mut bodies = vec![enroll(1, &[])];
        bodies.extend(before.iter().map(|(n, (content, root))| publish(&name(n), "edge-1", &format!("/{root}"), content)));
        let state = state_after(&bodies);
        let wanted: Vec<Resolved> =
            after.iter().map(|(n, (content, root))| resolved(&name(n), "edge-1", &format!("/{root}"), content)).collect();
        let groups = BTreeSet::from(["g".parse().unwrap()]);
        let options = Options { prune: Prune::Groups, ..Options::default() };
        let make = |state: &FleetState| Changes::plan(state, wanted.clone(), &groups, &BTreeMap::new(), options);
        let changes = make(&state);
        let author = crate::author::Author::new(crate::testing::fleet().0);
        let intents: Vec<_> = changes.intents().into_iter().map(|(_, intent)| intent).collect();
        let state = author.rehearse(&state, &intents, crate::testing::NOW).unwrap();
        let again = make(&state);
        assert!(again.is_empty(), "{}", text(&again));
        assert_eq!(state.declarations().len(), after.len());
    }
}
