//! A coordinator's ledger from nothing but the copies of others.
//!
//! It answers at the coordinator's address with the coordinator's key and claims to know nothing. Agents, which never stop
//! dialling the coordinators they know, come and say how far they are; each is asked for what is missing, and what
//! verifies is taken. The newest chain wins. It is not put in place if somebody of the fleet has seen an entry that nobody
//! gave, or if histories differ, unless a person says so.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use coordinator::Seen;
use mesh::relay::{RelayServer, RelayServerConfig};
use mesh::{Mesh, MeshBuilder};
use protocols::control::{Control, Tail, TailBatch};
use protocols::entry::{Head, Role};
use protocols::incoming::Incoming;
use protocols::node::{Node, NodeTail};
use protocols::store::{LedgerError, Values};
use protocols::{FleetId, NodeId, PeerAddr, SecretKey, Ticket, alpn};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use self::chain::{Chain, append, clear};
use self::desk::Desk;
use super::RelayParts;

mod chain;
mod desk;

/// How long somebody may take for one batch of entries.
const ASK_DEADLINE: Duration = Duration::from_secs(10);
/// How many may wait to be asked.
const QUEUED: usize = 1024;
/// How often it is looked whether everybody has answered.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long those that answered are listened to further, for somebody who has more.
const LINGER: Duration = Duration::from_secs(2);
/// Name of the database in a data folder.
const DATABASE: &str = "state.redb";

/// What is needed to recover.
#[derive(Debug, Clone)]
pub struct RecoverParts {
    /// The data folder, empty or with an old ledger.
    pub data: PathBuf,
    /// The coordinator's key.
    pub key: SecretKey,
    /// The fleet.
    pub fleet: FleetId,
    /// Where other coordinators are, if a ticket says so.
    pub ticket: Option<Ticket>,
    /// UDP addresses to listen on: those at which agents look for this coordinator.
    pub listen: Vec<SocketAddr>,
    /// The relay, if it runs one.
    pub relay: Option<RelayParts>,
    /// Whether to be found on the local network.
    pub mdns: bool,
    /// How long to wait for members.
    pub wait: Duration,
    /// How many members are enough; all if absent.
    pub members: Option<usize>,
    /// Members, by name or key, whose word counts for nothing.
    pub ignore: Vec<String>,
    /// Whether the newest chain is put in place though others differ from it.
    pub even_if_split: bool,
}

/// What somebody said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Who.
    pub id: NodeId,
    /// Its name in the ledger; nothing if it is not of the fleet.
    pub name: Option<String>,
    /// The newest entry it says it has.
    pub head: Head,
    /// Whether this very entry is in the ledger that was recovered.
    pub is_here: bool,
}

/// What was recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The newest entry now.
    pub head: Head,
    /// The newest entry before.
    pub before: Option<Head>,
    /// Who answered.
    pub said: Vec<Said>,
    /// Members that did not answer.
    pub silent: Vec<String>,
    /// Where the ledger that was here was put, if another history took its place.
    pub aside: Option<PathBuf>,
}

/// Recovers. `heard` is told who says what, as it comes.
///
/// # Errors
/// If nobody answers, if somebody has seen what nobody gave, if histories differ; and if the network or the folder cannot
/// be used. The folder's ledger is then as it was.
pub async fn recover(
    parts: RecoverParts,
    heard: impl Fn(NodeId, Head) + Send + Sync + 'static,
) -> anyhow::Result<Recovered> {
    let (queue, mut claims) = mpsc::channel(QUEUED);
    let desk = Arc::new(Desk {
        key: parts.key.clone(),
        fleet: parts.fleet,
        said: Mutex::default(),
        queue,
        heard: Box::new(heard),
    });
    // Who is of the fleet is not known before its ledger is.
    let mut config =
        super::super::mesh_config(parts.key.clone(), &parts.listen, parts.mdns, |_: NodeId, protocol: &[u8]| {
            protocol == alpn::CONTROL
        });
    let relay = match &parts.relay {
        Some(relay) => Some(open_relay(relay).await?),
        None => None,
    };
    if let (Some(server), Some(relay)) = (&relay, &parts.relay) {
        config.relays = super::super::relay_refs(&[super::relay_pin(server, relay, &[])]);
    }
    if let Some(ticket) = &parts.ticket {
        config.relays.extend(super::super::relay_refs(&ticket.relays));
        config.peers.clone_from(&ticket.coordinators);
    }
    let builder = MeshBuilder::bind(config).await.context("cannot join the network")?;
    let mesh = builder.serve::<Control>(alpn::CONTROL, super::super::control_limits(), Arc::clone(&desk)).start();
    let collected = collect(&parts, &mesh, &desk, &mut claims).await;
    mesh.close().await;
    if let Some(relay) = relay {
        relay.shutdown().await;
    }
    let (chain, before) = collected?;
    let dir = chain.dir.clone();
    let concluded = conclude(&parts, chain, before, &desk);
    clear(&dir)?;
    concluded
}

/// Nodes without another way come through the relay; it is open while this lasts.
async fn open_relay(parts: &RelayParts) -> anyhow::Result<RelayServer> {
    let config = RelayServerConfig {
        listen: parts.listen,
        quic_listen: parts.quic_listen,
        tls: parts.tls.clone(),
        access: Arc::new(|_: NodeId, _: Option<&str>| true),
    };
    RelayServer::start(config).await.context("cannot start the relay")
}

/// Listens and asks until everybody answered, enough did, or the time is over.
async fn collect(
    parts: &RecoverParts,
    mesh: &Mesh,
    desk: &Arc<Desk>,
    claims: &mut mpsc::Receiver<PeerAddr>,
) -> anyhow::Result<(Chain, Option<Head>)> {
    let mut chain = Chain::open(parts)?;
    let before = chain.head();
    let until = Instant::now() + parts.wait;
    let fellows: Vec<PeerAddr> = parts.ticket.iter().flat_map(|t| t.coordinators.clone()).collect();
    for fellow in fellows.iter().filter(|f| f.id != parts.key.id()) {
        if !chain.ignores(parts, fellow.id) {
            take(parts, mesh, desk, &mut chain, fellow.id, true).await?;
        }
    }
    let mut quiet_since = Instant::now();
    loop {
        let next = timeout_at(until.min(Instant::now() + LOOK_EVERY), claims.recv()).await;
        if let Ok(Some(addr)) = next {
            let member = addr.id;
            mesh.learn(addr);
            let claimed = desk.head_of(member);
            let new = claimed.filter(|head| !chain.has(*head) && !chain.was_judged(member, *head));
            if let Some(head) = new.filter(|_| !chain.ignores(parts, member)) {
                let fellow = chain.state().is_some_and(|s| s.is_coordinator(member));
                if take(parts, mesh, desk, &mut chain, member, fellow).await? {
                    chain.judge(member, head);
                    quiet_since = Instant::now();
                }
            }
        }
        if Instant::now() >= until || (is_enough(parts, &chain, desk) && quiet_since.elapsed() >= LINGER) {
            return Ok((chain, before));
        }
    }
}

/// Whether as many members answered as were asked for: all of them if nobody said how many. Not while one of them has
/// seen more than was given and was not asked for it yet, or gave no answer.
fn is_enough(parts: &RecoverParts, chain: &Chain, desk: &Desk) -> bool {
    let Some(state) = chain.state() else { return false };
    let said = desk.said.lock().unwrap_or_else(PoisonError::into_inner);
    let mut of_members = said.iter().filter(|(id, _)| state.members().contains_key(id));
    if of_members
        .any(|(id, head)| head.seq > state.head().seq && !chain.was_judged(*id, *head) && !chain.ignores(parts, *id))
    {
        return false;
    }
    let others = || state.members().keys().filter(|id| **id != parts.key.id());
    let answered = others().filter(|id| said.contains_key(*id)).count();
    answered > 0 && answered >= parts.members.unwrap_or_else(|| others().count())
}

/// Takes all that one has and that verifies, unless it turns out by that very ledger that its word counts for nothing.
/// False if it gave no answer.
async fn take(
    parts: &RecoverParts,
    mesh: &Mesh,
    desk: &Desk,
    chain: &mut Chain,
    from: NodeId,
    fellow: bool,
) -> anyhow::Result<bool> {
    let was_empty = chain.head().is_none();
    let answered = loop {
        let ours = chain.head();
        let batch = match ask(mesh, from, fellow, ours).await {
            Ok(batch) => batch,
            Err(why) => {
                tracing::warn!(from = %from.short(), %why, "does not give its entries");
                break false;
            }
        };
        if fellow {
            desk.note(from, batch.head);
        }
        if batch.entries.is_empty() {
            // It has nothing to add: because it has no more, or because it has something else.
            if ours.is_some() && !chain.has(batch.head) {
                rival(parts, mesh, chain, from, fellow).await?;
            }
            break true;
        }
        match append(&mut chain.ledger, parts.fleet, batch.entries) {
            Ok(()) => {
                if chain.head() != ours && !chain.givers.contains(&from) {
                    chain.givers.push(from);
                }
                if chain.head() == ours || chain.head().is_some_and(|h| h.seq >= batch.head.seq) {
                    break true;
                }
            }
            Err(LedgerError::Fork { .. }) => {
                rival(parts, mesh, chain, from, fellow).await?;
                break true;
            }
            Err(error @ LedgerError::Store(_)) => return Err(error).context("cannot store the entries"),
            Err(error) => {
                tracing::error!(from = %from.short(), error = %scores::chain(&error), "gave what cannot be");
                break true;
            }
        }
    };
    chain.learn_names();
    if was_empty && chain.head().is_some() && chain.ignores(parts, from) {
        chain.forget(parts)?;
    }
    Ok(answered)
}

/// Takes a history that differs from the beginning on, and goes on with it if it is the newer one.
async fn rival(parts: &RecoverParts, mesh: &Mesh, chain: &mut Chain, from: NodeId, fellow: bool) -> anyhow::Result<()> {
    let (dir, store, mut ledger) = chain.rival(parts)?;
    loop {
        let ours = ledger.head();
        let Ok(batch) = ask(mesh, from, fellow, ours).await else { break };
        if batch.entries.is_empty() || append(&mut ledger, parts.fleet, batch.entries).is_err() || ledger.head() == ours
        {
            break;
        }
        if ledger.head().is_some_and(|h| h.seq >= batch.head.seq) {
            break;
        }
    }
    chain.weigh((dir, store, ledger), from)
}

async fn ask(mesh: &Mesh, from: NodeId, fellow: bool, after: Option<Head>) -> Result<TailBatch, String> {
    let asked = async {
        if fellow {
            let client: protocols::Client<Control> = mesh.client(from, alpn::CONTROL);
            let stream = client.server_streaming(Tail { after, follow: false }, 1).await;
            let mut stream = Incoming::new(stream.map_err(|e| scores::chain(&e))?);
            let batch = stream.next().await.map_err(|e| scores::chain(&e))?;
            batch.ok_or_else(|| "it ended the connection".to_owned())
        } else {
            let client: protocols::Client<Node> = mesh.client(from, alpn::NODE);
            let answer = client.rpc(NodeTail { after }).await;
            answer.map_err(|e| scores::chain(&e))?.map_err(|e| e.to_string())
        }
    };
    timeout(ASK_DEADLINE, asked).await.unwrap_or_else(|_| Err("no answer in time".into()))
}

/// Judges what was collected, and puts it in place.
fn conclude(parts: &RecoverParts, chain: Chain, before: Option<Head>, desk: &Desk) -> anyhow::Result<Recovered> {
    let said = desk.all();
    ensure!(!said.is_empty(), "nobody answered in {} seconds: no copy of the ledger was found", parts.wait.as_secs());
    let state = chain.state().cloned().context("nobody who answered gave a ledger of this fleet")?;
    let me = parts.key.id();
    ensure!(
        state.is_coordinator(me),
        "the ledger that was found does not name {me} a coordinator: it was retired, or has another key now"
    );
    let name = |id: NodeId| state.members().get(&id).map(|m| m.name.to_string());
    let ignored = |id: NodeId| chain.ignores(parts, id);
    let said: Vec<Said> =
        said.into_iter().map(|(id, head)| Said { id, name: name(id), head, is_here: chain.has(head) }).collect();
    let seen = coordinator::seen(&Values::new(Arc::clone(&chain.store)))?;
    let head = state.head();
    let mut missing: Vec<String> = said
        .iter()
        .filter(|s| s.name.is_some() && s.head.seq > head.seq && !ignored(s.id))
        .map(|s| format!("{} has seen entry {}", s.name.as_deref().unwrap_or_default(), s.head))
        .collect();
    if let Some(Seen { by, head: seen }) = seen.filter(|seen| seen.head.seq > head.seq && !ignored(seen.by)) {
        missing.push(format!("{} had seen entry {seen}", name(by).unwrap_or_else(|| by.short())));
    }
    ensure!(
        missing.is_empty(),
        "the newest entry that anybody gave is {head}, and {}; whoever lies can be passed over: --ignore NAME",
        missing.join(", ")
    );
    // Whoever has another entry in a place that is taken, whether it was asked for its history first or last.
    let other = |s: &&Said| {
        let gave = chain.differs.iter().any(|(id, _)| *id == s.id);
        (s.name.is_some() || gave) && !s.is_here && s.head.seq <= head.seq && !ignored(s.id)
    };
    let parted = chain.parted.map_or_else(String::new, |seq| format!(" from entry {seq} on"));
    let own = chain.left_own.then(|| "the ledger that was here is another".to_owned());
    let differs: Vec<String> = said
        .iter()
        .filter(other)
        .map(|s| format!("{} has another entry {}", s.name.clone().unwrap_or_else(|| s.id.short()), s.head))
        .chain(own)
        .collect();
    ensure!(
        parts.even_if_split || differs.is_empty(),
        "histories differ{parted}: {}; the newest that was found ends with entry {head}; to put it in place all the \
         same: --even-if-split; or pass over those who are wrong: --ignore NAME",
        differs.join(", ")
    );
    let answered = |id: &NodeId| said.iter().any(|s| s.id == *id);
    let silent: Vec<String> = state
        .members()
        .iter()
        .filter(|(id, _)| **id != me && !answered(id))
        .map(|(_, m)| match m.role {
            Role::Agent => m.name.to_string(),
            Role::Coordinator => format!("{} (coordinator)", m.name),
        })
        .collect();
    coordinator::clear_hold(&Values::new(Arc::clone(&chain.store)))?;
    let Chain { store, ledger, dir, is_own, own, .. } = chain;
    drop((ledger, store, own));
    let aside = put_in_place(&parts.data, &dir, !is_own)?;
    Ok(Recovered { head, before, said, silent, aside })
}

/// Puts a database in the place of the folder's own, which is kept beside it if it has something else.
fn put_in_place(data: &Path, from: &Path, keep: bool) -> anyhow::Result<Option<PathBuf>> {
    let (own, new) = (data.join(DATABASE), from.join(DATABASE));
    let doing = || format!("cannot put the recovered ledger into {}", data.display());
    let mut aside = None;
    if keep && own.exists() {
        let kept = (1..).map(|n| data.join(format!("{DATABASE}.before-recovery-{n}"))).find(|path| !path.exists());
        let kept = kept.with_context(doing)?;
        std::fs::rename(&own, &kept).with_context(doing)?;
        aside = Some(kept);
    }
    std::fs::rename(&new, &own).with_context(doing)?;
    std::fs::File::open(data).and_then(|dir| dir.sync_all()).with_context(doing)?;
    Ok(aside)
}
