//! `flt doctor`: why a machine does not reach its fleet, from the key outwards.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use protocols::ticket::RelayPin;
use protocols::{FleetId, Millis, PeerAddr, SecretKey, Ticket};

use crate::app::{AdminFlags, App};
use crate::commands::key::Unlock;
use crate::report::Code;

mod findings;

use findings::{Finding, Findings};

/// Arguments of `flt doctor`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    admin: AdminFlags,
    /// Look with this ticket, as `flt admin invite` printed it
    #[arg(long, value_name = "TICKET", conflicts_with = "ticket_file")]
    ticket: Option<Ticket>,
    #[command(flatten)]
    unlock: Unlock,
}

/// A boxed future that may move between threads.
pub(crate) type Boxed<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The way to a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// By its direct addresses alone.
    Direct,
    /// By its relay alone.
    Relay,
}

/// What a coordinator that answered said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// How long the way there and back took.
    pub(crate) took: Duration,
    /// What it told a member. Nothing if it answered, and the key is not a member's.
    pub(crate) welcome: Option<Welcome>,
}

/// What a coordinator tells a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// Its fleet.
    pub(crate) fleet: FleetId,
    /// Its clock.
    pub(crate) clock: Millis,
    /// Its version of `flt`.
    pub(crate) version: String,
}

/// Why something was not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProbeError {
    /// Nobody answered.
    #[error("nobody answered within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The other end said no: to this key, or to the protocol.
    #[error("it refused: {0}")]
    Refused(String),
    /// The relay showed another certificate than the ticket names.
    #[error("its certificate is not the one that the ticket names: {0}")]
    Certificate(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Looks at the network, as the mesh does.
pub(crate) trait Probe: Send + Sync {
    /// Connects to a coordinator one way, and greets it.
    fn coordinator<'a>(&'a self, peer: &'a PeerAddr, via: Via) -> Boxed<'a, Result<Answer, ProbeError>>;

    /// Connects to a relay, and says how long that took.
    fn relay<'a>(&'a self, relay: &'a RelayPin) -> Boxed<'a, Result<Duration, ProbeError>>;

    /// This machine's clock.
    fn clock(&self) -> Millis;

    /// Takes the endpoint down.
    fn close(self: Box<Self>) -> Boxed<'static, ()>;
}

/// Runs it.
pub(crate) async fn run(args: DoctorArgs, app: &App) -> anyhow::Result<Code> {
    let mut findings = Findings::default();
    let config = match app.admin_config(&args.admin) {
        Ok(config) => {
            findings.add(Finding::ok("configuration", "read"));
            config
        }
        Err(error) => {
            findings.add(Finding::failed("configuration", format!("{error:#}"), Some("flt config show admin")));
            return conclude(findings, app);
        }
    };
    let key = look_at_key(&args.unlock, &config.key_path(), app, &mut findings);
    // With a ticket that was given it is about that ticket, and not about the admin whose folder is here.
    let own = args.ticket.is_none() && args.admin.ticket_file.is_none();
    let ticket = match args.ticket {
        Some(ticket) => Some(look_at_ticket(ticket, &mut findings)),
        None => read_ticket(&config.ticket_path(), &mut findings).map(|ticket| look_at_ticket(ticket, &mut findings)),
    };
    let (Some(key), Some(ticket)) = (key, ticket) else { return conclude(findings, app) };
    let progress = app.out.progress("looking for the coordinators");
    match crate::run::probe(key, ticket.clone()).await {
        Ok(probe) => {
            look_at_network(&*probe, &ticket, &mut findings).await;
            probe.close().await;
            if own && findings.is_healthy() {
                let clones = super::admin::clones(config, args.unlock.passphrase_file, app).await;
                findings.extend(of_machines(clones));
            }
        }
        Err(error) => findings.add(Finding::failed("mesh", format!("{error:#}"), None)),
    }
    drop(progress);
    conclude(findings, app)
}

fn conclude(findings: Findings, app: &App) -> anyhow::Result<Code> {
    app.out.view(&findings)?;
    Ok(if findings.is_healthy() { Code::Done } else { Code::Failed })
}

fn look_at_key(unlock: &Unlock, path: &std::path::Path, app: &App, findings: &mut Findings) -> Option<SecretKey> {
    match unlock.read(path, app) {
        Ok(key) => {
            findings.add(Finding::ok("key", format!("{} in {}", key.id(), path.display())));
            Some(key)
        }
        Err(error) => {
            findings.add(Finding::of_error("key", &error));
            None
        }
    }
}

fn read_ticket(path: &std::path::Path, findings: &mut Findings) -> Option<Ticket> {
    match ticket_file(path) {
        Ok(ticket) => Some(ticket),
        Err(error) => {
            findings.add(Finding::of_error("ticket", &error));
            None
        }
    }
}

/// Reads the ticket in a file.
pub(crate) fn ticket_file(path: &std::path::Path) -> anyhow::Result<Ticket> {
    use std::io::Read as _;

    use crate::report::Advise as _;
    let what = || format!("cannot read the ticket {}", path.display());
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(error).with_context(what).hint(
                "the coordinator prints one when it starts: put it there, or name another file: --ticket-file FILE",
            );
        }
        Err(error) => return Err(error).with_context(what),
    };
    let mut text = String::new();
    file.take(protocols::ticket::TICKET_CHARS_MAX as u64 + 1).read_to_string(&mut text).with_context(what)?;
    text.parse().with_context(what)
}

fn look_at_ticket(ticket: Ticket, findings: &mut Findings) -> Ticket {
    let count = ticket.coordinators.len();
    let plural = if count == 1 { "" } else { "s" };
    findings.add(Finding::ok(
        "ticket",
        format!("fleet {} ({}), {count} coordinator{plural}", ticket.name, ticket.fleet.short()),
    ));
    for coordinator in &ticket.coordinators {
        if coordinator.addrs.is_empty() && coordinator.relay.is_none() {
            let hint = "flt coordinator run --advertise ADDR names an address in its tickets";
            let what = format!("names no way to the coordinator {}", coordinator.id.short());
            findings.add(Finding::warned("ticket", what, Some(hint)));
        }
    }
    ticket
}

async fn look_at_network(probe: &dyn Probe, ticket: &Ticket, findings: &mut Findings) {
    for relay in &ticket.relays {
        findings.add(match probe.relay(relay).await {
            Ok(took) => {
                Finding::ok("relay", format!("{} answered in {}", relay.url, crate::output::format::took(took)))
            }
            Err(error) => Finding::failed("relay", format!("{}: {error}", relay.url), relay_hint(&error)),
        });
    }
    let mut reached = false;
    for coordinator in &ticket.coordinators {
        let ways = [(Via::Direct, !coordinator.addrs.is_empty()), (Via::Relay, coordinator.relay.is_some())];
        for (via, _) in ways.into_iter().filter(|(_, possible)| *possible) {
            match probe.coordinator(coordinator, via).await {
                Ok(answer) => {
                    reached = true;
                    findings.extend(of_answer(coordinator, via, &answer, ticket.fleet, probe.clock()));
                }
                Err(error) => findings.add(of_silence(coordinator, via, &error)),
            }
        }
    }
    findings.excuse_ways(reached);
    if !reached {
        findings.add(Finding::failed(
            "fleet",
            "no coordinator can be reached",
            Some("is one running? flt coordinator run"),
        ));
    }
}

fn of_answer(peer: &PeerAddr, via: Via, answer: &Answer, fleet: FleetId, now: Millis) -> Vec<Finding> {
    let took = crate::output::format::took(answer.took);
    let mut found = vec![Finding::ok(way(via), format!("{} answered in {took}", peer.id.short()))];
    let Some(welcome) = &answer.welcome else {
        let what = "the coordinator does not know this key";
        found.push(Finding::warned(
            "membership",
            what,
            Some("an admin lets it in: flt admin invite, or flt admin enroll"),
        ));
        return found;
    };
    if welcome.fleet != fleet {
        let what =
            format!("the coordinator is of fleet {}, and the ticket of {}", welcome.fleet.short(), fleet.short());
        found.push(Finding::failed("membership", what, Some("ask for a new ticket: flt admin invite")));
    }
    let off = Duration::from_millis(welcome.clock.0.abs_diff(now.0));
    if off > CLOCK_OFF_MAX {
        let what = format!("this clock and the coordinator's are {} apart", crate::output::format::age(off));
        found.push(Finding::warned("clock", what, Some("set the clock of the machine that is wrong: timedatectl")));
    } else {
        found.push(Finding::ok("clock", format!("within {} of the coordinator's", crate::output::format::took(off))));
    }
    if welcome.version != env!("CARGO_PKG_VERSION") {
        let what = format!("the coordinator runs flt {}, and this is {}", welcome.version, env!("CARGO_PKG_VERSION"));
        found.push(Finding::warned("version", what, None));
    }
    found
}

/// What an admin can see of nodes that say they are one machine. Who may not read their reports cannot look.
fn of_machines(clones: anyhow::Result<Vec<String>>) -> Vec<Finding> {
    match clones {
        Ok(clones) if clones.is_empty() => vec![Finding::ok("machines", "no machine id is there twice")],
        Ok(clones) => {
            let warned = |told| Finding::warned("machines", told, Some("see them: flt admin node show NAME"));
            clones.into_iter().map(warned).collect()
        }
        Err(error) => {
            tracing::debug!(error = %format!("{error:#}"), "cannot look at what nodes report");
            Vec::new()
        }
    }
}

fn of_silence(peer: &PeerAddr, via: Via, error: &ProbeError) -> Finding {
    let addresses = match via {
        Via::Direct => peer.addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        Via::Relay => peer.relay.clone().unwrap_or_default(),
    };
    let hint = match (via, error) {
        (Via::Direct, ProbeError::Timeout(_)) => Some("does a firewall let UDP through to these addresses?"),
        (_, ProbeError::Refused(_)) => Some("an admin lets a key in: flt admin invite, or flt admin enroll"),
        _ => None,
    };
    Finding::failed(way(via), format!("{} at {addresses}: {error}", peer.id.short()), hint)
}

const fn way(via: Via) -> &'static str {
    match via {
        Via::Direct => "direct",
        Via::Relay => "by-relay",
    }
}

const fn relay_hint(error: &ProbeError) -> Option<&'static str> {
    match error {
        ProbeError::Certificate(_) => {
            Some("the relay's certificate has changed: ask for a new ticket: flt admin invite")
        }
        ProbeError::Timeout(_) => Some("does a firewall let TCP through to it?"),
        ProbeError::Refused(_) => Some("relays serve members and invited nodes alone: flt admin invite"),
        ProbeError::Failed(_) => None,
    }
}

/// Clocks may differ by this much before it is worth a word.
const CLOCK_OFF_MAX: Duration = Duration::from_secs(60);

const EXAMPLES: &str = "\
Looks at the configuration, the key, the ticket, the relays, the coordinators by each way, and the clocks; for an admin
also at nodes that say they are one machine.

Examples:
  flt doctor
  flt doctor --ticket-file ticket --key-file /var/lib/flotilla/agent/key";

#[cfg(test)]
mod tests;
