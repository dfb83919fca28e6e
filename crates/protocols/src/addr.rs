//! Where a node can be reached.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;

/// The most direct addresses kept for one node.
pub const ADDRS_MAX: usize = 16;

/// A node and the ways to it: any number of direct addresses, and the relay it is at home on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerAddr {
    /// The node's key.
    pub id: NodeId,
    /// Direct UDP addresses, best first; at most [`ADDRS_MAX`] are kept.
    #[serde(default)]
    pub addrs: Vec<SocketAddr>,
    /// URL of its home relay (`https://…`, or `http://…` on loopback).
    #[serde(default)]
    pub relay: Option<String>,
}

impl PeerAddr {
    /// A node whose whereabouts are not known.
    pub const fn unknown(id: NodeId) -> Self {
        Self { id, addrs: Vec::new(), relay: None }
    }
}
