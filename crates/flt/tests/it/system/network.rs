//! Ways between nodes: through two NATs, and on a local network where nobody knows anybody's address.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use flt::compose::coordinator::RelayParts;
use flt::compose::{agent, coordinator};
use mesh::net::Via;
use mesh::relay::RelayTls;
use protocols::entry::{Payload, Publish};
use protocols::node::NodeEcho;
use protocols::{Body, NodeId, Policy, Ticket};
use testkit::{DEADLINE, Lan, Namespace, Nat, TwoNats, until_async};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::founded::{Fleet, agent_parts, enter, invite, joined};

/// Runs work to its end on a runtime inside a namespace. The work is begun there, so it need not move between threads.
fn inside<R: Send>(namespace: &Namespace, work: impl AsyncFnOnce() -> R + Send) -> R {
    namespace.enter(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(work())
    })
}

/// Stops the threads of a test, also when it fails.
struct Stop(CancellationToken);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[test]
fn nat_to_nat_direct_and_relayed() {
    if !testkit::require("nat_to_nat_direct_and_relayed", testkit::NETWORK) {
        return;
    }
    // Two NATs that keep ports let a direct path be punched; two symmetric ones leave the relay alone.
    admin_reaches_agent(Nat::PortPreserving, true);
    admin_reaches_agent(Nat::FullyRandom, false);
}

/// A coordinator in public, an agent behind one NAT, an admin behind the other.
fn admin_reaches_agent(nat: Nat, direct: bool) {
    let net = TwoNats::new(nat);
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::found();
    let stop = Stop(CancellationToken::new());
    let (ticket_tx, ticket_rx) = oneshot::channel::<Ticket>();
    let (invite_tx, invite_rx) = oneshot::channel::<Ticket>();
    let (id_tx, id_rx) = oneshot::channel::<NodeId>();
    std::thread::scope(|threads| {
        // Moved into the scope, so that a failing assertion below stops the threads before they are joined.
        let stop = stop;
        let until = stop.0.clone();
        threads.spawn(|| inside(net.public(), || run_coordinator(&fleet, dir.path(), ticket_tx, until)));
        let until = stop.0.clone();
        threads.spawn(|| inside(net.a(), || run_agent(dir.path(), invite_rx, id_tx, until)));
        inside(net.b(), async || {
            let ticket = ticket_rx.await.unwrap();
            let (link, mut session) = fleet.admin(dir.path(), &ticket, false).await;
            invite_tx.send(invite(&mut session, &ticket).await).unwrap();
            let id = id_rx.await.unwrap();
            // What is published arrives, whatever the way.
            let payload = r#"{"root":"/etc","entries":{"motd":{"content":"through"}}}"#;
            enter(&mut session, publish(payload)).await;
            let motd = dir.path().join("a/root/etc/motd");
            let read = async || std::fs::read_to_string(&motd).map_err(|e| e.to_string());
            assert_eq!(until_async("the file behind the NAT", DEADLINE, read).await, "through");
            // And the admin reaches the agent itself.
            let locate = async || session.locate(id).await.ok().flatten();
            let addr = until_async("the agent's address", DEADLINE, locate).await;
            let client = link.node(addr);
            let echo = async || {
                let answer = client.rpc(NodeEcho("hello".into())).await.map_err(|e| e.to_string())?;
                assert_eq!(answer.text, "hello");
                Ok::<_, String>(())
            };
            until_async("an echo from NAT to NAT", DEADLINE, echo).await;
            let selected = || link.mesh().paths(id).into_iter().find(|p| p.selected).map(|p| p.via);
            if direct {
                let punched = async || {
                    echo().await?;
                    match selected() {
                        Some(Via::Direct(_)) => Ok(()),
                        other => Err(format!("{other:?}")),
                    }
                };
                until_async("a direct path through both NATs", DEADLINE, punched).await;
            } else {
                // Long enough for the punching that worked above to have been tried several times.
                for _ in 0..30 {
                    until_async("an echo over the relay", DEADLINE, echo).await;
                    assert!(matches!(selected(), Some(Via::Relay(_))), "{:?}", selected());
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
            link.close().await;
        });
        drop(stop);
    });
}

async fn run_coordinator(fleet: &Fleet, dir: &Path, ticket: oneshot::Sender<Ticket>, stop: CancellationToken) {
    let at = |port| SocketAddr::from((TwoNats::RELAY, port));
    let relay = RelayParts {
        listen: at(4443),
        quic_listen: Some(at(7842)),
        tls: RelayTls::SelfSigned { dir: dir.join("relay"), names: vec![TwoNats::RELAY.to_string()] },
        url: None,
    };
    let parts = fleet.coordinator_parts(&dir.join("coordinator"), at(4433), Some(relay));
    let running = coordinator::start(parts).await.unwrap();
    ticket.send(running.ticket()).unwrap();
    stop.cancelled().await;
    running.stop().await;
}

async fn run_agent(
    dir: &Path,
    ticket: oneshot::Receiver<Ticket>,
    id: oneshot::Sender<NodeId>,
    stop: CancellationToken,
) {
    let running = agent::start(agent_parts(dir, "a", ticket.await.unwrap())).await.unwrap();
    joined(&running).await;
    id.send(running.role.id()).unwrap();
    stop.cancelled().await;
    running.stop().await;
}

fn publish(payload: &str) -> Body {
    let kind = "files/1".parse().unwrap();
    Body::Publish(Publish {
        name: "base/motd".parse().unwrap(),
        on: "*".parse().unwrap(),
        subject: scores::catalogue().validate(&kind, payload).unwrap(),
        kind,
        policy: Policy::default(),
        payload: Payload::from_json(payload.to_owned()).unwrap(),
        artifacts: Vec::new(),
        note: None,
    })
}

#[test]
fn an_agent_finds_its_coordinator_by_mdns() {
    if !testkit::require("an_agent_finds_its_coordinator_by_mdns", testkit::NETWORK) {
        return;
    }
    let lan = Lan::new(2);
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::found();
    let stop = Stop(CancellationToken::new());
    let (ticket_tx, ticket_rx) = oneshot::channel::<Ticket>();
    std::thread::scope(|threads| {
        let stop = stop;
        let until = stop.0.clone();
        let (lan, dir, fleet) = (&lan, &dir, &fleet);
        threads.spawn(move || {
            inside(lan.host(0), async || {
                let at = SocketAddr::from((lan.address(0), 0));
                let mut parts = fleet.coordinator_parts(&dir.path().join("coordinator"), at, None);
                parts.advertise.clear();
                parts.mdns = true;
                let running = coordinator::start(parts).await.unwrap();
                let (link, mut session) = fleet.admin(dir.path(), &running.ticket(), false).await;
                let mut ticket = invite(&mut session, &running.ticket()).await;
                link.close().await;
                // Nothing but the key is left of where the coordinator is.
                for coordinator in &mut ticket.coordinators {
                    coordinator.addrs.clear();
                    coordinator.relay = None;
                }
                ticket_tx.send(ticket).unwrap();
                until.cancelled().await;
                running.stop().await;
            });
        });
        inside(lan.host(1), async || {
            let mut parts = agent_parts(dir.path(), "a", ticket_rx.await.unwrap());
            parts.mdns = true;
            let running = agent::start(parts).await.unwrap();
            joined(&running).await;
            running.stop().await;
        });
        drop(stop);
    });
}
