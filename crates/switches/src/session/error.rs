//! What goes wrong in a session.

use std::time::Duration;

use scores::DeviceError;

/// Why a device could not be asked or told something. No text of it holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is no way to it.
    #[error("connect to {address}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The time was up.
    #[error("{doing}: no end within {} seconds{}", after.as_secs_f32(), if last.is_empty() { String::new() } else { format!("; the last line is {last:?}") })]
    Late {
        /// What was being done.
        doing: String,
        /// How long was waited.
        after: Duration,
        /// The last line of the device.
        last: String,
    },
    /// The host key is another than was declared.
    #[error("the device at {address} has the host key {found}, and {expected}; nothing was sent to it")]
    HostKey {
        /// Where.
        address: String,
        /// The fingerprint of its key.
        found: String,
        /// What was expected instead.
        expected: String,
    },
    /// The known_hosts file cannot be used.
    #[error("read the known hosts in `{path}`")]
    KnownHosts {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Box<russh::keys::Error>,
    },
    /// There is no algorithm that both have and the declaration allows.
    #[error("agree with {address} on {kind}: it offers {}; {hint}", theirs.join(", "))]
    NoCommonAlgorithm {
        /// Where.
        address: String,
        /// What for.
        kind: &'static str,
        /// What it offers.
        theirs: Vec<String>,
        /// What can be done about it.
        hint: String,
    },
    /// SSH failed.
    #[error("{doing}")]
    Ssh {
        /// What was being done.
        doing: String,
        /// Why.
        #[source]
        source: Box<russh::Error>,
    },
    /// It does not let us in.
    #[error("log in as {user:?}: {why}")]
    Login {
        /// As whom.
        user: String,
        /// What it said, or what is missing.
        why: String,
    },
    /// A credential cannot be read.
    #[error("read {what} from `{path}`")]
    Credential {
        /// Which.
        what: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A private key cannot be read.
    #[error("read the private key in `{path}`")]
    PrivateKey {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Box<russh::keys::Error>,
    },
    /// The connection ended.
    #[error("{doing}: the connection ended")]
    Closed {
        /// What was being done.
        doing: String,
    },
    /// It said more than is believed.
    #[error("the device sent more than {bytes} bytes")]
    TooMuchOutput {
        /// The bound.
        bytes: usize,
    },
    /// What came back is not what must come back.
    #[error("{doing}: lost step with the device: expected {expected}, found {found:?}")]
    LostStep {
        /// What was being done.
        doing: String,
        /// What should have come.
        expected: String,
        /// What came.
        found: String,
    },
    /// The device refused a command.
    #[error("`{command}`: the device says {said:?}")]
    Refused {
        /// The command, without secrets.
        command: String,
        /// What it said, without secrets.
        said: String,
    },
    /// The device cannot do it now.
    #[error("`{command}`: the device is busy: {said:?}")]
    Busy {
        /// The command, without secrets.
        command: String,
        /// What it said.
        said: String,
    },
    /// It does not let us do more than look.
    #[error("become privileged: {0}")]
    Enable(String),
    /// Its output is not understood.
    #[error(transparent)]
    Parse(#[from] crate::parse::ParseError),
    /// It could not be asked by NETCONF.
    #[error(transparent)]
    Netconf(#[from] crate::netconf::NetconfError),
    /// It is no switch that is known.
    #[error("find out what the device is: it is neither FastIron nor Network OS; it says {0:?}")]
    UnknownSystem(String),
    /// Too many wait for it.
    #[error("wait for the device: {0} others wait already")]
    Crowded(usize),
    /// A change that this kind of device does not know.
    #[error("{0}")]
    Impossible(String),
}

impl SessionError {
    /// Whether it may pass by itself.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Late { .. }
            | Self::Closed { .. }
            | Self::LostStep { .. }
            | Self::Busy { .. }
            | Self::Crowded(_) => true,
            Self::Netconf(error) => error.is_transient(),
            Self::Ssh { source, .. } => !matches!(**source, russh::Error::UnknownKey | russh::Error::WrongServerSig),
            _ => false,
        }
    }

    /// Whether the connection ended or lost step: what only reads may be asked again on another.
    pub(crate) const fn lost_touch(&self) -> bool {
        use crate::netconf::NetconfError::{Closed, Stray};
        matches!(self, Self::Closed { .. } | Self::LostStep { .. } | Self::Netconf(Closed { .. } | Stray { .. }))
    }

    /// Whether the session can go on: the device has answered, and stands at a prompt.
    pub(crate) const fn keeps_session(&self) -> bool {
        match self {
            Self::Netconf(error) => error.keeps_session(),
            Self::Refused { .. }
            | Self::Busy { .. }
            | Self::Parse(_)
            | Self::UnknownSystem(_)
            | Self::Impossible(_) => true,
            _ => false,
        }
    }
}

impl From<SessionError> for DeviceError {
    fn from(error: SessionError) -> Self {
        let doing = "talk to the switch";
        let outer = if error.is_transient() { Self::transient(doing) } else { Self::permanent(doing) };
        outer.because(error)
    }
}
