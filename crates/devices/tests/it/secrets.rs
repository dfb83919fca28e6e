//! Secrets on their way to a host.

mod system;
