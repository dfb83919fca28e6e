use super::*;
use crate::{Plan as _, catalogue, score};

const FULL: &str = r#"{"name":"ledger","succession":{"candidates":["a","b","c"],"profile":"fast"},"run":{"program":{"command":["/usr/bin/ledger","--foreground"],"environment":{},"folder":null,"user":null}},"check":{"command":["/usr/bin/ledger-check"],"within_ms":5000,"every_ms":5000,"failures":3},"promote":{"command":["ip","address","add","192.0.2.1/32","dev","lo"]},"actions":{"power":{"command":["power-off","a"],"seconds":9}}}"#;

fn parse(payload: &str) -> Result<ServiceScore, Invalid> {
    score::parse(payload)
}

fn refused(payload: &str) -> String {
    parse(payload).unwrap_err().to_string()
}

#[test]
fn the_payload_is_the_same_for_ever() {
    let score = parse(FULL).unwrap();
    assert_eq!(serde_json::to_string(&score).unwrap(), FULL);
    assert_eq!(score.subject().as_str(), "service/ledger");
    assert_eq!(score.cluster().as_str(), "service/ledger");
    assert!(catalogue().validate(&ServiceScore::KIND, FULL).is_ok());
}

#[test]
fn what_is_wrong_is_named() {
    let unit = |unit: &str| format!(r#"{{"name":"x","run":{{"unit":"{unit}"}}}}"#);
    assert!(parse(&unit("x.service")).is_ok());
    assert!(refused(&unit("x")).contains("run.unit"));
    assert!(refused(&unit("--now.service")).contains("run.unit"));
    assert!(refused(&unit("a/b.service")).contains("run.unit"));
    assert!(refused(r#"{"name":"x","run":{"program":{"command":[]}}}"#).contains("run.program.command"));
    let ladder = r#"{"name":"x","run":{"unit":"x.service"},"succession":{"ladder":[{"rung":{"action":"pdu"},"within_ms":1000}]}}"#;
    assert!(refused(ladder).contains("`pdu`"));
    let times = r#"{"name":"x","run":{"unit":"x.service"},"succession":{"times":{"renew_ms":9000}}}"#;
    assert!(refused(times).starts_with("`succession`") && refused(times).contains("9 s"), "{}", refused(times));
    let hook = r#"{"name":"x","run":{"unit":"x.service"},"stop":{"command":["true"],"seconds":0}}"#;
    assert!(refused(hook).contains("stop.seconds"));
}

#[test]
fn the_plan_law_holds() {
    let declared = parse(FULL).unwrap();
    let begin = declared.plan(&Kept::default());
    assert_eq!(begin.len(), 1);
    assert_eq!(begin[0].to_string(), "keep one writer of service/ledger");
    assert!(declared.plan(&Kept { payload: Some(FULL.to_owned()) }).is_empty());
    let other = FULL.replace("\"fast\"", "\"wan\"");
    assert_eq!(declared.plan(&Kept { payload: Some(other) }).len(), 1);
}
