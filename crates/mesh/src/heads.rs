//! Short messages between members that nobody else carries on: what one heard of the ledger's head, told to its neighbours.
//!
//! A message goes to the direct neighbours of a gossip swarm and no further. Who receives one judges it, and says it on
//! itself or does not; so nothing spreads that members would not vouch for. The access rule is asked about the protocol as
//! about every other.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use iroh::{Endpoint, EndpointId};
use iroh_gossip::TopicId;
use iroh_gossip::api::{Event, GossipReceiver, GossipSender};
use iroh_gossip::net::Gossip;
use iroh_gossip::proto::DeliveryScope;
use n0_future::stream::StreamExt as _;
use protocols::{NodeId, alpn};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::greet::greet;
use crate::net::{MeshBuilder, endpoint_id, node_id};

/// The largest message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 700;
/// Messages of one neighbour that are taken in one [`WINDOW`]; more are dropped.
pub const MESSAGES_PER_WINDOW: u32 = 60;
/// The time over which a neighbour's messages are counted.
pub const WINDOW: Duration = Duration::from_secs(10);

/// What comes from the swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadsEvent {
    /// A neighbour is there.
    Neighbour(NodeId),
    /// A neighbour said something. Nothing of it is verified.
    Heard {
        /// Who.
        from: NodeId,
        /// What.
        message: Bytes,
    },
}

/// The way to speak in the swarm. It is left when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Heads(mpsc::Sender<Command>);

#[derive(Debug)]
enum Command {
    Say(Bytes),
    Join(Vec<NodeId>),
}

impl Heads {
    /// Says something to all neighbours. It is dropped if it is too long, or if too much is waiting to be said.
    pub fn say(&self, message: Bytes) {
        if message.len() <= MESSAGE_BYTES_MAX {
            let _dropped = self.0.try_send(Command::Say(message));
        }
    }

    /// Looks for neighbours among these.
    pub fn join(&self, peers: Vec<NodeId>) {
        let _dropped = self.0.try_send(Command::Join(peers));
    }
}

impl MeshBuilder {
    /// Takes part in the swarm of this topic. What comes must be read: what finds the channel full is dropped.
    #[must_use]
    pub fn heads(self, topic: [u8; 32]) -> (Self, Heads, mpsc::Receiver<HeadsEvent>) {
        let endpoint = self.endpoint().clone();
        let gossip = Gossip::builder().alpn(alpn::HEADS).max_message_size(GOSSIP_BYTES_MAX).spawn(endpoint.clone());
        let (say, commands) = mpsc::channel(QUEUED_MAX);
        let (events, heard) = mpsc::channel(QUEUED_MAX);
        let builder = self.accept(alpn::HEADS, gossip.clone());
        let topic = TopicId::from_bytes(topic);
        let (asked, up) = (HashMap::new(), HashSet::new());
        let swarm = Swarm { endpoint, gossip, topic, events, counts: HashMap::new(), asked, up };
        tokio::spawn(swarm.run(commands));
        (builder, Heads(say), heard)
    }
}

struct Swarm {
    endpoint: Endpoint,
    gossip: Gossip,
    topic: TopicId,
    events: mpsc::Sender<HeadsEvent>,
    /// How much each neighbour said in its present window.
    counts: HashMap<NodeId, (Instant, u32)>,
    /// Who was asked to become a neighbour, and when.
    asked: HashMap<EndpointId, Instant>,
    up: HashSet<EndpointId>,
}

impl Swarm {
    /// Subscribes, and again whenever the subscription ends, which it does for a reader that was too slow.
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut known = Vec::new();
        while !self.endpoint.is_closed() {
            match self.gossip.subscribe(self.topic, known.clone()).await {
                Ok(topic) => {
                    self.up.clear();
                    let (sender, receiver) = topic.split();
                    if self.follow(&sender, receiver, &mut commands, &mut known).await.is_none() {
                        return;
                    }
                }
                Err(error) => tracing::debug!(%error, "cannot take part in the gossip of heads"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Nothing when nobody is left to speak or to listen.
    async fn follow(
        &mut self,
        sender: &GossipSender,
        mut receiver: GossipReceiver,
        commands: &mut mpsc::Receiver<Command>,
        known: &mut Vec<EndpointId>,
    ) -> Option<()> {
        let mut greetings = JoinSet::new();
        loop {
            tokio::select! {
                Some(greeted) = greetings.join_next(), if !greetings.is_empty() => {
                    if let Ok(Some(peer)) = greeted
                        && sender.join_peers(vec![peer]).await.is_err()
                    {
                        return Some(());
                    }
                }
                command = commands.recv() => {
                    let sent = match command? {
                        Command::Say(message) => sender.broadcast_neighbors(message).await,
                        Command::Join(peers) => {
                            *known = peers.into_iter().filter_map(endpoint_id).take(JOIN_MAX).collect();
                            for peer in self.missing(known) {
                                let (endpoint, gossip) = (self.endpoint.clone(), self.gossip.clone());
                                greetings.spawn(async move {
                                    greet(&endpoint, &gossip, alpn::HEADS, peer).await.then_some(peer)
                                });
                            }
                            sender.join_peers(known.clone()).await
                        }
                    };
                    if sent.is_err() {
                        return Some(());
                    }
                }
                event = receiver.next() => match event {
                    Some(Ok(event)) => self.take(event)?,
                    Some(Err(_)) | None => return Some(()),
                },
            }
        }
    }

    /// Those who were asked a while ago and are no neighbours: they are to be greeted now.
    fn missing(&mut self, known: &[EndpointId]) -> Vec<EndpointId> {
        let now = Instant::now();
        self.asked.retain(|peer, _| known.contains(peer));
        let mut missing = Vec::new();
        for peer in known.iter().filter(|peer| !self.up.contains(*peer)) {
            let asked = self.asked.entry(*peer).or_insert(now);
            if now.duration_since(*asked) >= GREET_AFTER {
                *asked = now;
                missing.push(*peer);
            }
        }
        missing
    }

    fn take(&mut self, event: Event) -> Option<()> {
        let event = match event {
            Event::NeighborUp(peer) => {
                self.up.insert(peer);
                HeadsEvent::Neighbour(node_id(peer))
            }
            Event::NeighborDown(peer) => {
                self.up.remove(&peer);
                self.counts.remove(&node_id(peer));
                return Some(());
            }
            // What is sent to the whole swarm was passed on by others, unread.
            Event::Received(message) if matches!(message.scope, DeliveryScope::Neighbors) => {
                let from = node_id(message.delivered_from);
                if message.content.len() > MESSAGE_BYTES_MAX || !self.may_say_more(from) {
                    return Some(());
                }
                HeadsEvent::Heard { from, message: message.content }
            }
            Event::Received(_) | Event::Lagged => return Some(()),
        };
        match self.events.try_send(event) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Some(()),
            Err(mpsc::error::TrySendError::Closed(_)) => None,
        }
    }

    fn may_say_more(&mut self, from: NodeId) -> bool {
        let now = Instant::now();
        if self.counts.len() >= COUNTED_MAX {
            self.counts.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
        }
        let (since, count) = self.counts.entry(from).or_insert((now, 0));
        if now.duration_since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= MESSAGES_PER_WINDOW
    }
}

/// Largest message of the gossip protocol, in bytes: ours and what is around it.
const GOSSIP_BYTES_MAX: usize = 1024;
/// Messages that wait to be sent or to be read.
const QUEUED_MAX: usize = 256;
/// The most peers that are asked at once to become neighbours.
const JOIN_MAX: usize = 16;
/// The most neighbours whose messages are counted at a time.
const COUNTED_MAX: usize = 1024;
/// How long after a peer was asked to become a neighbour, and has not, it is dialed.
const GREET_AFTER: Duration = Duration::from_secs(2);
/// The pause before a subscription that ended is made again.
const AGAIN: Duration = Duration::from_secs(1);
