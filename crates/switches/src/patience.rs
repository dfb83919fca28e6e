//! How long is waited for a device.

use std::time::Duration;

/// How long each thing may take before the session is given up. The default is made for old switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Connecting and agreeing on keys. Old switches need seconds for a Diffie-Hellman exchange.
    pub connect: Duration,
    /// Logging in: the device may ask a RADIUS server first.
    pub login: Duration,
    /// A prompt after login, and the hello of NETCONF.
    pub greeting: Duration,
    /// A command with all of its output, or a NETCONF reply.
    pub command: Duration,
    /// Silence within a command or a reply.
    pub idle: Duration,
    /// The answer to an empty line, and saying goodbye.
    pub check: Duration,
    /// Saving, with waiting for the flash.
    pub save: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            login: Duration::from_secs(60),
            greeting: Duration::from_secs(30),
            command: Duration::from_secs(120),
            idle: Duration::from_secs(30),
            check: Duration::from_secs(5),
            save: Duration::from_secs(60),
        }
    }
}
