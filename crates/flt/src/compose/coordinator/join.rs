//! A further coordinator's first start: it waits until an admin has enrolled its key, and takes the ledger.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use mesh::{Mesh, MeshBuilder};
use protocols::control::{Control, Tail};
use protocols::incoming::Incoming;
use protocols::store::{Ledger, Store};
use protocols::{NodeId, SecretKey, SignedEntry, Ticket, alpn};
use tokio::time::timeout;

/// How long a coordinator may take to send the next entries.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// The pause before they are asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// What is needed to join.
#[derive(Debug, Clone)]
pub struct JoinParts {
    /// The data folder.
    pub data: PathBuf,
    /// The key that is, or will be, enrolled.
    pub key: SecretKey,
    /// The fleet, and where its coordinators are.
    pub ticket: Ticket,
    /// UDP addresses that it will listen on.
    pub listen: Vec<SocketAddr>,
    /// Whether to look for coordinators on the local network.
    pub mdns: bool,
}

/// Takes the ledger from the fleet's coordinators until it says that this key is one of them, and gives the genesis entry.
/// `waiting` is told why it is not so far yet, once for each reason.
///
/// # Errors
/// If the data folder or the network cannot be used, or the ledger does not verify.
pub async fn join(parts: JoinParts, mut waiting: impl FnMut(&str)) -> anyhow::Result<SignedEntry> {
    let store = Arc::new(Store::open(&parts.data)?);
    let mut ledger = Ledger::open(store, Some(parts.ticket.fleet))?;
    let me = parts.key.id();
    // Nobody calls yet, and a port that was given up a moment ago may not be free at once: any other will do.
    let listen: Vec<SocketAddr> = parts.listen.iter().map(|addr| SocketAddr::new(addr.ip(), 0)).collect();
    let mut config = super::super::mesh_config(parts.key, &listen, parts.mdns, |_: NodeId, _: &[u8]| false);
    config.relays = super::super::relay_refs(&parts.ticket.relays);
    config.peers.clone_from(&parts.ticket.coordinators);
    let mesh = MeshBuilder::bind(config).await.context("cannot join the network")?.start();
    let mut told = String::new();
    let result = loop {
        if ledger.state().is_some_and(|s| s.is_coordinator(me)) {
            break ledger.range(0, 1, usize::MAX).map_err(anyhow::Error::from);
        }
        let mut why = String::from("the ticket names no coordinator");
        for coordinator in &parts.ticket.coordinators {
            match take(&mesh, coordinator.id, &mut ledger, parts.ticket.fleet).await {
                Ok(()) => {
                    why = format!("its key is not enrolled: flt admin coordinator enroll {me} --name NAME");
                    break;
                }
                Err(Failure::Unreachable(reason)) => why = reason,
                Err(Failure::Ledger(error)) => {
                    mesh.close().await;
                    return Err(error).context("the coordinator sent what cannot be");
                }
            }
        }
        if ledger.state().is_some_and(|s| s.is_coordinator(me)) {
            continue;
        }
        if told != why {
            waiting(&why);
            told = why;
        }
        tokio::time::sleep(AGAIN).await;
    };
    mesh.close().await;
    let genesis = result?.into_iter().next();
    genesis.context("the ledger is empty")
}

enum Failure {
    Unreachable(String),
    Ledger(anyhow::Error),
}

/// Takes all that one coordinator has. A key that is not enrolled is told nothing by it.
async fn take(mesh: &Mesh, from: NodeId, ledger: &mut Ledger, fleet: protocols::FleetId) -> Result<(), Failure> {
    let lost = |why: String| {
        Failure::Unreachable(match why.contains("not allowed") {
            true => format!("its key is not enrolled: flt admin coordinator enroll {} --name NAME", mesh.id()),
            false => format!("no answer from {}: {why}", from.short()),
        })
    };
    let client: protocols::Client<Control> = mesh.client(from, alpn::CONTROL);
    let stream = client.server_streaming(Tail { after: ledger.head(), follow: false }, 4);
    let stream = timeout(ANSWER_DEADLINE, stream).await.map_err(|_| lost("it is silent".into()))?;
    let mut batches = Incoming::new(stream.map_err(|e| lost(scores::chain(&e)))?);
    let mut any = false;
    loop {
        let next = timeout(ANSWER_DEADLINE, batches.next()).await.map_err(|_| lost("it is silent".into()))?;
        let Some(mut batch) = next.map_err(|e| lost(scores::chain(&e)))? else { break };
        any = true;
        if ledger.state().is_none() && !batch.entries.is_empty() {
            let genesis = batch.entries.remove(0);
            ledger.found(genesis, fleet).map_err(|e| Failure::Ledger(e.into()))?;
        }
        ledger.append(batch.entries).map_err(|e| Failure::Ledger(e.into()))?;
    }
    if any { Ok(()) } else { Err(lost("not allowed".into())) }
}
