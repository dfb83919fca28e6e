//! A fleet in one process and one folder: a coordinator, agents and an admin over loopback. For `flt dev demo` and tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use admin::author::{Author, Intent};
use admin::session::Session;
use admin::workspace::Workspace;
use anyhow::Context as _;
use mesh::relay::RelayTls;
use protocols::entry::{Founder, Invite, Payload, Publish};
use protocols::record::OUTCOME_PREFIX;
use protocols::ticket::InviteSecret;
use protocols::{
    Body, Digest, FleetId, FleetState, Labels, Name, NodeId, Outcome, Policy, SecretKey, Selector, SignedEntry, Ticket,
};
use tokio::time::Instant;

use crate::compose::admin::{self as link, AdminLink};
use crate::compose::agent::{AgentParts, RunningAgent};
use crate::compose::coordinator::{ClockPart, CoordinatorParts, RelayParts, RunningCoordinator};
use crate::compose::{agent, coordinator, now};

/// How a local fleet runs.
#[derive(Debug, Clone)]
pub struct DevOptions {
    /// Whether the coordinator runs a relay (plain HTTP, on loopback).
    pub relay: bool,
    /// Whether documents are published and followed.
    pub documents: bool,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// The agents' clock.
    pub agent_clock: ClockPart,
}

impl Default for DevOptions {
    fn default() -> Self {
        Self { relay: true, documents: true, heartbeat: Duration::from_secs(2), agent_clock: ClockPart::default() }
    }
}

/// A fleet that runs in this process.
#[derive(Debug)]
pub struct DevFleet {
    dir: PathBuf,
    options: DevOptions,
    /// The fleet.
    pub fleet: FleetId,
    genesis: SignedEntry,
    coordinator_key: SecretKey,
    /// Where the coordinator listened first: it comes back there.
    coordinator_at: Vec<SocketAddr>,
    relay_at: Option<SocketAddr>,
    /// The coordinator, while it runs.
    pub coordinator: Option<RunningCoordinator>,
    /// The agents that run.
    pub agents: BTreeMap<Name, RunningAgent>,
    tickets: BTreeMap<Name, Ticket>,
    /// The admin's session.
    pub session: Session,
    /// The admin's connection.
    pub link: AdminLink,
}

impl DevFleet {
    /// Founds a fleet in an empty folder and starts its coordinator.
    ///
    /// # Errors
    /// If the folder or the network cannot be used.
    pub async fn found(dir: &Path, options: DevOptions) -> anyhow::Result<Self> {
        let (admin_key, coordinator_key) = (SecretKey::generate(), SecretKey::generate());
        let name: Name = "dev".parse()?;
        let founder = Founder { key: coordinator_key.id(), name: "coordinator-1".parse()? };
        let nonce = Digest::from_bytes(*SecretKey::generate().id().as_bytes());
        let founded = admin::found::found(name, "admin".parse()?, &admin_key, vec![founder], nonce, now())?;
        let running = start_coordinator(dir, &coordinator_key, &founded.genesis, &options, &[], None).await?;
        let coordinator_at = running.mesh.bound();
        let relay_at = running.relay_addr();
        let ticket = running.ticket();
        let workspace = Workspace::new(dir.join("admin"));
        workspace.create()?;
        admin_key.write_new(&workspace.key_file(), protocols::key::KeyFormat::OpenSsh, "admin of dev")?;
        workspace.set_ticket(&ticket)?;
        let link = link::connect(admin_key.clone(), &ticket, workspace.dir(), &loopback(), false).await?;
        let mut session = Session::open(workspace, founded.fleet, Author::new(admin_key), link.control())?;
        session.sync().await?;
        Ok(Self {
            dir: dir.to_owned(),
            options,
            fleet: founded.fleet,
            genesis: founded.genesis,
            coordinator_key,
            coordinator_at,
            relay_at,
            coordinator: Some(running),
            agents: BTreeMap::new(),
            tickets: BTreeMap::new(),
            session,
            link,
        })
    }

    /// The ticket that reaches the fleet.
    ///
    /// # Errors
    /// If the coordinator is stopped.
    pub fn ticket(&self) -> anyhow::Result<Ticket> {
        Ok(self.coordinator.as_ref().context("the coordinator is stopped")?.ticket())
    }

    /// Signs and submits.
    ///
    /// # Errors
    /// If the entry is not taken.
    pub async fn enter(&mut self, body: Body) -> anyhow::Result<u64> {
        self.session.sync().await?;
        let planned = Arc::clone(self.session.state()?);
        let submitted = self.session.submit(&planned, &Intent::Enter(body), now).await?;
        Ok(submitted.entry.seq())
    }

    /// Makes an invite and the ticket that carries it.
    ///
    /// # Errors
    /// If the entry is not taken.
    pub async fn invite(&mut self, name: Option<Name>, labels: Labels, uses: u32) -> anyhow::Result<Ticket> {
        let key = SecretKey::generate();
        let expires = now().plus(Duration::from_secs(3600));
        let invite = Invite { invite: key.id(), name: name.clone(), labels, expires, uses, replaces: None };
        self.enter(Body::Invite(invite)).await?;
        Ok(Ticket { invite: Some(InviteSecret::new(&key, expires, name)), ..self.ticket()? })
    }

    /// Invites and starts an agent, and waits until it is a member.
    ///
    /// # Errors
    /// If it does not join in time.
    pub async fn join(&mut self, name: &str, labels: Labels) -> anyhow::Result<NodeId> {
        let name: Name = name.parse()?;
        let ticket = self.invite(Some(name.clone()), labels, 1).await?;
        self.join_with(&name, ticket).await
    }

    /// Starts an agent with a ticket and waits until it is a member.
    ///
    /// # Errors
    /// If it does not join in time.
    pub async fn join_with(&mut self, name: &Name, ticket: Ticket) -> anyhow::Result<NodeId> {
        self.tickets.insert(name.clone(), ticket);
        self.start_agent(name).await?;
        let agent = self.agents.get(name).context("the agent is gone")?;
        let mut states = agent.role.watch();
        let id = agent.role.id();
        let joined = states.wait_for(|s| s.as_ref().is_some_and(|s| s.is_agent(id)));
        tokio::time::timeout(JOIN_DEADLINE, joined).await.context("the agent did not join in time")??;
        Ok(id)
    }

    /// The folder of an agent: its data, and the files it may write.
    pub fn agent_dir(&self, name: &Name) -> PathBuf {
        self.dir.join(name.as_str())
    }

    /// The folder that stands for an agent's `/`.
    pub fn agent_root(&self, name: &Name) -> PathBuf {
        self.agent_dir(name).join("root")
    }

    /// Starts an agent that was joined before.
    ///
    /// # Errors
    /// If its data cannot be used.
    pub async fn start_agent(&mut self, name: &Name) -> anyhow::Result<()> {
        let ticket = self.tickets.get(name).with_context(|| format!("no agent is named `{name}`"))?.clone();
        let dir = self.agent_dir(name);
        let root = self.agent_root(name);
        std::fs::create_dir_all(&root)?;
        let key_file = dir.join("key");
        let key = if key_file.exists() {
            SecretKey::read(&key_file, || None)?
        } else {
            let key = SecretKey::generate();
            key.write_new(&key_file, protocols::key::KeyFormat::Raw, "")?;
            key
        };
        let parts = AgentParts {
            data: dir.join("data"),
            key,
            ticket,
            name: name.clone(),
            listen: loopback(),
            mdns: false,
            documents: self.options.documents,
            relay_only: false,
            heartbeat: self.options.heartbeat,
            drift: Duration::from_secs(600),
            grace: agent::GRACE,
            pulls: true,
            files_root: root,
            devices: Vec::new(),
            device_groups: Vec::new(),
            device_facts: agent::DEVICE_FACTS,
            clock: self.options.agent_clock.clone(),
        };
        let running = agent::start(parts).await?;
        self.agents.insert(name.clone(), running);
        Ok(())
    }

    /// Stops an agent. Its data stays.
    pub async fn stop_agent(&mut self, name: &Name) {
        if let Some(agent) = self.agents.remove(name) {
            agent.stop().await;
        }
    }

    /// Stops the coordinator. Its data stays.
    pub async fn stop_coordinator(&mut self) {
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.stop().await;
        }
    }

    /// Starts the coordinator again where it was.
    ///
    /// # Errors
    /// If its data or its addresses cannot be used.
    pub async fn start_coordinator(&mut self) -> anyhow::Result<()> {
        let running = start_coordinator(
            &self.dir,
            &self.coordinator_key,
            &self.genesis,
            &self.options,
            &self.coordinator_at,
            self.relay_at,
        )
        .await?;
        self.coordinator = Some(running);
        Ok(())
    }

    /// Publishes a declaration as it is written in JSON.
    ///
    /// # Errors
    /// If it is not valid or not taken.
    pub async fn publish(
        &mut self,
        name: &str,
        on: &str,
        kind: &str,
        json: &str,
        policy: Policy,
    ) -> anyhow::Result<u64> {
        let kind = kind.parse()?;
        let on: Selector = on.parse()?;
        let catalogue = scores::catalogue();
        let publish = Publish {
            name: name.parse()?,
            on,
            subject: catalogue.validate(&kind, json)?,
            artifacts: catalogue.artifacts(&kind, json)?,
            kind,
            policy,
            payload: Payload::from_json(json.to_owned())?,
            note: None,
        };
        self.enter(Body::Publish(publish)).await
    }

    /// The fleet's state as the admin knows it.
    ///
    /// # Errors
    /// If the admin knows none.
    pub fn state(&self) -> anyhow::Result<Arc<FleetState>> {
        Ok(Arc::clone(self.session.state()?))
    }

    /// A node's outcomes as the coordinator has them, each signed by the node.
    ///
    /// # Errors
    /// If the coordinator does not answer.
    pub async fn outcomes(&self, node: NodeId) -> anyhow::Result<Vec<Outcome>> {
        let reports = self.session.reports(&[node], OUTCOME_PREFIX).await?;
        Ok(reports.into_iter().flat_map(|r| r.outcomes.into_values().collect::<Vec<_>>()).collect())
    }

    /// Waits until a node's outcome fulfils a condition.
    ///
    /// # Errors
    /// With the last outcomes seen, if it does not in time.
    pub async fn wait_outcome(
        &self,
        node: NodeId,
        within: Duration,
        mut good: impl FnMut(&Outcome) -> bool,
    ) -> anyhow::Result<Outcome> {
        let deadline = Instant::now() + within;
        loop {
            let outcomes = self.outcomes(node).await?;
            if let Some(outcome) = outcomes.iter().find(|o| good(o)) {
                return Ok(outcome.clone());
            }
            anyhow::ensure!(Instant::now() < deadline, "not in time; the last outcomes: {outcomes:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Stops everything.
    pub async fn stop(mut self) {
        // All at once: each waits a while for its peers to take leave.
        let mut stopping = tokio::task::JoinSet::new();
        for agent in std::mem::take(&mut self.agents).into_values() {
            stopping.spawn(agent.stop());
        }
        if let Some(coordinator) = self.coordinator.take() {
            stopping.spawn(coordinator.stop());
        }
        self.link.close().await;
        while stopping.join_next().await.is_some() {}
    }
}

async fn start_coordinator(
    dir: &Path,
    key: &SecretKey,
    genesis: &SignedEntry,
    options: &DevOptions,
    at: &[SocketAddr],
    relay_at: Option<SocketAddr>,
) -> anyhow::Result<RunningCoordinator> {
    let relay = options.relay.then(|| RelayParts {
        listen: relay_at.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        quic_listen: None,
        tls: RelayTls::PlainHttp { allow_public: false },
        url: None,
    });
    let parts = CoordinatorParts {
        data: dir.join("coordinator"),
        key: key.clone(),
        genesis: genesis.clone(),
        listen: if at.is_empty() { loopback() } else { at.to_vec() },
        advertise: Vec::new(),
        relay,
        mdns: false,
        documents: options.documents,
        clock: ClockPart::default(),
    };
    coordinator::start(parts).await
}

fn loopback() -> Vec<SocketAddr> {
    vec![SocketAddr::from(([127, 0, 0, 1], 0))]
}

/// How long an agent may take to become a member.
const JOIN_DEADLINE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);
