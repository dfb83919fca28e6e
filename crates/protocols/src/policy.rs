//! How a declaration is to be applied: the checks that must pass, how long they may take, what counts as failed.
//!
//! A policy is part of what an admin signs; the node carries it out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most checks in one policy.
pub const CHECKS_MAX: usize = 32;

/// How a declaration is applied and judged. Every field has a default, so an empty table is a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Checks that must all pass after the change, or it is undone. At most [`CHECKS_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// Seconds that the checks together have to turn green after the change; each is tried again until then. 1 to 3600.
    pub check_seconds: u32,
    /// Seconds that applying the change itself may take. 1 to 86400.
    pub apply_seconds: u32,
    /// How often a change that failed for a passing reason (not a failed check) is tried before it is given up. 1 to 20.
    pub attempts: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { checks: Vec::new(), check_seconds: 60, apply_seconds: 600, attempts: 5 }
    }
}

/// One condition that must hold after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "type")]
pub enum Check {
    /// A program, run without a shell, ends with status 0 within `seconds` (default 10).
    Exec {
        /// Program and arguments; the program by absolute path or found in the agent's `PATH`.
        command: Vec<String>,
        /// Its deadline in seconds, 1 to 600.
        #[serde(default = "ten")]
        seconds: u32,
    },
    /// A TCP connection to `host:port` opens.
    Tcp {
        /// Host name or address, a colon, a port.
        address: String,
    },
    /// An HTTP GET answers with `status`, and its body holds `contains`.
    Http {
        /// An `http://` URL.
        url: String,
        /// The expected status code.
        #[serde(default = "two_hundred")]
        status: u16,
        /// Text that the first 64 KiB of the body must hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contains: Option<String>,
    },
    /// A systemd unit is active and has been for `stable_seconds` (default 2).
    Unit {
        /// The unit's full name, `nginx.service`.
        name: String,
        /// How long it must have been active, in seconds, 0 to 600.
        #[serde(default = "two")]
        stable_seconds: u32,
    },
    /// The agent exchanges a message with a coordinator over a connection made after the change.
    #[serde(deserialize_with = "nothing")]
    Contact,
}

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy's {field} {why}")]
pub struct BadPolicy {
    field: &'static str,
    why: String,
}

impl Policy {
    /// Checks the bounds of every field.
    ///
    /// # Errors
    /// Names the first field out of bounds.
    pub fn check(&self) -> Result<(), BadPolicy> {
        let range = |field, value: u32, max: u32| {
            if value == 0 || value > max {
                return Err(BadPolicy { field, why: format!("is {value} and may be 1 to {max}") });
            }
            Ok(())
        };
        range("check_seconds", self.check_seconds, 3600)?;
        range("apply_seconds", self.apply_seconds, 86400)?;
        range("attempts", self.attempts, 20)?;
        let bad = |why: String| BadPolicy { field: "checks", why };
        if self.checks.len() > CHECKS_MAX {
            return Err(bad(format!("number {} and may be at most {CHECKS_MAX}", self.checks.len())));
        }
        for check in &self.checks {
            check.check().map_err(|why| bad(format!("hold `{check}`, which {why}")))?;
        }
        Ok(())
    }

    /// How long the checks may take together.
    pub fn check_deadline(&self) -> Duration {
        Duration::from_secs(self.check_seconds.into())
    }

    /// How long applying may take.
    pub fn apply_deadline(&self) -> Duration {
        Duration::from_secs(self.apply_seconds.into())
    }
}

impl Check {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Exec { command, seconds } => {
                if command.first().is_none_or(String::is_empty) {
                    return Err("names no program".into());
                }
                if command.iter().any(|word| word.contains('\0')) {
                    return Err("holds a NUL byte".into());
                }
                if command.len() > 64 || command.iter().map(String::len).sum::<usize>() > 4096 {
                    return Err("is longer than 64 words or 4096 bytes".into());
                }
                if *seconds == 0 || *seconds > 600 {
                    return Err("may take 1 to 600 seconds".into());
                }
            }
            Self::Tcp { address } => {
                let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
                if address.len() > 300 || address.contains(|c: char| c.is_control() || c.is_whitespace()) {
                    return Err("should be `host:port` without spaces, at most 300 bytes".into());
                }
                if !port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) {
                    return Err("should be `host:port`".into());
                }
            }
            Self::Http { url, status, contains } => {
                if contains.as_ref().is_some_and(|text| text.len() > 4096) {
                    return Err("looks for more than 4096 bytes".into());
                }
                if url.contains(|c: char| c.is_control() || c.is_whitespace()) {
                    return Err("should be a URL without spaces".into());
                }
                if !url.starts_with("http://") || url.len() > 2048 {
                    return Err("should be an http:// URL of at most 2048 bytes".into());
                }
                if !(100..=599).contains(status) {
                    return Err("expects a status outside 100 to 599".into());
                }
            }
            Self::Unit { name, stable_seconds } => {
                let odd = |c: char| !(c.is_ascii_alphanumeric() || "-_.@:\\".contains(c));
                if name.is_empty() || name.len() > 255 || name.starts_with('-') || name.contains(odd) {
                    return Err("is no systemd unit name".into());
                }
                if *stable_seconds > 600 {
                    return Err("waits longer than 600 seconds".into());
                }
            }
            Self::Contact => {}
        }
        Ok(())
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exec { command, .. } => write!(f, "exec {}", command.join(" ")),
            Self::Tcp { address } => write!(f, "tcp {address}"),
            Self::Http { url, .. } => write!(f, "http {url}"),
            Self::Unit { name, .. } => write!(f, "unit {name}"),
            Self::Contact => f.write_str("contact"),
        }
    }
}

/// Refuses fields, as the other checks refuse unknown ones: a check without any would take whatever stands there.
fn nothing<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    Nothing::deserialize(deserializer).map(|Nothing {}| ())
}

fn ten() -> u32 {
    10
}

fn two() -> u32 {
    2
}

fn two_hundred() -> u16 {
    200
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_default() {
        assert_eq!(serde_json::from_str::<Policy>("{}").unwrap(), Policy::default());
        assert!(Policy::default().check().is_ok());
        assert!(serde_json::from_str::<Policy>(r#"{"chekcs":[]}"#).is_err());
    }

    #[test]
    fn bounds_are_checked() {
        let policy = |checks: &str| serde_json::from_str::<Policy>(&format!(r#"{{"checks":[{checks}]}}"#)).unwrap();
        for good in [
            r#"{"type":"exec","command":["true"]}"#,
            r#"{"type":"tcp","address":"[::1]:80"}"#,
            r#"{"type":"http","url":"http://localhost/"}"#,
            r#"{"type":"unit","name":"a@b.service"}"#,
            r#"{"type":"contact"}"#,
        ] {
            assert_eq!(policy(good).check(), Ok(()), "{good}");
        }
        for bad in [
            r#"{"type":"exec","command":[]}"#,
            r#"{"type":"exec","command":["x"],"seconds":0}"#,
            r#"{"type":"tcp","address":":80"}"#,
            r#"{"type":"tcp","address":"host"}"#,
            r#"{"type":"http","url":"ftp://x"}"#,
            r#"{"type":"unit","name":"--now"}"#,
        ] {
            assert!(policy(bad).check().is_err(), "{bad}");
        }
        let long = Policy { apply_seconds: 0, ..Policy::default() };
        assert_eq!(long.check().unwrap_err().to_string(), "the policy's apply_seconds is 0 and may be 1 to 86400");
    }
}
