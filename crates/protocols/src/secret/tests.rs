use proptest::prelude::*;

use super::*;

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn ids(numbers: &[u8]) -> BTreeSet<NodeId> {
    numbers.iter().map(|n| key(*n).id()).collect()
}

fn names() -> (Name, Kind, Subject) {
    ("db".parse().unwrap(), "files/1".parse().unwrap(), "files/etc/db".parse().unwrap())
}

fn sealed(value: &[u8], numbers: &[u8]) -> SealedText {
    let (name, kind, subject) = names();
    SealedText::seal(name, Place { kind: &kind, subject: &subject }, &value.to_vec().into(), &ids(numbers)).unwrap()
}

fn open(sealed: &SealedText, n: u8) -> Result<Vec<u8>, OpenTextError> {
    let (_, kind, subject) = names();
    sealed.open(Place { kind: &kind, subject: &subject }, &key(n)).map(|value| value.expose().to_vec())
}

fn with_file(file: &[u8]) -> Result<SealedText, serde_json::Error> {
    serde_json::from_value(serde_json::json!({"name": "db", "age": BASE64.encode(file)}))
}

#[test]
fn every_recipient_opens_it_and_nobody_else() {
    let secret = b"hunter2\n";
    let (sealed, again) = (sealed(secret, &[1, 2, 3]), sealed(secret, &[1, 2, 3]));
    for n in [1, 2, 3] {
        assert_eq!(open(&sealed, n).unwrap(), secret);
        assert!(sealed.recipients().has(key(n).id()));
    }
    assert_eq!(open(&sealed, 4), Err(OpenTextError::NotARecipient("db".parse().unwrap())));
    assert!(!sealed.recipients().has(key(4).id()));
    assert_eq!(sealed.recipients(), Tags::of([key(3).id(), key(1).id(), key(2).id()]));
    assert_ne!(sealed.recipients(), Tags::of([key(1).id(), key(2).id()]));
    assert_ne!(sealed.digest(), again.digest(), "nothing tells that it is the same secret");
}

#[test]
fn it_survives_json_and_prints_nothing() {
    let sealed = sealed(b"hunter2", &[1]);
    let json = serde_json::to_string(&sealed).unwrap();
    assert_eq!(serde_json::from_str::<SealedText>(&json).unwrap(), sealed);
    assert!(json.starts_with(r#"{"name":"db","age":"YWdlLWVuY3J5cHRpb24ub3JnL3Yx"#), "{json}");
    assert!(!json.contains("hunter2") && !json.contains(&BASE64.encode(b"hunter2")));
    assert!(format!("{sealed:?}").len() < 80);
    assert_eq!(format!("{:?}", SecretValue::from(b"hunter2".to_vec())), "SecretValue(…)");
}

#[test]
fn it_opens_only_where_it_belongs() {
    let sealed = sealed(b"hunter2", &[1]);
    let (_, kind, subject) = names();
    let (other_kind, other_subject) = ("switch/1".parse().unwrap(), "files/tmp".parse().unwrap());
    for place in [Place { kind: &other_kind, subject: &subject }, Place { kind: &kind, subject: &other_subject }] {
        assert_eq!(sealed.open(place, &key(1)).unwrap_err(), OpenTextError::OtherPlace("db".parse().unwrap()));
    }
    let mut renamed = sealed.clone();
    renamed.name = "web".parse().unwrap();
    assert_eq!(open(&renamed, 1), Err(OpenTextError::OtherPlace("web".parse().unwrap())));
    // A binding that somebody else put there is not what the file's authentication covers.
    let mut moved = sealed.clone();
    let at = moved.file.windows(4).position(|w| w == b"t-1 ").unwrap() + 4;
    let binding =
        data_encoding::BASE64_NOPAD.encode(&binding(sealed.name(), Place { kind: &other_kind, subject: &subject }));
    moved.file[at..at + 43].copy_from_slice(binding.as_bytes());
    let moved = with_file(&moved.file).unwrap();
    let place = Place { kind: &other_kind, subject: &subject };
    assert!(moved.is_for(place));
    assert_eq!(moved.open(place, &key(1)).unwrap_err(), OpenTextError::Altered("db".parse().unwrap()));
}

#[test]
fn any_byte_that_is_altered_or_missing_is_noticed() {
    let sealed = sealed(b"hunter2", &[1, 2]);
    for at in 0..sealed.file.len() {
        let mut file = sealed.file.clone();
        file[at] ^= 1;
        if let Ok(altered) = with_file(&file) {
            assert!(open(&altered, 1).is_err() && open(&altered, 2).is_err(), "byte {at}");
        }
        if let Ok(cut) = with_file(&sealed.file[..at]) {
            assert!(open(&cut, 1).is_err(), "cut at {at}");
        }
    }
    let mut longer = sealed.file.clone();
    longer.push(0);
    assert_eq!(open(&with_file(&longer).unwrap(), 1), Err(OpenTextError::Altered("db".parse().unwrap())));
}

#[test]
fn as_many_recipients_as_are_allowed_fit_into_a_payload() {
    let (name, kind, subject) = names();
    let place = Place { kind: &kind, subject: &subject };
    let recipients: BTreeSet<NodeId> =
        (0..=RECIPIENTS_MAX).map(|n| SecretKey::from_seed(blake3::hash(&n.to_le_bytes()).as_bytes()).id()).collect();
    let value = SecretValue::from(b"hunter2".to_vec());
    let error = SealedText::seal(name.clone(), place, &value, &recipients).unwrap_err();
    let count = RECIPIENTS_MAX + 1;
    assert_eq!(error, SealTextError::TooManyRecipients { name: name.clone(), count });
    let recipients: BTreeSet<NodeId> = recipients.into_iter().take(RECIPIENTS_MAX).collect();
    let sealed = SealedText::seal(name, place, &value, &recipients).unwrap();
    assert_eq!(sealed.recipients().len(), RECIPIENTS_MAX);
    let json = serde_json::to_string(&sealed).unwrap();
    assert!(json.len() < crate::entry::body::PAYLOAD_BYTES_MAX - 8192, "{} bytes", json.len());
    // One more stanza than is allowed is refused before anything is tried.
    let end = sealed.file.windows(4).position(|w| w == b"--- ").unwrap();
    let mut bomb = sealed.file.clone();
    let stanza = sealed.file[end - age::STANZA_BYTES..end].to_vec();
    bomb.splice(end..end, stanza);
    assert!(with_file(&bomb).unwrap_err().to_string().contains("more recipients than are allowed"));
}

#[test]
fn many_stanzas_of_one_tag_are_all_tried() {
    let one = sealed(b"hunter2", &[1]);
    let end = one.file.windows(4).position(|w| w == b"--- ").unwrap();
    let stanza = one.file[end - age::STANZA_BYTES..end].to_vec();
    let mut forged = stanza.clone();
    // The tag of the key, and a wrapped key that is not under it.
    forged[age::STANZA_BYTES - 10] = if forged[age::STANZA_BYTES - 10] == b'A' { b'B' } else { b'A' };
    let mut file = one.file[..end - age::STANZA_BYTES].to_vec();
    for _ in 0..100 {
        file.extend_from_slice(&forged);
    }
    file.extend_from_slice(&stanza);
    file.extend_from_slice(&one.file[end..]);
    // The right one is found behind them, and then the whole is seen not to be what was sealed.
    assert_eq!(open(&with_file(&file).unwrap(), 1), Err(OpenTextError::Altered("db".parse().unwrap())));
}

#[test]
fn refuses_what_cannot_be_sealed() {
    let (name, kind, subject) = names();
    let seal = |value: Vec<u8>, to: &BTreeSet<NodeId>| {
        let place = Place { kind: &kind, subject: &subject };
        SealedText::seal(name.clone(), place, &value.into(), to)
    };
    assert_eq!(seal(vec![], &BTreeSet::new()).unwrap_err(), SealTextError::NoRecipients(name.clone()));
    let long = seal(vec![0; SECRET_BYTES_MAX + 1], &ids(&[1])).unwrap_err();
    assert_eq!(long.to_string(), "the secret `db` has 65537 bytes and may have 65536");
    for weak in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let id = NodeId::from_bytes(weak);
        assert_eq!(seal(vec![1], &BTreeSet::from([id])).unwrap_err(), SealTextError::BadRecipient(id));
    }
    assert_eq!(open(&seal(vec![7; SECRET_BYTES_MAX], &ids(&[1])).unwrap(), 1).unwrap().len(), SECRET_BYTES_MAX);
    assert_eq!(open(&seal(vec![], &ids(&[1])).unwrap(), 1).unwrap(), Vec::<u8>::new());
}

#[test]
fn refuses_other_age_files() {
    for (file, why) in [
        (&b"age-encryption.org/v2\n"[..], "does not begin as an age file"),
        (b"age-encryption.org/v1\n-> scrypt x 18\n\n--- x\n", "flt did not make"),
        (b"age-encryption.org/v1\n-> X25519 x\n\n", "flt did not make"),
        (b"", "does not begin"),
    ] {
        let error = with_file(file).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    for json in [
        r#"{"name":"db","age":"*"}"#,
        r#"{"name":"db","age":"YQ==","more":1}"#,
        r#"{"name":"","age":"YQ=="}"#,
        r#"{"age":"YQ=="}"#,
        r#""db""#,
    ] {
        assert!(serde_json::from_str::<SealedText>(json).is_err(), "{json}");
    }
    let huge = format!(r#"{{"name":"db","age":"{}"}}"#, "A".repeat(SEALED_BYTES_MAX * 4 / 3 + 8));
    assert!(serde_json::from_str::<SealedText>(&huge).unwrap_err().to_string().contains("longer than any"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn what_is_sealed_opens(value in proptest::collection::vec(any::<u8>(), 0..300), to in 1u8..20) {
        prop_assert_eq!(open(&sealed(&value, &[to, 30]), to).unwrap(), value);
    }

    #[test]
    fn any_bytes_parse_or_are_refused(mut file in proptest::collection::vec(any::<u8>(), 0..300), start in 0usize..200) {
        drop(with_file(&file));
        let mut real = sealed(b"x", &[1]).file;
        real.truncate(start);
        real.append(&mut file);
        if let Ok(parsed) = with_file(&real) {
            prop_assert!(open(&parsed, 1).is_err());
        }
    }
}
