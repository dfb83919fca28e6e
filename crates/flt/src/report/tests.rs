use anyhow::{Context as _, anyhow};
use protocols::control::{Denied, SubmitError};
use protocols::key::KeyError;
use protocols::state::Refusal;
use protocols::store::StoreError;

use super::*;

fn fail() -> anyhow::Result<()> {
    Err(anyhow!("connection refused"))
}

#[test]
fn an_error_shows_its_causes_and_what_to_do() {
    let error = fail()
        .hint("flt coordinator run")
        .context("cannot reach the coordinator")
        .hint("flt doctor")
        .context("cannot publish edge/motd")
        .code(Code::NotConverged)
        .unwrap_err();
    let report = Report::of(&error);
    insta::assert_snapshot!(report.text(), @r"
    error: cannot publish edge/motd
    caused by: cannot reach the coordinator
    caused by: connection refused
    hint: flt doctor
    hint: flt coordinator run
    ");
    assert_eq!(report.code, Code::NotConverged);
    insta::assert_snapshot!(report.json(), @r#"{"causes":["cannot reach the coordinator","connection refused"],"code":4,"error":"cannot publish edge/motd","hints":["flt doctor","flt coordinator run"],"schema":"flt.error/1"}"#);
}

#[test]
fn the_outermost_code_holds_and_failing_is_the_default() {
    assert_eq!(Report::of(&fail().unwrap_err()).code, Code::Failed);
    let error = fail().code(Code::Usage).context("x").code(Code::Config).unwrap_err();
    assert_eq!(Report::of(&error).code, Code::Config);
}

#[test]
fn lines_of_a_cause_stay_together() {
    let error = anyhow!("two problems\na.toml:1:1: one\n\nb.toml:2:2: other\n").context("cannot run the agent");
    insta::assert_snapshot!(Report::of(&error).text(), @r"
    error: cannot run the agent
    caused by: two problems
      a.toml:1:1: one

      b.toml:2:2: other
    ");
}

#[test]
fn a_cause_that_repeats_what_was_said_is_said_once() {
    let refusal = Refusal::NoSuchInvite;
    let error = anyhow::Error::new(refusal.clone()).context(refusal.to_string());
    assert_eq!(Report::of(&error).causes.len(), 1);
}

#[test]
fn errors_of_other_crates_bring_their_hints() {
    let refused = SubmitError::Refused(Refusal::NoSuchInvite);
    let store = StoreError::InUse { dir: "/var/lib/x".into(), by: "process 7".into() };
    let exposed = KeyError::Exposed { path: "/home/a b/key".into(), mode: 0o644 };
    let cases: [(anyhow::Error, &str); 5] = [
        (anyhow::Error::new(refused).context("cannot publish"), Refusal::NoSuchInvite.hint()),
        (Refusal::InviteExpired.into(), "flt admin invite"),
        (Denied::NotAllowed("publish".into()).into(), "flt admin grant"),
        (anyhow::Error::new(store).context("cannot start"), "--data DIR"),
        (exposed.into(), "chmod 600 '/home/a b/key'"),
    ];
    for (error, hint) in cases {
        let report = Report::of(&error);
        assert!(report.hints.iter().any(|text| text.contains(hint)), "{hint}: {report:?}");
    }
}

#[test]
fn typed_errors_are_found_beneath_advice() {
    let error = Err::<(), _>(Refusal::NoSuchInvite).hint("a").context("b").code(Code::Usage).hint("c").unwrap_err();
    assert_eq!(find::<Refusal>(&error), Some(&Refusal::NoSuchInvite));
    assert!(find::<StoreError>(&error).is_none());
    let report = Report::of(&error);
    assert_eq!(report.hints, ["c", "a", Refusal::NoSuchInvite.hint()]);
}

#[test]
fn nothing_is_said_to_a_closed_pipe() {
    let error = anyhow::Error::new(crate::output::Closed).context("cannot show the log");
    let report = Report::of(&error);
    assert!(report.silent);
    assert_eq!(report.code, Code::Done);
    // A connection that broke is another matter.
    let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    assert!(!Report::of(&broken.into()).silent);
}
