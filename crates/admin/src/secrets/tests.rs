use protocols::entry::{Founder, Recovery, Rotate, SetRecovery};
use protocols::secret::{Place, SealTextError};
use protocols::{Body, SecretKey, SecretValue};
use scores::catalogue;

use super::*;
use crate::author::{Author, Intent};
use crate::changes::{Action, Changes, Options};
use crate::fleetfile::{BadFile, Closure, Content, FleetFile, Format, Resolve, ResolveError, Resolved, Toplevel};
use crate::testing::{NOW, enroll, fleet, node_key, state_after};

const FILE: &str = r#"
[group.edge]
on = "role=edge"
score.db.kind = "files/1"
score.db.spec.root = "/etc/db"
score.db.spec.entries.password = { secret = "db", owner = "postgres" }
score.db.spec.entries.copy = { secret = "db" }
score.db.spec.entries.host = { content = "localhost" }
"#;

/// Seals and nothing else.
struct OnlySecrets<'a>(Sealer<'a>);

impl Resolve for OnlySecrets<'_> {
    fn file(&mut self, _: &str, _: bool) -> Result<Content, ResolveError> {
        Err(ResolveError::new("no files here"))
    }

    fn closure(&mut self, _: Toplevel<'_>) -> Result<Closure, ResolveError> {
        Err(ResolveError::new("no closures here"))
    }

    fn secret(&mut self, wanted: Wanted<'_>) -> Result<(SealedText, SecretUse), ResolveError> {
        Ok(self.0.seal(wanted)?)
    }
}

fn file(text: &str) -> FleetFile {
    FleetFile::read("fleet.toml", text, Format::Toml, &catalogue()).unwrap()
}

fn by<'a>(state: &'a FleetState, key: &'a SecretKey, catalogue: &'a Catalogue) -> Sealer<'a> {
    Sealer::new(state, key.id(), Some(key), catalogue)
}

/// Resolves a file as one who knows these secrets.
fn resolve(state: &FleetState, key: &SecretKey, text: &str, given: &[(&str, &str)]) -> Result<Vec<Resolved>, BadFile> {
    let catalogue = catalogue();
    let mut sealer = by(state, key, &catalogue);
    for (name, value) in given {
        sealer.give(name.parse().unwrap(), SecretValue::from(value.as_bytes().to_vec()));
    }
    file(text).resolve(&catalogue, &mut OnlySecrets(sealer))
}

fn plan(state: &FleetState, key: &SecretKey, text: &str, given: &[(&str, &str)]) -> Changes {
    let wanted = resolve(state, key, text, given).unwrap();
    let options = Options { allow_empty: true, ..Options::default() };
    Changes::plan(state, wanted, &BTreeSet::new(), &std::collections::BTreeMap::new(), options)
}

/// The state after a plan was applied, and what was said of its secrets.
fn apply(state: &FleetState, key: &SecretKey, text: &str, given: &[(&str, &str)]) -> (FleetState, Vec<News>) {
    let changes = plan(state, key, text, given);
    let news = changes.changes.iter().flat_map(|change| &change.secrets).map(|used| used.news).collect();
    let intents: Vec<Intent> = changes.intents().into_iter().map(|(_, intent)| intent).collect();
    (Author::new(key.clone()).rehearse(state, &intents, NOW).unwrap(), news)
}

fn enter(state: &FleetState, body: Body) -> FleetState {
    Author::new(fleet().0).sign(state, &Intent::Enter(body), NOW).unwrap().1
}

fn base() -> FleetState {
    state_after(&[enroll(1, &[("role", "edge")]), enroll(2, &[("role", "edge")]), enroll(3, &[])])
}

fn opens(state: &FleetState, key: &SecretKey) -> Option<Vec<u8>> {
    let declaration = state.declarations().values().next()?;
    let place = Place { kind: &declaration.kind, subject: &declaration.subject };
    let texts = published(&catalogue(), declaration);
    assert_eq!(texts.len(), 2);
    assert_eq!(texts[0], texts[1], "one secret of one score is sealed once");
    texts[0].open(place, key).ok().map(|value| value.expose().to_vec())
}

#[test]
fn a_secret_is_for_its_nodes_and_its_publisher_and_stays_until_something_changes() {
    let (anna, state) = (fleet().0, base());
    let (state, news) = apply(&state, &anna, FILE, &[("db", "hunter2")]);
    assert_eq!(news, [News::New]);
    for key in [&anna, &node_key(1), &node_key(2)] {
        assert_eq!(opens(&state, key).unwrap(), b"hunter2");
    }
    assert_eq!(opens(&state, &node_key(3)), None);
    let payload = state.declarations().values().next().unwrap().payload.get();
    assert!(!payload.contains("hunter2") && payload.contains(r#""content":"localhost""#), "{payload}");

    for given in [&[][..], &[("db", "hunter2")]] {
        let again = plan(&state, &anna, FILE, given);
        assert!(again.is_empty(), "{again:?}");
        assert_eq!(again.changes[0].secrets[0].news, News::Unchanged);
    }
    let (changed, news) = apply(&state, &anna, FILE, &[("db", "hunter3")]);
    assert_eq!(news, [News::Changed]);
    assert_eq!(opens(&changed, &node_key(1)).unwrap(), b"hunter3");
    // Another root is another place.
    let (moved, news) = apply(&state, &anna, &FILE.replace("/etc/db", "/etc/pg"), &[]);
    assert_eq!(news, [News::Resealed]);
    assert_eq!(opens(&moved, &node_key(1)).unwrap(), b"hunter2");
}

#[test]
fn who_comes_and_goes_has_it_sealed_again_without_anybody_being_asked() {
    let anna = fleet().0;
    let (state, _) = apply(&base(), &anna, FILE, &[("db", "hunter2")]);
    let joined = enter(&state, enroll(3, &[("role", "edge")]));
    let rows = SecretRow::all(&joined, &catalogue(), Some(&anna));
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].state, rows[0].recipients, rows[0].readable), (SecretState::Missing, 3, Some(true)));
    assert_eq!(rows[0].problem().unwrap(), "edge/db: the secret `db` is not sealed to edge-3: flt admin secret reseal");
    let (sealed, news) = apply(&joined, &anna, FILE, &[]);
    assert_eq!(news, [News::Resealed]);
    assert_eq!(opens(&sealed, &node_key(3)).unwrap(), b"hunter2");
    let row = &SecretRow::all(&sealed, &catalogue(), Some(&node_key(9)))[0];
    assert_eq!((row.state, row.problem(), row.readable), (SecretState::Sealed, None, Some(false)));

    let left = enter(&sealed, enroll(1, &[("role", "other")]));
    let row = &SecretRow::all(&left, &catalogue(), None)[0];
    assert_eq!((row.state, row.problem(), row.readable), (SecretState::Excess, None, None));
    let (sealed, news) = apply(&left, &anna, FILE, &[]);
    assert_eq!(news, [News::Resealed]);
    assert_eq!(opens(&sealed, &node_key(1)), None);
}

#[test]
fn recovery_keys_can_always_open() {
    let anna = fleet().0;
    let (state, _) = apply(&base(), &anna, FILE, &[("db", "hunter2")]);
    let safe = SecretKey::from_seed(&[77; 32]);
    let keys = vec![Founder { key: safe.id(), name: "safe".parse().unwrap() }];
    let state = enter(
        &state,
        Body::SetRecovery(SetRecovery { recovery: Some(Recovery { keys, threshold: 1 }), approvals: Vec::new() }),
    );
    let row = &SecretRow::all(&state, &catalogue(), None)[0];
    assert_eq!((row.state, row.missing.len()), (SecretState::Missing, 0));
    let mut sealer_catalogue = catalogue();
    let mut sealer = by(&state, &anna, &sealer_catalogue);
    let declaration = state.declarations().values().next().unwrap();
    let (publish, uses) = sealer.reseal(declaration, None).unwrap().unwrap();
    assert_eq!(uses, [SecretUse { name: "db".parse().unwrap(), news: News::Resealed, recipients: 4 }]);
    let state = enter(&state, Body::Publish(publish));
    assert_eq!(opens(&state, &safe).unwrap(), b"hunter2");
    sealer_catalogue = catalogue();
    let mut sealer = by(&state, &anna, &sealer_catalogue);
    let declaration = state.declarations().values().next().unwrap();
    assert!(sealer.reseal(declaration, None).unwrap().is_none(), "it is as it should be");
    assert!(sealer.reseal(declaration, Some(&"other".parse().unwrap())).unwrap().is_none());
    assert!(declaration.payload.get().contains(r#""content":"localhost""#));
}

#[test]
fn who_cannot_read_it_leaves_it_or_must_say_what_it_is() {
    let (anna, ci) = (fleet().0, SecretKey::from_seed(&[66; 32]));
    let (state, _) = apply(&base(), &anna, FILE, &[("db", "hunter2")]);
    let named = file(FILE).secrets();
    assert_eq!(named.len(), 1);
    let catalogue = catalogue();
    assert!(by(&state, &ci, &catalogue).unknown(&named).is_empty());
    assert!(plan(&state, &ci, FILE, &[]).is_empty(), "it fits, and stays");

    let joined = enter(&state, enroll(3, &[("role", "edge")]));
    let mut sealer = by(&joined, &ci, &catalogue);
    assert_eq!(sealer.unknown(&named), ["db".parse().unwrap()]);
    sealer.give("db".parse().unwrap(), SecretValue::from(b"hunter2".to_vec()));
    assert!(sealer.unknown(&named).is_empty());
    let error = resolve(&joined, &ci, FILE, &[]).unwrap_err().to_string();
    assert!(error.contains("must be sealed again, and only `anna`, who published it"), "{error}");
    assert!(error.contains("--secret-file db=PATH"), "{error}");
    // Whether it is the same cannot be told, so it counts as another one.
    assert_eq!(plan(&joined, &ci, FILE, &[("db", "hunter2")]).changes[0].secrets[0].news, News::Changed);

    let error = resolve(&base(), &anna, FILE, &[]).unwrap_err().to_string();
    assert!(error.starts_with("fleet.toml:7:"), "{error}");
    assert!(error.contains("it is not known what the secret `db` is"), "{error}");
    let state = base();
    let mut sealer = by(&state, &anna, &catalogue);
    sealer.pretend();
    let resolved = file(FILE).resolve(&catalogue, &mut OnlySecrets(sealer)).unwrap();
    assert_eq!(resolved[0].secrets[0].news, News::Unknown);
}

#[test]
fn another_declaration_of_the_same_secret_needs_no_value() {
    let anna = fleet().0;
    let (state, _) = apply(&base(), &anna, FILE, &[("db", "hunter2")]);
    let other = FILE.replace("group.edge", "group.web").replace("/etc/db", "/etc/web").replace("role=edge", "edge-3");
    let changes = plan(&state, &anna, &other, &[]);
    assert_eq!(changes.changes[0].action, Action::Create);
    assert_eq!(changes.changes[0].secrets[0].news, News::New);
    let lines: Vec<String> = changes.changes[0].diff.iter().map(ToString::to_string).collect();
    assert!(lines.iter().any(|l| l.starts_with("+ entries.copy.secret = the secret `db`, sealed as ")), "{lines:?}");
}

#[test]
fn mistakes_are_named_with_their_place() {
    let (anna, state) = (fleet().0, base());
    for (from, to, why) in [
        (r#"secret = "db","#, r#"secret = "Db!","#, "a secret has a name here"),
        (r#"secret = "db","#, r#"secret = "db", mode = "0644","#, "it holds a secret, and with the mode 0644"),
        (r#"secret = "db","#, r#"secret = "db", content = "x","#, "exactly one of content, base64, blob, secret"),
        (r#"secret = "db","#, r#"secret = 7,"#, "invalid type"),
        (r#"secret = "db","#, r#"secret = { name = "db", age = "YQ==" },"#, "not a sealed secret"),
    ] {
        let error = resolve(&state, &anna, &FILE.replacen(from, to, 1), &[("db", "x")]).unwrap_err().to_string();
        assert!(error.contains(why) && error.starts_with("fleet.toml:6:"), "{to}: {error}");
    }
}

/// A fleet with many nodes, in two halves.
fn crowd(nodes: u32) -> (SecretKey, FleetState) {
    let (anna, founded) = fleet();
    let author = Author::new(anna.clone());
    let mut state = founded.state;
    for n in 0..nodes {
        let half = if n % 2 == 0 { "left" } else { "right" };
        let body = match enroll(1, &[("role", "edge"), ("half", half)]) {
            Body::Enroll(one) => Body::Enroll(protocols::entry::Enroll {
                key: SecretKey::from_seed(blake3::hash(&n.to_le_bytes()).as_bytes()).id(),
                name: format!("edge-{n}").parse().unwrap(),
                ..one
            }),
            _ => unreachable!("an enrolment"),
        };
        state = author.sign(&state, &Intent::Enter(body), NOW).unwrap().1;
    }
    (anna, state)
}

#[test]
fn a_secret_for_more_nodes_than_one_may_have_goes_to_them_in_groups() {
    let (anna, state) = crowd(2600);
    let group = |name: &str, on: &str| {
        format!(
            "[group.{name}]\non = \"{on}\"\nscore.db.kind = \"files/1\"\nscore.db.spec.root = \"/etc/db\"\n\
             score.db.spec.entries.password = {{ secret = \"db\" }}\n"
        )
    };
    let given = [("db", "hunter2")];
    let error = resolve(&state, &anna, &group("all", "role=edge"), &given).unwrap_err().to_string();
    let says = error.contains("would be sealed to 2601 keys, and may be to 2500") && error.contains("split the group");
    assert!(says, "{error}");
    // As the hint says: the same score in two groups, and one value for both.
    let halves = group("left", "half=left") + &group("right", "half=right");
    let resolved = resolve(&state, &anna, &halves, &given).unwrap();
    assert_eq!(resolved.iter().map(|one| one.secrets[0].recipients).collect::<Vec<_>>(), [1301, 1301]);
    let (state, _) = apply(&state, &anna, &halves, &given);
    for (n, of) in [(0_u32, "left/db"), (1, "right/db")] {
        let key = SecretKey::from_seed(blake3::hash(&n.to_le_bytes()).as_bytes());
        let desired = state.desired(key.id());
        let declaration = desired.values().next().unwrap();
        assert_eq!((desired.len(), declaration.name.to_string().as_str()), (1, of));
        let place = Place { kind: &declaration.kind, subject: &declaration.subject };
        let text = published(&catalogue(), declaration).remove(0);
        assert_eq!(text.open(place, &key).unwrap().expose(), b"hunter2");
    }
}

#[test]
fn a_score_with_too_many_secrets_for_too_many_nodes_says_what_to_do() {
    let (anna, state) = crowd(700);
    let secrets = |count: usize| {
        let entries: String =
            (0..count).map(|n| format!("score.db.spec.entries.f{n} = {{ secret = \"s{n}\" }}\n")).collect();
        format!(
            "[group.edge]\non = \"role=edge\"\nscore.db.kind = \"files/1\"\nscore.db.spec.root = \"/etc\"\n{entries}"
        )
    };
    let given = [("s0", "a"), ("s1", "b"), ("s2", "c"), ("s3", "d")];
    assert_eq!(resolve(&state, &anna, &secrets(3), &given).unwrap()[0].secrets[2].recipients, 701);
    let error = resolve(&state, &anna, &secrets(4), &given).unwrap_err().to_string();
    assert!(error.contains("for each of the 701 keys") && error.contains("split the group"), "{error}");
    let name = "s0".parse().unwrap();
    let error: ResolveError = SealError::from(SealTextError::TooManyRecipients { name, count: 10_003 }).into();
    assert_eq!(error.what, "the secret `s0` would be sealed to 10003 keys, and may be to 2500");
    assert!(error.hint.unwrap().starts_with("split the group"));
}

#[test]
fn a_node_with_another_key_has_it_sealed_to_that_one() {
    let anna = fleet().0;
    let (state, _) = apply(&base(), &anna, FILE, &[("db", "hunter2")]);
    let new = SecretKey::from_seed(&[88; 32]);
    let rotate = Body::Rotate(Rotate::new(state.fleet(), node_key(1).id(), &new));
    let state = Author::new(node_key(1)).sign(&state, &Intent::Enter(rotate), NOW).unwrap().1;
    let row = &SecretRow::all(&state, &catalogue(), None)[0];
    assert_eq!((row.state, row.missing.as_slice()), (SecretState::Missing, &["edge-1".parse().unwrap()][..]));
    let (state, news) = apply(&state, &anna, FILE, &[]);
    assert_eq!(news, [News::Resealed]);
    assert_eq!(opens(&state, &new).unwrap(), b"hunter2");
    assert_eq!(opens(&state, &node_key(1)), None, "the old key opens nothing that is published from now on");
}

#[test]
fn an_admin_with_another_key_reads_with_the_old_one_until_it_is_sealed_again() {
    let (anna, new) = (fleet().0, SecretKey::from_seed(&[89; 32]));
    let (state, _) = apply(&base(), &anna, FILE, &[("db", "hunter2")]);
    let state = enter(&state, Body::Rotate(Rotate::new(state.fleet(), anna.id(), &new)));
    let (catalogue, named) = (catalogue(), file(FILE).secrets());
    assert_eq!(SecretRow::all(&state, &catalogue, None)[0].state, SecretState::Missing);
    // Every node can read it: an apply leaves it, and to seal it again takes the old key.
    assert!(plan(&state, &new, FILE, &[]).is_empty());
    let declaration = state.declarations().values().next().unwrap();
    let mut sealer = by(&state, &new, &catalogue);
    sealer.insist();
    assert_eq!(sealer.unknown(&named), ["db".parse().unwrap()]);
    assert!(matches!(sealer.reseal(declaration, None), Err(SealError::Unknown { .. })));
    let mut sealer = by(&state, &new, &catalogue);
    sealer.insist();
    sealer.open_with(&anna);
    assert!(sealer.unknown(&named).is_empty());
    let (publish, _) = sealer.reseal(declaration, None).unwrap().unwrap();
    let state = Author::new(new.clone()).sign(&state, &Intent::Enter(Body::Publish(publish)), NOW).unwrap().1;
    assert_eq!(opens(&state, &new).unwrap(), b"hunter2");
    assert_eq!(opens(&state, &anna), None);
    assert_eq!(SecretRow::all(&state, &catalogue, None)[0].state, SecretState::Sealed);
}

#[test]
fn an_older_version_comes_back_with_its_own_value_for_the_nodes_of_now() {
    let anna = fleet().0;
    let (state, _) = apply(&base(), &anna, FILE, &[("db", "hunter2")]);
    let Some((_, Intent::Enter(Body::Publish(older)))) =
        plan(&base(), &anna, FILE, &[("db", "hunter2")]).intents().into_iter().next()
    else {
        panic!("it is published");
    };
    let (state, _) = apply(&state, &anna, FILE, &[("db", "hunter3")]);
    let state = enter(&state, enroll(3, &[("role", "edge")]));
    let catalogue = catalogue();
    let mut publish = older.clone();
    assert_eq!(by(&state, &node_key(9), &catalogue).renew(&mut publish).unwrap(), ["db".parse().unwrap()]);
    assert_eq!(publish, older, "who cannot read it changes nothing");
    assert!(by(&state, &anna, &catalogue).renew(&mut publish).unwrap().is_empty());
    let state = enter(&state, Body::Publish(publish.clone()));
    assert_eq!(opens(&state, &node_key(3)).unwrap(), b"hunter2");
    let again = publish.clone();
    by(&state, &anna, &catalogue).renew(&mut publish).unwrap();
    assert_eq!(publish, again, "what fits stays");
}

#[test]
fn a_key_that_changes_while_a_secret_is_on_its_way_stops_it() {
    let anna = fleet().0;
    let before = base();
    let (_, intent) = plan(&before, &anna, FILE, &[("db", "hunter2")]).intents().remove(0);
    let body = intent.body(&before);
    let rotate = Body::Rotate(Rotate::new(before.fleet(), node_key(1).id(), &SecretKey::from_seed(&[88; 32])));
    let after = Author::new(node_key(1)).sign(&before, &Intent::Enter(rotate), NOW).unwrap().1;
    assert_eq!(crate::race::touched(&before, &after, &body), ["the keys that its secrets are sealed to"]);
    let unrelated = enter(&before, enroll(4, &[]));
    assert!(crate::race::touched(&before, &unrelated, &body).is_empty());
    let plain = crate::testing::publish("edge/motd", "role=edge", "/etc", "no secret");
    assert!(crate::race::touched(&before, &after, &plain).is_empty());
}
