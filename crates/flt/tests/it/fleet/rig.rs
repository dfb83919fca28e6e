//! A fleet on loopback whose every part a test can set, stop, and put another one in the place of.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use admin::author::{Author, Intent};
use admin::session::{CheckedReport, Session, SubmitFailure, Submitted};
use admin::workspace::Workspace;
use flt::compose::admin::{self as link, AdminLink};
use flt::compose::agent::{self, AgentParts, RunningAgent};
use flt::compose::coordinator::{self, ClockPart, CoordinatorParts, RunningCoordinator};
use flt::compose::now;
use mesh::{Mesh, MeshBuilder, MeshConfig};
use protocols::control::Control;
use protocols::entry::{Enroll, Founder, Grant, Invite, KindPattern, Payload, Publish, Revoke, Role, Verb};
use protocols::ticket::InviteSecret;
use protocols::{
    Body, Digest, Entry, FleetId, FleetState, Labels, Millis, Name, NodeId, Outcome, PeerAddr, Policy, SecretKey,
    SignedEntry, Ticket, Verdict, alpn,
};
use tempfile::TempDir;
use testkit::until_async;

/// Generous: these machines are slow and noisy.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// A score of the files language.
pub(crate) const FILES: &str = "files/1";

pub(crate) struct Rig {
    pub(crate) dir: TempDir,
    pub(crate) coordinator_key: SecretKey,
    pub(crate) genesis: SignedEntry,
    pub(crate) fleet: FleetId,
    /// Where the coordinator listens, whoever that is.
    pub(crate) at: Vec<SocketAddr>,
    pub(crate) coordinator: Option<RunningCoordinator>,
    pub(crate) agents: BTreeMap<String, RunningAgent>,
    pub(crate) keys: BTreeMap<String, SecretKey>,
    pub(crate) admin: AdminRig,
    documents: bool,
}

/// An admin with a folder, a session and a connection.
pub(crate) struct AdminRig {
    pub(crate) session: Session,
    pub(crate) link: AdminLink,
}

impl Rig {
    pub(crate) async fn found() -> Self {
        Self::found_with(false).await
    }

    pub(crate) async fn found_with(documents: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (admin_key, coordinator_key) = (SecretKey::generate(), SecretKey::generate());
        let founder = Founder { key: coordinator_key.id(), name: name("coordinator-1") };
        let nonce = Digest::from_bytes(*SecretKey::generate().id().as_bytes());
        let founded = admin::found::found(name("test"), name("anna"), &admin_key, vec![founder], nonce, now()).unwrap();
        let parts = coordinator_parts(&dir, &coordinator_key, &founded.genesis, &own_address(), documents);
        let running = coordinator::start(parts).await.unwrap();
        let at = running.mesh.bound();
        let admin = AdminRig::connect(dir.path().join("anna"), admin_key, &running.ticket()).await;
        Self {
            dir,
            coordinator_key,
            genesis: founded.genesis,
            fleet: founded.fleet,
            at,
            coordinator: Some(running),
            agents: BTreeMap::new(),
            keys: BTreeMap::new(),
            admin,
            documents,
        }
    }

    /// The ticket that reaches the fleet, whoever answers there.
    pub(crate) fn ticket(&self) -> Ticket {
        let at = PeerAddr { id: self.coordinator_key.id(), addrs: self.at.clone(), relay: None };
        Ticket { fleet: self.fleet, name: name("test"), coordinators: vec![at], relays: Vec::new(), invite: None }
    }

    pub(crate) async fn invite(&mut self, of: Option<&str>, uses: u32, expires: Millis) -> Ticket {
        let (key, of) = (SecretKey::generate(), of.map(name));
        let invite =
            Invite { invite: key.id(), name: of.clone(), labels: Labels::new(), expires, uses, replaces: None };
        self.admin.enter(Body::Invite(invite)).await;
        Ticket { invite: Some(InviteSecret::new(&key, expires, of)), ..self.ticket() }
    }

    pub(crate) async fn enroll(&mut self, of: &str, labels: Labels) -> NodeId {
        let key = self.key(of).id();
        self.admin.enter(Body::Enroll(Enroll { key, name: name(of), role: Role::Agent, labels, replaces: None })).await;
        key
    }

    pub(crate) fn key(&mut self, of: &str) -> SecretKey {
        self.keys.entry(of.to_owned()).or_insert_with(SecretKey::generate).clone()
    }

    /// What an agent runs with, where a test says nothing else.
    pub(crate) fn parts(&mut self, of: &str, ticket: Ticket) -> AgentParts {
        let files_root = self.root(of);
        std::fs::create_dir_all(&files_root).unwrap();
        AgentParts {
            data: self.dir.path().join(of).join("data"),
            key: self.key(of),
            ticket,
            name: name(of),
            listen: loopback(),
            mdns: false,
            documents: self.documents,
            relay_only: false,
            heartbeat: Duration::from_millis(500),
            drift: Duration::from_secs(600),
            grace: SOON,
            pulls: true,
            files_root,
            devices: Vec::new(),
            device_groups: Vec::new(),
            device_facts: agent::DEVICE_FACTS,
            clock: ClockPart::default(),
        }
    }

    pub(crate) async fn start(&mut self, of: &str, parts: AgentParts) {
        let running = agent::start(parts).await.unwrap();
        self.agents.insert(of.to_owned(), running);
    }

    pub(crate) async fn start_again(&mut self, of: &str) {
        let parts = self.parts(of, self.ticket());
        self.start(of, parts).await;
    }

    /// Enrolls and starts an agent, and waits until it knows that it is a member.
    pub(crate) async fn join(&mut self, of: &str) -> NodeId {
        let id = self.enroll(of, Labels::new()).await;
        self.start_again(of).await;
        self.is_member(of).await;
        id
    }

    pub(crate) async fn is_member(&self, of: &str) {
        let agent = &self.agents[of].role;
        let (mut states, id) = (agent.watch(), agent.id());
        let joined = states.wait_for(|s| s.as_ref().is_some_and(|s| s.is_agent(id)));
        drop(tokio::time::timeout(SOON, joined).await.expect("it joins in time").unwrap());
    }

    pub(crate) async fn stop_agent(&mut self, of: &str) {
        self.agents.remove(of).unwrap().stop().await;
    }

    pub(crate) async fn stop_coordinator(&mut self) {
        self.coordinator.take().unwrap().stop().await;
    }

    pub(crate) async fn start_coordinator(&mut self) {
        let parts = coordinator_parts(&self.dir, &self.coordinator_key, &self.genesis, &self.at, self.documents);
        self.coordinator = Some(free_again(async || coordinator::start(parts.clone()).await).await);
    }

    pub(crate) fn root(&self, of: &str) -> PathBuf {
        self.dir.path().join(of).join("root")
    }

    /// What an agent's `/etc/motd` says.
    pub(crate) fn motd(&self, of: &str) -> Option<String> {
        std::fs::read_to_string(self.root(of).join("etc/motd")).ok()
    }

    /// Publishes a text for `/etc/motd`.
    pub(crate) async fn publish(&mut self, on: &str, text: &str) -> u64 {
        self.admin.enter(publish("base/motd", on, &motd(text), Policy::default())).await
    }

    pub(crate) async fn reports(&self, prefix: &str) -> Vec<CheckedReport> {
        self.admin.session.reports(&[], prefix).await.unwrap()
    }

    pub(crate) async fn report(&self, node: NodeId) -> CheckedReport {
        self.admin.session.reports(&[node], "").await.unwrap().pop().expect("the node is known")
    }

    /// Waits until a node's outcome, as the coordinator has it, is of this generation and verdict.
    pub(crate) async fn outcome(&self, node: NodeId, generation: u64, verdict: Verdict) -> Outcome {
        self.outcome_within(SOON, node, generation, verdict).await
    }

    pub(crate) async fn outcome_within(
        &self,
        within: Duration,
        node: NodeId,
        generation: u64,
        verdict: Verdict,
    ) -> Outcome {
        let what = format!("the verdict {verdict} on {generation} of {}", node.short());
        until_async(&what, within, async || {
            let reports = self.admin.session.reports(&[node], "outcome/").await.map_err(|e| e.to_string())?;
            let mut outcomes = reports.into_iter().flat_map(|r| r.outcomes.into_values()).collect::<Vec<_>>();
            let at = outcomes.iter().position(|o| o.generation == generation && o.verdict == verdict);
            at.map(|at| outcomes.swap_remove(at)).ok_or_else(|| format!("{outcomes:?}"))
        })
        .await
    }

    /// Waits until an agent's own `/etc/motd` says this; needs no coordinator.
    pub(crate) async fn says(&self, of: &str, text: &str) {
        until_async(&format!("`{text}` on {of}"), SOON, async || match self.motd(of) {
            Some(found) if found == text => Ok(()),
            other => {
                let records = self.agents.get(of).map(|a| (a.role.stats(), a.role.records().unwrap_or_default()));
                let said = |r: &protocols::VerifiedRecord| r.value::<Outcome>();
                Err((
                    other,
                    records.map(|(stats, records)| (stats, records.iter().filter_map(said).collect::<Vec<_>>())),
                ))
            }
        })
        .await;
    }

    /// A member, or anybody, without an agent: an endpoint with this key.
    pub(crate) async fn raw(&self, key: SecretKey) -> Raw {
        let config =
            MeshConfig { bind: loopback(), ..MeshConfig::new(key.clone(), Arc::new(|_: NodeId, _: &[u8]| true)) };
        let mesh = MeshBuilder::bind(config).await.unwrap().start();
        mesh.learn(self.ticket().coordinators.remove(0));
        Raw { key, mesh, coordinator: self.coordinator_key.id() }
    }

    pub(crate) fn state(&self) -> Arc<FleetState> {
        self.coordinator.as_ref().unwrap().role.state()
    }

    pub(crate) async fn stop(mut self) {
        let agents: Vec<_> = std::mem::take(&mut self.agents).into_values().map(|a| tokio::spawn(a.stop())).collect();
        for agent in agents {
            agent.await.unwrap();
        }
        self.admin.link.close().await;
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.stop().await;
        }
    }
}

impl AdminRig {
    pub(crate) async fn connect(dir: PathBuf, key: SecretKey, ticket: &Ticket) -> Self {
        let workspace = Workspace::new(&dir);
        workspace.create().unwrap();
        workspace.set_ticket(ticket).unwrap();
        let link = link::connect(key.clone(), ticket, &dir, &loopback(), false).await.unwrap();
        let mut session = Session::open(workspace, ticket.fleet, Author::new(key), link.control()).unwrap();
        session.sync().await.unwrap();
        Self { session, link }
    }

    /// Enters what must be taken; gives its place.
    pub(crate) async fn enter(&mut self, body: Body) -> u64 {
        self.try_enter(body).await.unwrap().entry.seq()
    }

    pub(crate) async fn try_enter(&mut self, body: Body) -> Result<Submitted, SubmitFailure> {
        self.session.sync().await?;
        let planned = Arc::clone(self.session.state()?);
        self.session.submit(&planned, &Intent::Enter(body), now).await
    }

    pub(crate) async fn grant(&mut self, to: NodeId, of: &str, verbs: &[Verb], on: &str) {
        let grant = Grant {
            to,
            name: name(of),
            verbs: verbs.iter().copied().collect(),
            on: on.parse().unwrap(),
            kinds: vec![KindPattern::any()],
            expires: None,
        };
        self.enter(Body::Grant(grant)).await;
    }

    pub(crate) async fn revoke(&mut self, key: NodeId) {
        self.enter(Body::Revoke(Revoke { key, reason: "a test".into(), compromised_since: None })).await;
    }
}

/// An endpoint of its own.
pub(crate) struct Raw {
    pub(crate) key: SecretKey,
    pub(crate) mesh: Mesh,
    coordinator: NodeId,
}

impl Raw {
    pub(crate) fn coordinator(&self) -> NodeId {
        self.coordinator
    }

    pub(crate) fn control(&self) -> protocols::Client<Control> {
        self.mesh.client(self.coordinator, alpn::CONTROL)
    }
}

/// The entry that would follow `state`, signed with `key`, whether it is allowed or not.
pub(crate) fn entry_after(state: &FleetState, key: &SecretKey, body: Body) -> SignedEntry {
    let head = state.head();
    let (seq, prev, at) = (head.seq + 1, Some(head.hash), now().max(state.time()));
    Entry { fleet: Some(state.fleet()), seq, prev, at, not_after: None, author: key.id(), body }.sign(key).unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn motd(text: &str) -> String {
    format!(r#"{{"root":"/etc","entries":{{"motd":{{"content":"{text}"}}}}}}"#)
}

/// A sound publication of a files score.
pub(crate) fn publish(of: &str, on: &str, json: &str, policy: Policy) -> Body {
    let (catalogue, kind) = (scores::catalogue(), FILES.parse().unwrap());
    Body::Publish(Publish {
        name: of.parse().unwrap(),
        on: on.parse().unwrap(),
        subject: catalogue.validate(&kind, json).unwrap(),
        artifacts: catalogue.artifacts(&kind, json).unwrap(),
        kind,
        policy,
        payload: Payload::from_json(json.to_owned()).unwrap(),
        note: None,
    })
}

pub(crate) fn loopback() -> Vec<SocketAddr> {
    vec![SocketAddr::from(([127, 0, 0, 1], 0))]
}

/// What binds an address that was given up a moment ago: the last task that holds the socket may still be ending.
pub(crate) async fn free_again<T, E: std::fmt::Debug>(mut bind: impl AsyncFnMut() -> Result<T, E>) -> T {
    until_async("the address", SOON, async || match bind().await {
        Err(error) if !format!("{error:?}").contains("Address already in use") => panic!("{error:?}"),
        bound => bound,
    })
    .await
}

/// An address that nobody else uses, so that its port is still free when the coordinator comes back to it.
fn own_address() -> Vec<SocketAddr> {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    vec![SocketAddr::from(([127, high | 1 << 7, low, last], 0))]
}

/// In an hour.
pub(crate) fn later() -> Millis {
    now().plus(Duration::from_secs(3600))
}

fn coordinator_parts(
    dir: &TempDir,
    key: &SecretKey,
    genesis: &SignedEntry,
    at: &[SocketAddr],
    documents: bool,
) -> CoordinatorParts {
    CoordinatorParts {
        data: dir.path().join("coordinator"),
        key: key.clone(),
        genesis: genesis.clone(),
        listen: at.to_vec(),
        advertise: Vec::new(),
        relay: None,
        mdns: false,
        documents,
        clock: ClockPart::default(),
    }
}
