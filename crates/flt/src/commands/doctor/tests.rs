use super::findings::Verdict;
use super::*;
use crate::output::{Style, View as _};

const NOW: Millis = Millis(1_772_366_400_000);

/// A network made of answers.
struct Scripted {
    direct: Result<Answer, ProbeError>,
    relayed: Result<Answer, ProbeError>,
    relay: Result<Duration, ProbeError>,
}

impl Probe for Scripted {
    fn coordinator<'a>(&'a self, _: &'a PeerAddr, via: Via) -> Boxed<'a, Result<Answer, ProbeError>> {
        let answer = if via == Via::Direct { &self.direct } else { &self.relayed };
        Box::pin(std::future::ready(answer.clone()))
    }

    fn relay<'a>(&'a self, _: &'a RelayPin) -> Boxed<'a, Result<Duration, ProbeError>> {
        Box::pin(std::future::ready(self.relay.clone()))
    }

    fn clock(&self) -> Millis {
        NOW
    }

    fn close(self: Box<Self>) -> Boxed<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn fleet() -> FleetId {
    FleetId::from_bytes([9; 32])
}

fn ticket() -> Ticket {
    let url = "https://relay.example:4443/".to_owned();
    let coordinator = PeerAddr {
        id: SecretKey::from_seed(&[1; 32]).id(),
        addrs: vec!["192.0.2.1:4433".parse().unwrap()],
        relay: Some(url.clone()),
    };
    Ticket {
        fleet: fleet(),
        name: "acme".parse().unwrap(),
        coordinators: vec![coordinator],
        relays: vec![RelayPin { url, ca: None, quic_port: None }],
        invite: None,
    }
}

fn answer(clock: u64) -> Answer {
    let welcome = Welcome { fleet: fleet(), clock: Millis(clock), version: env!("CARGO_PKG_VERSION").into() };
    Answer { took: Duration::from_millis(4), welcome: Some(welcome) }
}

async fn look(network: Scripted) -> Findings {
    let mut findings = Findings::default();
    look_at_network(&network, &ticket(), &mut findings).await;
    findings
}

#[tokio::test]
async fn one_way_is_enough() {
    let findings = look(Scripted {
        direct: Err(ProbeError::Timeout(Duration::from_secs(5))),
        relayed: Ok(answer(NOW.0 + 1500)),
        relay: Ok(Duration::from_millis(20)),
    })
    .await;
    assert!(findings.is_healthy());
    insta::assert_snapshot!(findings.text(&Style::PLAIN), @r"
    relay         ok       https://relay.example:4443/ answered in 20 ms
    direct        warning  8a88e3dd74 at 192.0.2.1:4433: nobody answered within 5 s
                  hint: does a firewall let UDP through to these addresses?
    by-relay      ok       8a88e3dd74 answered in 4 ms
    clock         ok       within 1.5 s of the coordinator's
    ");
}

#[tokio::test]
async fn no_way_is_a_failure_that_says_why() {
    let findings = look(Scripted {
        direct: Err(ProbeError::Timeout(Duration::from_secs(5))),
        relayed: Err(ProbeError::Failed("no relay".into())),
        relay: Err(ProbeError::Certificate("unknown issuer".into())),
    })
    .await;
    assert!(!findings.is_healthy());
    insta::assert_snapshot!(findings.text(&Style::PLAIN), @r"
    relay         FAILED   https://relay.example:4443/: its certificate is not the one that the ticket names: unknown issuer
                  hint: the relay's certificate has changed: ask for a new ticket: flt admin invite
    direct        FAILED   8a88e3dd74 at 192.0.2.1:4433: nobody answered within 5 s
                  hint: does a firewall let UDP through to these addresses?
    by-relay      FAILED   8a88e3dd74 at https://relay.example:4443/: no relay
    fleet         FAILED   no coordinator can be reached
                  hint: is one running? flt coordinator run
    ");
    let json = crate::output::json(&findings, false).unwrap();
    assert!(json.starts_with(r#"{"schema":"flt.doctor/1","findings":[{"what":"relay","verdict":"failed""#), "{json}");
}

#[tokio::test]
async fn what_the_coordinator_says_is_judged() {
    let stranger = Answer { took: Duration::ZERO, welcome: None };
    let network = |direct| Scripted {
        direct: Ok(direct),
        relayed: Err(ProbeError::Refused("not a member".into())),
        relay: Ok(Duration::ZERO),
    };
    let found = |findings: &Findings, what: &str| {
        findings.as_slice().iter().find(|finding| finding.what == what).map(|finding| finding.verdict)
    };
    let findings = look(network(stranger)).await;
    assert_eq!(found(&findings, "membership"), Some(Verdict::Warning));
    let findings = look(network(answer(NOW.0 - 3_600_000))).await;
    assert_eq!(found(&findings, "clock"), Some(Verdict::Warning));
    let mut other = answer(NOW.0);
    other.welcome.as_mut().unwrap().fleet = FleetId::from_bytes([8; 32]);
    other.welcome.as_mut().unwrap().version = "0.0.1".into();
    let findings = look(network(other)).await;
    assert_eq!(found(&findings, "membership"), Some(Verdict::Failed));
    assert_eq!(found(&findings, "version"), Some(Verdict::Warning));
    assert!(!findings.is_healthy());
}
