//! Who was heard when. Kept in memory: after a restart everybody is silent until its next heartbeat.

use std::collections::HashMap;
use std::time::Duration;

use protocols::control;
use protocols::entry::Head;
use protocols::{NodeId, PeerAddr};
use tokio::time::Instant;

/// How long after its last heartbeat a node counts as online: three beats of the default ten seconds, and a little.
pub const ONLINE_FOR: Duration = Duration::from_secs(35);

/// The last word of every node.
#[derive(Debug, Default)]
pub struct Liveness {
    last: HashMap<NodeId, Last>,
}

#[derive(Debug)]
struct Last {
    at: Instant,
    head: Head,
    addr: PeerAddr,
    online: bool,
}

impl Liveness {
    /// Remembers a heartbeat. True if the node was not online before.
    pub fn heard(&mut self, node: NodeId, head: Head, addr: PeerAddr, now: Instant) -> bool {
        let was = self.last.get(&node).is_some_and(|l| l.online);
        self.last.insert(node, Last { at: now, head, addr, online: true });
        !was
    }

    /// Takes what another coordinator heard, if it is newer. Whether it was, and whether
    /// the node went on or off by it.
    pub fn heard_elsewhere(&mut self, node: NodeId, head: Head, addr: PeerAddr, at: Instant) -> (bool, bool) {
        if self.last.get(&node).is_some_and(|l| l.at >= at) {
            return (false, false);
        }
        let online = at.elapsed() <= ONLINE_FOR;
        let was = self.last.get(&node).is_some_and(|l| l.online);
        self.last.insert(node, Last { at, head, addr, online });
        (true, online != was)
    }

    /// Whether a node was heard at all.
    pub fn knows(&self, node: NodeId) -> bool {
        self.last.contains_key(&node)
    }

    /// The nodes that went silent since this was asked last.
    pub fn newly_silent(&mut self, now: Instant) -> Vec<NodeId> {
        let gone = |l: &Last| l.online && now.duration_since(l.at) > ONLINE_FOR;
        let silent: Vec<NodeId> = self.last.iter().filter(|(_, l)| gone(l)).map(|(id, _)| *id).collect();
        for id in &silent {
            if let Some(last) = self.last.get_mut(id) {
                last.online = false;
            }
        }
        silent
    }

    /// Forgets nodes that are not members any more.
    pub fn retain(&mut self, member: impl Fn(NodeId) -> bool) {
        self.last.retain(|id, _| member(*id));
    }

    /// What is known of a node.
    pub fn of(&self, node: NodeId, now: Instant) -> control::Liveness {
        match self.last.get(&node) {
            None => control::Liveness { silent_millis: None, online: false, head: None, addr: None },
            Some(last) => {
                let silent = now.duration_since(last.at);
                control::Liveness {
                    silent_millis: Some(u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
                    online: silent <= ONLINE_FOR,
                    head: Some(last.head),
                    addr: Some(last.addr.clone()),
                }
            }
        }
    }

    /// Where a node was last.
    pub fn addr(&self, node: NodeId) -> Option<PeerAddr> {
        self.last.get(&node).map(|l| l.addr.clone())
    }

    /// How many are online.
    pub fn online(&self, now: Instant) -> usize {
        self.last.values().filter(|l| now.duration_since(l.at) <= ONLINE_FOR).count()
    }
}
