//! What `flt doctor` looks at the network with: the same mesh that the roles use, one way at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh::net::OnlineError;
use mesh::rpc::ConnectError;
use mesh::{Mesh, MeshBuilder, MeshConfig};
use protocols::control::{Control, Hello};
use protocols::ticket::RelayPin;
use protocols::{Millis, NodeId, PeerAddr, SecretKey, Ticket, alpn, relay_token};

use crate::commands::doctor::{Answer, Boxed, Probe, ProbeError, Via, Welcome};
use crate::compose;

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(10);

struct MeshProbe {
    key: SecretKey,
    ticket: Ticket,
}

/// Prepares the looks; each makes an endpoint of its own, so that none finds a way that an earlier one opened.
pub(crate) async fn probe(key: SecretKey, ticket: Ticket) -> anyhow::Result<Box<dyn Probe>> {
    Ok(Box::new(MeshProbe { key, ticket }))
}

impl MeshProbe {
    async fn mesh(&self, relays: &[RelayPin], relay_only: bool) -> Result<Mesh, ProbeError> {
        let nobody = |_: NodeId, _: &[u8]| false;
        let mut config = MeshConfig::new(self.key.clone(), Arc::new(nobody));
        config.relays = compose::relay_refs(relays);
        config.relay_only = relay_only;
        config.relay_token = self
            .ticket
            .invite
            .as_ref()
            .map(|invite| relay_token::relay_token(&invite.key(), self.ticket.fleet, self.key.id()));
        let builder = MeshBuilder::bind(config).await.map_err(|e| ProbeError::Failed(scores::chain(&e)))?;
        Ok(builder.start())
    }

    async fn greet(&self, mesh: &Mesh, peer: PeerAddr) -> Result<Answer, ProbeError> {
        let began = Instant::now();
        let look = async {
            let client = mesh.fresh_client::<Control>(peer, alpn::CONTROL).await.map_err(connect_error)?;
            match client.rpc(Hello).await {
                Ok(Ok(welcome)) => {
                    Ok(Some(Welcome { fleet: welcome.fleet, clock: welcome.clock, version: welcome.version }))
                }
                Ok(Err(denied)) => Err(ProbeError::Refused(denied.to_string())),
                // It completed the handshake, and turned this key away: it is there.
                Err(_) => Ok(None),
            }
        };
        let welcome = tokio::time::timeout(LOOK, look).await.map_err(|_| ProbeError::Timeout(LOOK))??;
        Ok(Answer { took: began.elapsed(), welcome })
    }
}

fn connect_error(error: ConnectError) -> ProbeError {
    match error {
        ConnectError::Timeout { .. } => ProbeError::Timeout(LOOK),
        ConnectError::Refused { .. } => ProbeError::Refused(scores::chain(&error)),
        other => ProbeError::Failed(scores::chain(&other)),
    }
}

impl Probe for MeshProbe {
    fn coordinator<'a>(&'a self, peer: &'a PeerAddr, via: Via) -> Boxed<'a, Result<Answer, ProbeError>> {
        Box::pin(async move {
            let (relays, addr) = match via {
                Via::Direct => (&[][..], PeerAddr { relay: None, ..peer.clone() }),
                Via::Relay => (self.ticket.relays.as_slice(), PeerAddr { addrs: Vec::new(), ..peer.clone() }),
            };
            let mesh = self.mesh(relays, via == Via::Relay).await?;
            let answer = self.greet(&mesh, addr).await;
            mesh.close().await;
            answer
        })
    }

    fn relay<'a>(&'a self, relay: &'a RelayPin) -> Boxed<'a, Result<Duration, ProbeError>> {
        Box::pin(async move {
            let mesh = self.mesh(std::slice::from_ref(relay), true).await?;
            let began = Instant::now();
            let online = mesh.online(LOOK).await;
            let took = began.elapsed();
            mesh.close().await;
            match online {
                Ok(()) => Ok(took),
                Err(OnlineError::Timeout { .. }) => Err(ProbeError::Timeout(LOOK)),
                Err(error @ OnlineError::Refused { .. }) => Err(ProbeError::Refused(scores::chain(&error))),
                Err(error @ OnlineError::Certificate { .. }) => Err(ProbeError::Certificate(scores::chain(&error))),
                Err(error) => Err(ProbeError::Failed(scores::chain(&error))),
            }
        })
    }

    fn clock(&self) -> Millis {
        compose::now()
    }

    fn close(self: Box<Self>) -> Boxed<'static, ()> {
        Box::pin(async {})
    }
}
