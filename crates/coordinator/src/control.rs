//! What members ask of a coordinator, answered. The caller is whoever the connection belongs to.

use std::sync::Arc;

use irpc::channel::mpsc;
use protocols::control::{
    ChangeError, ControlMessage, Denied, Echoed, NodeReport, PUSH_RECORDS_MAX, TAIL_BATCH_BYTES_MAX, TAIL_BATCH_MAX,
    TailBatch, Welcome,
};
use protocols::entry::{Head, Verb};
use protocols::heartbeat::{Beat, BeatAck};
use protocols::{BlobHash, NodeId, PeerAddr, SignedEntry, SignedRecord};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::coordinator::{Coordinator, lock};
use crate::order::Hold;

/// The longest text that is said back.
const ECHO_BYTES_MAX: usize = 1024 * 1024;
/// The most blobs in one announcement of an agent.
const PROVIDE_MAX: usize = 20_000;
/// The most nodes named in one query.
const QUERY_NODES_MAX: usize = 20_000;

impl Coordinator {
    /// Answers a request on the control protocol. Failing to send an answer means that the caller has gone.
    pub async fn control(self: Arc<Self>, caller: NodeId, message: ControlMessage) {
        use ControlMessage as M;
        let sent = match message {
            M::Echo(m) => {
                let mut text = m.inner.0;
                text.truncate(text.floor_char_boundary(ECHO_BYTES_MAX));
                m.tx.send(Echoed { text, caller }).await
            }
            M::Hello(m) => m.tx.send(self.greetable(caller).map(|()| self.welcome())).await,
            M::Tail(m) => self.tail(caller, m.inner.after, m.inner.follow, &m.tx).await,
            M::Submit(m) => {
                let answer = self.submit(caller, m.inner.0).await;
                m.tx.send(answer).await
            }
            M::Beat(m) => m.tx.send(self.beat(caller, &m.inner.0)).await,
            M::Compare(m) => m.tx.send(self.agent(caller).map(|()| self.records.versions(caller))).await,
            M::Push(m) => {
                let answer = self.push(caller, m.inner.0);
                m.tx.send(answer).await
            }
            M::Report(m) => self.reports(caller, m.inner.nodes, &m.inner.prefix, &m.tx).await,
            M::Watch(m) => self.watch(caller, m.inner.nodes, &m.tx).await,
            M::Offer(m) => self.offer(caller, m.inner.blobs, m.inner.from, &m.tx).await,
            M::Locate(m) => m.tx.send(self.member(caller).map(|()| self.locate(m.inner.0))).await,
            M::Providers(m) => m.tx.send(self.member(caller).map(|()| self.providers(caller, m.inner.0))).await,
            M::Provide(m) => {
                let answer = self.provide(caller, m.inner.have, m.inner.gone);
                m.tx.send(answer).await
            }
            M::Ticket(m) => m.tx.send(self.member(caller).map(|()| self.ticket())).await,
            M::Lease(m) => {
                let (cluster, attempt, request) = (m.inner.cluster, m.inner.attempt, m.inner.request);
                let answer = self.lease(caller, cluster, attempt, request).await;
                m.tx.send(answer).await
            }
            M::SignedLease(m) => {
                let (cluster, attempt, request) = (m.inner.cluster, m.inner.attempt, m.inner.request);
                let answer = self.signed_lease(caller, cluster, attempt, request).await;
                m.tx.send(answer).await
            }
            M::Leases(m) => {
                let answer = self.lease_views(caller, m.inner.cluster, m.inner.after).await;
                m.tx.send(answer).await
            }
            M::Group(m) => {
                let answer = self.group_status(caller).await;
                m.tx.send(answer).await
            }
            M::ChangeGroup(m) => {
                // Goes on when the caller hangs up: half a change would be worse.
                let (this, add, remove) = (Arc::clone(&self), m.inner.add, m.inner.remove);
                let changing = tokio::spawn(async move { this.change_group(caller, add, remove).await });
                let answer = changing.await.unwrap_or_else(|e| Err(ChangeError::Lost(e.to_string())));
                m.tx.send(answer).await
            }
        };
        if let Err(error) = sent {
            tracing::debug!(node = %caller, %error, "the caller went away");
        }
    }

    pub(crate) fn member(&self, caller: NodeId) -> Result<(), Denied> {
        if self.state().knows(caller) { Ok(()) } else { Err(Denied::NotAMember(caller)) }
    }

    /// Whether a member is told how far the ledger goes.
    fn listener(&self, caller: NodeId) -> Result<(), Denied> {
        self.member(caller)?;
        if self.state().is_agent(caller) { self.serves_agents() } else { Ok(()) }
    }

    /// Whether a member is greeted. One whose history is split sends people and nodes on to another coordinator; what it
    /// has can still be read.
    fn greetable(&self, caller: NodeId) -> Result<(), Denied> {
        self.listener(caller)?;
        match self.chair.hold() {
            held @ Hold::Split { .. } if !self.state().is_coordinator(caller) => {
                Err(Denied::Unavailable(held.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn agent(&self, caller: NodeId) -> Result<(), Denied> {
        if self.state().is_agent(caller) { Ok(()) } else { Err(Denied::NotAMember(caller)) }
    }

    fn welcome(&self) -> Welcome {
        let state = self.state();
        let head = state.head();
        Welcome {
            fleet: state.fleet(),
            head,
            claim: self.claims.of(state.fleet(), head),
            document: self.wire.document(),
            clock: (self.clock)(),
            version: self.version.clone(),
        }
    }

    async fn tail(
        &self,
        caller: NodeId,
        mut after: Option<Head>,
        follow: bool,
        tx: &mpsc::Sender<TailBatch>,
    ) -> Result<(), irpc::channel::SendError> {
        let mut states = self.order.watch();
        loop {
            if self.listener(caller).is_err() {
                return Ok(());
            }
            states.mark_unchanged();
            let tail = match self.order.tail(after, TAIL_BATCH_MAX, TAIL_BATCH_BYTES_MAX) {
                Ok(tail) => tail,
                Err(error) => {
                    tracing::error!(%error, "cannot read the ledger");
                    return Ok(());
                }
            };
            let last = tail.entries.last().map(SignedEntry::hash);
            let first = after.map_or(0, |h| h.seq + 1);
            if let Some(hash) = last {
                after = Some(Head { seq: first + tail.entries.len() as u64 - 1, hash });
            }
            let complete = after.is_none_or(|h| h.seq >= tail.head.seq);
            let fleet = self.state().fleet();
            let claim = Some(self.claims.of(fleet, tail.head));
            let end = after.filter(|end| last.is_some() && *end != tail.head).map(|end| self.claims.of(fleet, end));
            tx.send(TailBatch { entries: tail.entries, head: tail.head, claim, end }).await?;
            if !complete && last.is_some() {
                continue;
            }
            if !follow {
                return Ok(());
            }
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return Ok(()) },
                () = tx.closed() => return Ok(()),
            }
        }
    }

    fn beat(&self, caller: NodeId, beat: &Beat) -> Result<BeatAck, Denied> {
        self.agent(caller)?;
        // What it says is passed on to others: to each of them within bounds.
        let addr = self.bounded(caller, beat.addr.clone());
        self.wire.learn(addr.clone());
        self.note_head(caller, beat.head);
        self.serves_agents()?;
        let fresh = lock(&self.liveness).heard(caller, beat.head, addr.clone(), Instant::now());
        if fresh {
            self.changed(caller);
        }
        if let Some(document) = beat.document {
            let (before, shared) = {
                let mut documents = lock(&self.documents);
                let before = documents.insert(caller, document);
                (before, documents.values().any(|d| Some(*d) == before))
            };
            // Who names another's document must not end it for that one.
            if let Some(before) = before.filter(|before| *before != document && !shared) {
                self.wire.unfollow(before);
            }
            // A process that began anew publishes anew.
            if before != Some(document) || fresh || beat.number == 0 {
                self.wire.follow(document, addr);
            }
        }
        let records_differ = self.records.digest(caller) != beat.records;
        let state = self.state();
        Ok(BeatAck { head: state.head(), claim: self.claims.of(state.fleet(), state.head()), records_differ })
    }

    fn push(&self, caller: NodeId, records: Vec<SignedRecord>) -> Result<(), Denied> {
        self.agent(caller)?;
        if records.len() > PUSH_RECORDS_MAX {
            return Err(Denied::Bounds(format!("at most {PUSH_RECORDS_MAX} records at once")));
        }
        let mut verified = Vec::with_capacity(records.len());
        for record in records {
            if record.writer != caller {
                return Err(Denied::NotAllowed("write another node's records".into()));
            }
            verified.push(record.verify().map_err(|e| Denied::Bounds(e.to_string()))?);
        }
        self.ingest(verified).map_err(|e| Denied::Unavailable(e.to_string()))
    }

    /// The agents that the caller may read, of those it names.
    fn readable(&self, caller: NodeId, nodes: Vec<NodeId>) -> Result<Vec<NodeId>, Denied> {
        let state = self.state();
        let now = (self.clock)();
        let fellow = state.is_coordinator(caller);
        if !fellow && !state.may(caller, Verb::Read, now) {
            self.member(caller)?;
            return Err(Denied::NotAllowed("read what nodes report".into()));
        }
        if nodes.len() > QUERY_NODES_MAX {
            return Err(Denied::Bounds(format!("at most {QUERY_NODES_MAX} nodes at once")));
        }
        let may = |id: &NodeId| {
            let member = state.members().get(id).filter(|_| state.is_agent(*id));
            member.is_some_and(|m| fellow || state.may_on(caller, Verb::Read, m.name.as_str(), &m.labels, now))
        };
        let all = if nodes.is_empty() { state.members().keys().copied().collect() } else { nodes };
        Ok(all.into_iter().filter(may).collect())
    }

    async fn reports(
        &self,
        caller: NodeId,
        nodes: Vec<NodeId>,
        prefix: &str,
        tx: &mpsc::Sender<Result<NodeReport, Denied>>,
    ) -> Result<(), irpc::channel::SendError> {
        let nodes = match self.readable(caller, nodes) {
            Ok(nodes) => nodes,
            Err(denied) => return tx.send(Err(denied)).await,
        };
        for node in nodes {
            let report = self.report(node, prefix).map_err(|e| Denied::Unavailable(e.to_string()));
            tx.send(report).await?;
        }
        Ok(())
    }

    async fn watch(
        &self,
        caller: NodeId,
        nodes: Vec<NodeId>,
        tx: &mpsc::Sender<Result<NodeReport, Denied>>,
    ) -> Result<(), irpc::channel::SendError> {
        // Listening begins before the first answer, so that no change falls between.
        let mut changes = self.changes.subscribe();
        self.reports(caller, nodes.clone(), "", tx).await?;
        if self.readable(caller, nodes.clone()).is_err() {
            return Ok(());
        }
        loop {
            let changed = tokio::select! {
                changed = changes.recv() => changed,
                () = tx.closed() => return Ok(()),
            };
            match changed {
                Ok(node) if nodes.is_empty() || nodes.contains(&node) => {
                    let Ok(may) = self.readable(caller, vec![node]) else { return Ok(()) };
                    for node in may {
                        tx.send(self.report(node, "").map_err(|e| Denied::Unavailable(e.to_string()))).await?;
                    }
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => self.reports(caller, nodes.clone(), "", tx).await?,
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    fn locate(&self, node: NodeId) -> Option<PeerAddr> {
        if node == self.key.id() {
            return Some(self.wire.addr());
        }
        let addr = lock(&self.liveness).addr(node)?;
        Some(self.with_relay(addr))
    }

    fn providers(&self, caller: NodeId, blob: BlobHash) -> Vec<PeerAddr> {
        let holders: Vec<NodeId> = lock(&self.gallery).holders(blob).filter(|n| *n != caller).collect();
        let now = Instant::now();
        let found: Vec<PeerAddr> = {
            let liveness = lock(&self.liveness);
            let online = |n: &NodeId| liveness.of(*n, now).online;
            holders.into_iter().filter(online).filter_map(|n| liveness.addr(n)).collect()
        };
        found.into_iter().map(|addr| self.with_relay(addr)).collect()
    }

    /// A node that has just started sends its first heartbeat before it has found its relay. It is at home on the
    /// fleet's: behind a NAT that is the only way to it.
    fn with_relay(&self, mut addr: PeerAddr) -> PeerAddr {
        if addr.relay.is_none() {
            addr.relay = self.wire.relays().into_iter().next().map(|pin| pin.url);
        }
        addr
    }

    fn provide(&self, caller: NodeId, have: Vec<BlobHash>, gone: Vec<BlobHash>) -> Result<(), Denied> {
        self.agent(caller)?;
        if have.len() + gone.len() > PROVIDE_MAX {
            return Err(Denied::Bounds(format!("at most {PROVIDE_MAX} blobs at once")));
        }
        let mut gallery = lock(&self.gallery);
        have.into_iter().for_each(|blob| gallery.has(caller, blob));
        gone.into_iter().for_each(|blob| gallery.gone(caller, blob));
        Ok(())
    }
}
