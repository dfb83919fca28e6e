//! From a daemon's configuration to a daemon that runs.

use std::fs::File;
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use admin::workspace::KeyFiles;
use anyhow::{Context as _, anyhow};
use mesh::relay::RelayTls as Tls;
use protocols::key::KeyFormat;
use protocols::{Name, SecretKey, SignedEntry, Ticket};

use crate::compose::agent::{AgentParts, RunningAgent};
use crate::compose::coordinator::join::JoinParts;
use crate::compose::coordinator::{ClockPart, CoordinatorParts, RelayParts};
use crate::compose::{agent as agents, coordinator as coordinators};
use crate::config::{AgentConfig, CoordinatorConfig, RelayConfig, RelayTls};
use crate::daemon::{Context, Sample};
use crate::report::{Advise as _, Code};

mod hands;
mod keys;
mod probe;
mod rotation;

pub(crate) use hands::{hands, without_dumps};
pub(crate) use keys::read_key;
pub(crate) use probe::probe;
pub(crate) use rotation::half::run as rotate_half;
pub(crate) use rotation::{apart, next_key};

/// Time between an agent's looks for drift.
const DRIFT: Duration = Duration::from_secs(600);
/// File in a data folder that holds the ticket.
const TICKET_FILE: &str = "ticket";
/// File in a coordinator's data folder that holds the genesis entry.
const GENESIS_FILE: &str = "genesis";

/// Runs an agent until `context` says stop.
pub(crate) async fn agent(config: AgentConfig, context: Context) -> anyhow::Result<()> {
    without_dumps()?;
    make_folder(&config.data)?;
    let ticket = agent_ticket(&config)?;
    if !config.names_key() {
        rotation::settle(&config.data, &KeyFiles::at(config.key_path()), &ticket)?;
    }
    let mut key = agent_key(&config)?;
    let name = match &config.name {
        Some(name) => name.clone(),
        None => host_name().hint("choose one: flt agent run --name NAME")?,
    };
    let files = KeyFiles::at(config.key_path());
    let current = Current::default();
    current.measure(&context);
    loop {
        let parts = AgentParts {
            data: config.data.clone(),
            key: key.clone(),
            ticket: ticket.clone(),
            name: name.clone(),
            listen: config.listen.clone(),
            mdns: config.mdns,
            documents: true,
            relay_only: false,
            heartbeat: config.heartbeat(),
            drift: DRIFT,
            grace: agents::GRACE,
            pulls: true,
            files_root: config.files_root.clone(),
            devices: config.devices(),
            device_groups: config.device_groups(),
            device_facts: config.device_facts(),
            clock: ClockPart::default(),
        };
        let running = agents::start_with(parts, config.hands.clone()).await.context("cannot start the agent")?;
        // From now on the folder is enough: the ticket need not be given again.
        write_private(&config.data.join(TICKET_FILE), &format!("{ticket}\n"))?;
        current.set(&running);
        context.ready(&format!("agent {} of fleet {}", running.role.id().short(), ticket.name));
        let rotated = async {
            if config.names_key() {
                return std::future::pending().await;
            }
            rotation::rotated(&running, &key, &files, &ticket, &config.data).await
        };
        let ended = tokio::select! {
            ended = while_serving(&running.mesh, &context) => Err(ended),
            entries = rotated => Ok(entries),
        };
        current.clear();
        running.stop().await;
        match ended {
            Err(ended) => return ended,
            Ok(entries) => {
                rotation::left(&config.data).await;
                rotation::append(&config.data, &ticket, entries)?;
                rotation::settle(&config.data, &files, &ticket)?;
                key = agent_key(&config)?;
            }
        }
    }
}

/// The agent that runs now: one after the other, when its key changes.
#[derive(Debug, Clone, Default)]
struct Current(Arc<Mutex<Option<Running>>>);

/// An agent and its mesh.
type Running = (Weak<agent::Agent>, mesh::Mesh);

impl Current {
    fn set(&self, running: &RunningAgent) {
        *self.lock() = Some((Arc::downgrade(&running.role), running.mesh.clone()));
    }

    fn clear(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers for whichever agent runs.
    fn measure(&self, context: &Context) {
        let current = self.clone();
        context.healthy_if(move || match &*current.lock() {
            Some((_, mesh)) if !mesh.is_serving() => Err("the endpoint stopped serving".into()),
            _ => Ok(()),
        });
        let current = self.clone();
        context.measure(move || {
            let role = current.lock().as_ref().and_then(|(role, _)| role.upgrade());
            role.map(|role| samples(&role)).unwrap_or_default()
        });
    }
}

/// Waits for the signal to stop. A router that stopped by itself would leave a daemon that looks alive and answers nobody:
/// that ends it too, and systemd starts it anew.
async fn until_stopped(mesh: &mesh::Mesh, context: &Context) -> anyhow::Result<()> {
    let watched = mesh.clone();
    context.healthy_if(move || if watched.is_serving() { Ok(()) } else { Err("the endpoint stopped serving".into()) });
    while_serving(mesh, context).await
}

async fn while_serving(mesh: &mesh::Mesh, context: &Context) -> anyhow::Result<()> {
    let gone = async {
        while mesh.is_serving() {
            tokio::time::sleep(SERVING_TICK).await;
        }
    };
    tokio::select! {
        () = context.stop().cancelled() => Ok(()),
        () = gone => Err(anyhow!("the endpoint stopped serving")),
    }
}

/// How often the endpoint is looked at.
const SERVING_TICK: Duration = Duration::from_secs(5);

fn samples(role: &agent::Agent) -> Vec<Sample> {
    let stats = role.stats();
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    let f = |n: u64| n as f64;
    vec![
        Sample::gauge("flotilla_ledger_head", "The newest ledger entry known", f(stats.head)),
        Sample::gauge("flotilla_connected", "Whether a coordinator answers", f(u64::from(stats.connected))),
        Sample::counter("flotilla_heartbeats_total", "Heartbeats sent", f(stats.beats)),
        Sample::counter("flotilla_heartbeats_missed_total", "Heartbeats that nobody answered", f(stats.missed)),
        Sample::counter("flotilla_plays_total", "Declarations played", f(stats.plays)),
        Sample::gauge("flotilla_behind", "Whether entries are missing that exist", f(u64::from(stats.behind))),
        Sample::gauge("flotilla_unsure", "Whether nobody was heard for long", f(u64::from(stats.unsure))),
        Sample::gauge("flotilla_history_split", "Whether a split history was seen", f(u64::from(stats.split))),
        Sample::gauge("flotilla_refuses", "Whether no more entries are taken", f(u64::from(stats.refuses))),
    ]
}

/// Runs a coordinator until `context` says stop.
pub(crate) async fn coordinator(config: CoordinatorConfig, context: Context) -> anyhow::Result<()> {
    make_folder(&config.data)?;
    let key_path = config.key_path();
    let key = read_key(&key_path)
        .with_context(|| format!("cannot read the coordinator's key {}", key_path.display()))
        .hint("the key is made by `flt admin init`, in the coordinator's folder; or name it: --key-file FILE")
        .code(Code::Config)?;
    let Some(genesis) = first_entry(&config, &key, &context).await? else { return Ok(()) };
    let parts = CoordinatorParts {
        data: config.data.clone(),
        key,
        genesis: genesis.clone(),
        listen: config.listen.clone(),
        advertise: config.advertise.clone(),
        relay: relay_parts(&config)?,
        mdns: config.mdns,
        documents: true,
        clock: ClockPart::default(),
    };
    let running = coordinators::start(parts).await.context("cannot start the coordinator")?;
    // The ledger may not say yet where the others are.
    let others = coordinator_ticket(&config)?.into_iter().flat_map(|ticket| ticket.coordinators);
    others.filter(|other| other.id != running.role.id()).for_each(|other| running.mesh.learn(other));
    save_genesis(&config.data, &genesis)?;
    let ticket = running.ticket();
    write_private(&config.data.join(TICKET_FILE), &format!("{ticket}\n"))?;
    crate::output::print(&format!("{ticket}\n"))?;
    let role = Arc::downgrade(&running.role);
    context.measure(move || {
        let Some(role) = role.upgrade() else { return Vec::new() };
        let stats = role.stats();
        #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
        let f = |n: usize| n as f64;
        #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
        let head = stats.head as f64;
        let mut samples = vec![
            Sample::gauge("flotilla_ledger_head", "The newest ledger entry", head),
            Sample::gauge("flotilla_members", "Members of the fleet", f(stats.members)),
            Sample::gauge("flotilla_nodes_online", "Agents heard of lately", f(stats.online)),
            Sample::gauge("flotilla_declarations", "Declarations in force", f(stats.declarations)),
            Sample::gauge("flotilla_orders", "Whether this coordinator orders the ledger", f(stats.orders.into())),
            Sample::gauge("flotilla_held", "Whether something keeps it from appending", f(stats.held.into())),
            Sample::gauge("flotilla_split", "Whether its history was found to differ", f(stats.split.into())),
        ];
        if let Some(group) = stats.group {
            #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
            let f = |n: u64| n as f64;
            samples.extend([
                Sample::gauge("flotilla_group_term", "The group's term", f(group.term)),
                Sample::gauge("flotilla_group_leads", "Whether it leads the group", f(group.leads.into())),
                Sample::gauge("flotilla_group_led", "Whether it knows who leads", f(group.led.into())),
                Sample::gauge("flotilla_group_voters", "Members that vote", f(group.voters as u64)),
                Sample::gauge("flotilla_group_silent", "Voters that do not answer the leader", f(group.silent as u64)),
                Sample::gauge("flotilla_group_log_last", "The newest entry of the log", f(group.last)),
                Sample::gauge("flotilla_group_log_applied", "The newest entry carried out", f(group.applied)),
                Sample::gauge("flotilla_group_log_purged", "The newest entry in the snapshot alone", f(group.purged)),
            ]);
        }
        samples
    });
    context.ready(&format!("coordinator {} of fleet {}", running.role.id().short(), ticket.name));
    let ended = until_stopped(&running.mesh, &context).await;
    running.stop().await;
    ended
}

/// How the relay of a configuration runs, if there is one.
pub(crate) fn relay_parts(config: &CoordinatorConfig) -> anyhow::Result<Option<RelayParts>> {
    config.relay.as_ref().map(|r| relay(r, &config.data, &config.advertise)).transpose()
}

/// The genesis entry: known here, or of the fleet that this coordinator joins. Nothing if it was stopped before that.
async fn first_entry(
    config: &CoordinatorConfig,
    key: &SecretKey,
    context: &Context,
) -> anyhow::Result<Option<SignedEntry>> {
    let named = config.genesis.is_some() || config.data.join(GENESIS_FILE).exists();
    let ticket = coordinator_ticket(config)?.filter(|_| !named);
    let Some(ticket) = ticket else { return genesis(config).map(Some) };
    let parts = JoinParts {
        data: config.data.clone(),
        key: key.clone(),
        ticket,
        listen: config.listen.clone(),
        mdns: config.mdns,
    };
    let waiting = |why: &str| {
        tracing::warn!(why, "waiting to become a coordinator of the fleet");
        context.status(why);
    };
    tokio::select! {
        () = context.stop().cancelled() => Ok(None),
        joined = coordinators::join::join(parts, waiting) => joined.context("cannot join the fleet").map(Some),
    }
}

/// The ticket that a further coordinator finds the fleet with, if one is named.
pub(crate) fn coordinator_ticket(config: &CoordinatorConfig) -> anyhow::Result<Option<Ticket>> {
    if let Some(ticket) = &config.join {
        return Ok(Some(ticket.clone()));
    }
    let Some(path) = &config.ticket_file else { return Ok(None) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the ticket {}", path.display()));
    let ticket = text.code(Code::Config)?.parse::<Ticket>();
    ticket.with_context(|| format!("cannot use the ticket in {}", path.display())).code(Code::Config).map(Some)
}

fn relay(config: &RelayConfig, data: &Path, advertise: &[SocketAddr]) -> anyhow::Result<RelayParts> {
    let tls = match (config.tls, &config.cert_file, &config.key_file) {
        (RelayTls::Files, Some(cert), Some(key)) => Tls::Files { cert: cert.clone(), key: key.clone() },
        (RelayTls::Files, ..) => {
            return Err(anyhow!("the relay's certificate and key are not named")).code(Code::Config);
        }
        (RelayTls::SelfSigned, ..) => {
            Tls::SelfSigned { dir: data.join("relay"), names: relay_names(config, advertise) }
        }
        (RelayTls::None, ..) => Tls::PlainHttp { allow_public: false },
    };
    Ok(RelayParts { listen: config.listen, quic_listen: config.quic_listen, tls, url: config.url.clone() })
}

/// What the certificate is made for: how nodes reach the relay.
fn relay_names(config: &RelayConfig, advertise: &[SocketAddr]) -> Vec<String> {
    let mut names: Vec<String> = advertise.iter().map(|a| a.ip().to_string()).collect();
    if let Some(url) = &config.url {
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or(rest);
        let host = match authority.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or(v6),
            None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
        };
        names.push(host.to_owned());
    }
    if names.is_empty() {
        names.extend(["localhost".to_owned(), "127.0.0.1".to_owned()]);
    }
    if !config.listen.ip().is_unspecified() {
        names.push(config.listen.ip().to_string());
    }
    names.sort();
    names.dedup();
    names
}

fn agent_key(config: &AgentConfig) -> anyhow::Result<SecretKey> {
    let path = config.key_path();
    if path.exists() || config.names_key() {
        let read = read_key(&path).with_context(|| format!("cannot use the key {}", path.display()));
        return read.code(Code::Config);
    }
    if config.hands.is_some() {
        return Err(anyhow!("the agent has no key: that of a node with hands of its own is made or read by those"))
            .hint(
                "name it: flt agent run --key-file FILE; without another one it is in the folder of `flt agent hands`",
            )
            .code(Code::Config);
    }
    make_key(&path)
}

fn make_key(path: &Path) -> anyhow::Result<SecretKey> {
    let key = SecretKey::generate();
    key.write_new(path, KeyFormat::OpenSsh, "flotilla agent")?;
    tracing::info!(id = %key.id(), "made a key for this node");
    Ok(key)
}

fn agent_ticket(config: &AgentConfig) -> anyhow::Result<Ticket> {
    if let Some(ticket) = &config.join {
        return Ok(ticket.clone());
    }
    let kept = config.data.join(TICKET_FILE);
    let path = match &config.ticket_file {
        Some(path) => path.clone(),
        None if kept.exists() => kept,
        None => {
            return Err(anyhow!("the agent has no ticket: it knows neither its fleet nor where that is"))
                .hint("get one from an admin, `flt admin invite`, then: flt agent run --join TICKET")
                .code(Code::Config);
        }
    };
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read the ticket {}", path.display()));
    let text = text.code(Code::Config)?;
    text.parse::<Ticket>().with_context(|| format!("cannot use the ticket in {}", path.display())).code(Code::Config)
}

fn host_name() -> anyhow::Result<Name> {
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy().to_ascii_lowercase();
    let short = host.split('.').next().unwrap_or(&host);
    short.parse().with_context(|| format!("the host's name `{short}` cannot be a node's name"))
}

pub(crate) fn genesis(config: &CoordinatorConfig) -> anyhow::Result<SignedEntry> {
    let kept = config.data.join(GENESIS_FILE);
    let path = match &config.genesis {
        Some(path) => path.clone(),
        None if kept.exists() => kept,
        None => {
            return Err(anyhow!("the coordinator does not know its fleet: no genesis entry is named"))
                .hint(
                    "found a fleet with `flt admin init`, which writes one, then: flt coordinator run --genesis FILE; \
                     or join one: flt coordinator run --join TICKET",
                )
                .code(Code::Config);
        }
    };
    let file = File::open(&path).with_context(|| format!("cannot read the genesis entry {}", path.display()));
    let entry = protocols::export::read(BufReader::new(file.code(Code::Config)?)).next();
    let entry = entry.with_context(|| format!("{} is empty", path.display())).code(Code::Config)?;
    entry.with_context(|| format!("cannot read the genesis entry in {}", path.display())).code(Code::Config)
}

pub(crate) fn save_genesis(data: &Path, genesis: &SignedEntry) -> anyhow::Result<()> {
    let path = data.join(GENESIS_FILE);
    if path.exists() {
        return Ok(());
    }
    let mut line = Vec::new();
    protocols::export::write_line(&mut line, genesis)?;
    write_private(&path, &String::from_utf8_lossy(&line))
}

/// Writes the genesis entry of the ledger that is in a data folder.
pub(crate) fn save_recovered_genesis(data: &Path) -> anyhow::Result<()> {
    let ledger = protocols::store::Ledger::open(Arc::new(protocols::store::Store::open(data)?), None)?;
    let genesis = ledger.range(0, 1, usize::MAX)?.into_iter().next().context("the ledger is empty")?;
    save_genesis(data, &genesis)
}

pub(crate) fn make_folder(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot make the data folder {}", dir.display()))
        .hint("choose another one: --data DIR")
        .code(Code::Config)
}

/// Writes a file that only its owner may read: whole or not at all, and not again if it says the same.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let write = || -> std::io::Result<()> {
        // Made readable for its owner alone.
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(dir)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
