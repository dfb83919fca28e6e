//! Where scores are played: a topology, those that are made of others, and what can go wrong on them.

mod failover;
mod members;
mod one;
mod pair;
mod redundant;
mod sharded;

use std::error::Error;
use std::io;

pub use failover::Failover;
pub use members::{MEMBERS_MAX, MembersError};
pub use pair::Pair;
pub(crate) use pair::Side;
pub use redundant::{Each, Found, MemberStep, Redundant};
pub use sharded::Sharded;

/// Something that scores are played on: a host, a switch, a cluster. What it can do are the capability traits that it
/// implements.
pub trait Topology: Send + Sync + 'static {
    /// Its name, for people.
    fn name(&self) -> &str;

    /// Makes sure that it can be talked to. Asked before anything else.
    fn ensure_ready(&self) -> impl Future<Output = Result<(), DeviceError>> + Send {
        async { Ok(()) }
    }
}

/// What went wrong on a topology: what was being done, whether it may pass by itself, and the cause.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct DeviceError {
    doing: String,
    transient: bool,
    overtaken: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl DeviceError {
    /// Trying again will not help.
    pub fn permanent(doing: impl Into<String>) -> Self {
        Self { doing: doing.into(), transient: false, overtaken: false, source: None }
    }

    /// It may pass: a full disk, a lock that is held, a peer that is away.
    pub fn transient(doing: impl Into<String>) -> Self {
        Self { doing: doing.into(), transient: true, overtaken: false, source: None }
    }

    /// From an I/O error, which decides whether it may pass.
    pub fn io(doing: impl Into<String>, error: io::Error) -> Self {
        let transient = is_transient(&error);
        Self { doing: doing.into(), transient, overtaken: false, source: Some(Box::new(error)) }
    }

    /// Somebody else has changed the topology since: what was before is not to be brought back any more.
    pub fn overtaken(doing: impl Into<String>) -> Self {
        Self { doing: doing.into(), transient: false, overtaken: true, source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The cause, if one is known.
    pub(crate) fn into_source(self) -> Option<Box<dyn Error + Send + Sync>> {
        self.source
    }

    /// Whether it is an undoing that must not be, and not one that failed.
    pub const fn is_overtaken(&self) -> bool {
        self.overtaken
    }

    /// Whether it may pass by itself, so that trying again makes sense.
    pub const fn is_transient(&self) -> bool {
        self.transient
    }
}

/// An error and its causes on one line, `a: b: c`.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::StorageFull
            | K::QuotaExceeded
            | K::Interrupted
            | K::TimedOut
            | K::WouldBlock
            | K::ResourceBusy
            | K::ExecutableFileBusy
            | K::OutOfMemory
            | K::ConnectionRefused
            | K::ConnectionReset
            | K::ConnectionAborted
            | K::NetworkUnreachable
            | K::HostUnreachable
            | K::BrokenPipe
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_may_pass_and_a_denial_does_not() {
        let full = DeviceError::io("write x", io::Error::from(io::ErrorKind::StorageFull));
        let denied = DeviceError::io("write x", io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(full.is_transient() && !denied.is_transient());
        assert_eq!(chain(&denied), "write x: permission denied");
    }
}
