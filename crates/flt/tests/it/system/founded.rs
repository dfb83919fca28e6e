//! A founded fleet as keys and a genesis entry, for tests that start its roles where they want them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use admin::author::{Author, Intent};
use admin::session::Session;
use admin::workspace::Workspace;
use flt::compose::admin::{AdminLink, connect};
use flt::compose::agent::{AgentParts, RunningAgent};
use flt::compose::coordinator::{ClockPart, CoordinatorParts, RelayParts};
use flt::compose::now;
use protocols::entry::{Founder, Invite};
use protocols::ticket::InviteSecret;
use protocols::{Body, Digest, Labels, SecretKey, SignedEntry, Ticket};
use testkit::DEADLINE;

/// A fleet that exists on paper.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) admin: SecretKey,
    pub(crate) coordinator: SecretKey,
    pub(crate) genesis: SignedEntry,
}

impl Fleet {
    pub(crate) fn found() -> Self {
        let (admin, coordinator) = (SecretKey::generate(), SecretKey::generate());
        let founder = Founder { key: coordinator.id(), name: "coordinator-1".parse().unwrap() };
        let (name, who, nonce) = ("test".parse().unwrap(), "admin".parse().unwrap(), Digest::from_bytes([7; 32]));
        let founded = admin::found::found(name, who, &admin, vec![founder], nonce, now()).unwrap();
        Self { admin, coordinator, genesis: founded.genesis }
    }

    pub(crate) fn coordinator_parts(&self, data: &Path, at: SocketAddr, relay: Option<RelayParts>) -> CoordinatorParts {
        CoordinatorParts {
            data: data.to_owned(),
            key: self.coordinator.clone(),
            genesis: self.genesis.clone(),
            listen: vec![at],
            advertise: vec![at],
            relay,
            mdns: false,
            documents: true,
            clock: ClockPart::default(),
        }
    }

    /// The admin, connected from wherever this is called.
    pub(crate) async fn admin(&self, dir: &Path, ticket: &Ticket, mdns: bool) -> (AdminLink, Session) {
        let workspace = Workspace::new(dir.join("admin"));
        workspace.create().unwrap();
        let link = connect(self.admin.clone(), ticket, workspace.dir(), &[], mdns).await.unwrap();
        let author = Author::new(self.admin.clone());
        let mut session = Session::open(workspace, ticket.fleet, author, link.control()).unwrap();
        session.sync().await.unwrap();
        (link, session)
    }
}

/// Signs and submits.
pub(crate) async fn enter(session: &mut Session, body: Body) -> u64 {
    session.sync().await.unwrap();
    let planned = Arc::clone(session.state().unwrap());
    session.submit(&planned, &Intent::Enter(body), now).await.unwrap().entry.seq()
}

/// An invite for any one node.
pub(crate) async fn invite(session: &mut Session, ticket: &Ticket) -> Ticket {
    let key = SecretKey::generate();
    let expires = now().plus(Duration::from_secs(3600));
    let invite = Invite { invite: key.id(), name: None, labels: Labels::new(), expires, uses: 1, replaces: None };
    enter(session, Body::Invite(invite)).await;
    Ticket { invite: Some(InviteSecret::new(&key, expires, None)), ..ticket.clone() }
}

/// Waits until an agent is a member.
pub(crate) async fn joined(agent: &RunningAgent) {
    let id = agent.role.id();
    let mut states = agent.role.watch();
    let member = states.wait_for(|s| s.as_ref().is_some_and(|s| s.is_agent(id)));
    tokio::time::timeout(DEADLINE, member).await.expect("the agent becomes a member in time").expect("it runs");
}

pub(crate) fn agent_parts(dir: &Path, name: &str, ticket: Ticket) -> AgentParts {
    let root = dir.join(name).join("root");
    std::fs::create_dir_all(&root).unwrap();
    AgentParts {
        data: dir.join(name).join("data"),
        key: SecretKey::generate(),
        ticket,
        name: name.parse().unwrap(),
        listen: Vec::new(),
        mdns: false,
        documents: true,
        relay_only: false,
        heartbeat: Duration::from_secs(2),
        drift: Duration::from_secs(600),
        files_root: root,
        devices: Vec::new(),
        device_groups: Vec::new(),
        device_facts: flt::compose::agent::DEVICE_FACTS,
        clock: ClockPart::default(),
        grace: Duration::from_secs(60),
        pulls: true,
    }
}
