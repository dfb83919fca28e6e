//! The hands: topologies with the capabilities that scores ask for, the checks of a policy, and the facts of a host.

pub mod checks;
pub mod facts;
pub mod hold;
pub mod linux;
pub mod network;
pub mod nixos;
pub mod postgres;

pub use checks::HostChecks;
pub use linux::LinuxHost;
