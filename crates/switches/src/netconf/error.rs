//! What goes wrong with NETCONF.

use std::fmt;
use std::time::Duration;

use super::Element;

/// Why a device could not be asked by NETCONF.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetconfError {
    /// It has none, or does not let us have it.
    #[error("open NETCONF: {0}")]
    Absent(String),
    /// Its greeting is none.
    #[error("greet by NETCONF: {0}")]
    Hello(String),
    /// The ends of messages are not understood.
    #[error("find the end of a NETCONF message: {0}")]
    Framing(String),
    /// A message is not XML that is believed.
    #[error("read a NETCONF message: {0}")]
    Xml(String),
    /// The device refused a request.
    #[error("{doing}: {}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused {
        /// What was being done.
        doing: String,
        /// What it says.
        errors: Vec<RpcError>,
    },
    /// What came is no answer to what was asked.
    #[error("{doing}: lost step with the device: expected {expected}, found {found}")]
    Stray {
        /// What was being done.
        doing: String,
        /// What should have come.
        expected: String,
        /// What came.
        found: String,
    },
    /// It said more than is believed.
    #[error("the device sent a NETCONF message of more than {bytes} bytes")]
    TooLarge {
        /// The bound.
        bytes: usize,
    },
    /// The time was up.
    #[error("{doing}: no end within {} seconds", after.as_secs_f32())]
    Late {
        /// What was being done.
        doing: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection ended.
    #[error("{doing}: the connection ended")]
    Closed {
        /// What was being done.
        doing: String,
    },
}

/// An `<rpc-error>` (RFC 6241, 4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcError {
    /// Whether something was not done; otherwise it is only a warning.
    pub severity: Severity,
    /// The layer: `transport`, `rpc`, `protocol`, `application`.
    pub layer: String,
    /// Which, such as `operation-not-supported`.
    pub tag: String,
    /// For people, where there is something.
    pub message: Option<String>,
    /// Where in the request or the configuration, where it is told.
    pub path: Option<String>,
}

/// How bad an [`RpcError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It was not done.
    Error,
    /// It was done.
    Warning,
}

impl NetconfError {
    /// Whether it may pass by itself.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Stray { .. } | Self::Late { .. } | Self::Closed { .. } => true,
            Self::Refused { errors, .. } => {
                let passes = |tag: &str| ["in-use", "lock-denied", "resource-denied"].contains(&tag);
                errors.iter().filter(|error| error.severity == Severity::Error).all(|error| passes(&error.tag))
            }
            _ => false,
        }
    }

    /// Whether it answered, and may be asked again.
    pub(crate) const fn keeps_session(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Absent(_))
    }
}

impl RpcError {
    /// Reads one. What is missing or of no known kind is taken as bad as it can be.
    pub(super) fn read(element: &Element) -> Self {
        let part = |name: &str| {
            let found = element.children().iter().find(|child| child.name() == name);
            found.map(|child| shorten(child.text())).filter(|text| !text.is_empty())
        };
        Self {
            severity: match part("error-severity").as_deref() {
                Some("warning") => Severity::Warning,
                _ => Severity::Error,
            },
            layer: part("error-type").unwrap_or_else(|| "unknown".into()),
            tag: part("error-tag").unwrap_or_else(|| "unknown".into()),
            message: part("error-message"),
            path: part("error-path"),
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "the device says {severity} `{}` ({})", self.tag, self.layer)?;
        if let Some(message) = &self.message {
            write!(f, ": {message:?}")?;
        }
        if let Some(path) = &self.path {
            write!(f, " at {path:?}")?;
        }
        Ok(())
    }
}

pub(super) fn shorten(text: &str) -> String {
    protocols::outcome::shorten(text, SAID_BYTES_MAX)
}

/// The most of a device's words in an error, in bytes.
const SAID_BYTES_MAX: usize = 200;
