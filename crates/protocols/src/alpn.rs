//! The protocols of the mesh, by ALPN. A message that changes gets a new number here: postcard cannot evolve.

/// Members and coordinators: [`crate::control::Control`].
pub const CONTROL: &[u8] = b"flotilla/control/2";
/// Strangers with an invite: [`crate::enroll::Enrollment`].
pub const ENROLL: &[u8] = b"flotilla/enroll/1";
/// Admins and coordinators to an agent: [`crate::node::Node`].
pub const NODE: &[u8] = b"flotilla/node/1";
/// Agents to one another: which heads their coordinators signed for, in iroh-gossip's protocol.
pub const HEADS: &[u8] = b"flotilla/heads/1";
/// Artifacts by hash, in iroh-blobs' protocol.
pub const BLOBS: &[u8] = b"flotilla/blobs/1";
/// The coordinators that order as a group, to one another.
pub const GROUP: &[u8] = b"flotilla/group/1";
