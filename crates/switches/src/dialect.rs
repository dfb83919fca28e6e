//! How a change is said to a device: pure functions from a change to command lines.

mod fastiron;
mod nos;

use std::fmt;

use scores::switch::{Change, Config, Family, SnmpAuth, SnmpPrivacy, SnmpSecrets, SnmpUser};

use crate::session::{Command, SessionError};

/// The commands of a change, within the mode of configuration. `running` is what runs before it.
pub(crate) fn commands(
    family: Family,
    running: &Config,
    change: &Change,
    secrets: Option<&SnmpSecrets>,
) -> Result<Vec<Command>, SessionError> {
    if let Change::Lag { from, to, .. } = change
        && from == to
    {
        return Ok(Vec::new());
    }
    let said = match family {
        Family::FastIronDeploy | Family::FastIron => fastiron::commands(family, running, change, secrets),
        Family::NetworkOs => nos::commands(running, change, secrets),
    };
    said.map_err(|why| SessionError::Impossible(format!("{change}: {why}")))
}

/// How it is known which syntax of port channels a device has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its system has one alone.
    System,
    /// Its configuration is in that syntax.
    Configured,
    /// It was asked.
    Asked(bool),
    /// Its version is from before or after the change.
    Version(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("its system has no other"),
            Self::Configured => f.write_str("its configuration is in it"),
            Self::Asked(true) => write!(f, "it knows `{LAG_QUESTION}`"),
            Self::Asked(false) => write!(f, "it does not know `{LAG_QUESTION}`"),
            Self::Version(version) => write!(f, "its version is {version}; `{LAG_QUESTION}` did not tell"),
        }
    }
}

/// The family of a FastIron, where its configuration shows it.
pub(crate) fn configured_family(running: &crate::parse::ParsedConfig) -> Option<Family> {
    let config = &running.config;
    if config.lags.values().any(|lag| lag.primary.is_some() || lag.deployed) {
        return Some(Family::FastIronDeploy);
    }
    config.ports.keys().any(|port| port.channel_id().is_some()).then_some(Family::FastIron)
}

/// Whether LAGs are interfaces, by the answer to [`LAG_QUESTION`] or how it was refused; nothing where that may have
/// another reason than its words.
pub(crate) fn knows_lag_interfaces(answer: Result<&(), &str>) -> Option<bool> {
    match answer {
        Ok(()) => Some(true),
        Err(said) if said.starts_with("Invalid input -> lag") => Some(false),
        Err(said) if said.starts_with("Incomplete command") => Some(true),
        Err(_) => None,
    }
}

/// The family of a FastIron whose configuration does not show it: by what it answered, and else by its version.
pub(crate) fn told_family(version: &str, asked: Option<bool>) -> Option<(Family, Why)> {
    let family = |interfaces: bool| if interfaces { Family::FastIron } else { Family::FastIronDeploy };
    if let Some(known) = asked {
        return Some((family(known), Why::Asked(known)));
    }
    let mut numbers = version.split('.').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    });
    let mut next = || numbers.next().flatten();
    let numbers = (next()?, next()?, next()?);
    Some((family(numbers >= LAG_INTERFACES_SINCE), Why::Version(version.to_owned())))
}

/// How a family says a user of SNMPv3; `{}` stands for a secret.
struct Words {
    auth: String,
    privacy: fn(SnmpPrivacy) -> &'static str,
}

/// A user goes, comes, or is made anew: no family changes one that is there.
fn snmp_user(
    gone: Option<String>,
    to: Option<&SnmpUser>,
    secrets: Option<&SnmpSecrets>,
    words: impl FnOnce(&SnmpUser, &str) -> Words,
) -> Result<Vec<Command>, String> {
    let mut all: Vec<Command> = gone.map(Command::new).into_iter().collect();
    let Some(to) = to else { return Ok(all) };
    let secrets = secrets.ok_or("its secrets are not known")?;
    let auth = match to.auth.ok_or("it has no authentication")? {
        SnmpAuth::Sha => "sha",
        SnmpAuth::Md5 => "md5",
    };
    let words = words(to, auth);
    all.push(match (to.privacy, &secrets.privacy) {
        (None, None) => Command::secret(&words.auth, &[&secrets.auth]),
        (Some(privacy), Some(key)) => {
            Command::secret(&format!("{} {}", words.auth, (words.privacy)(privacy)), &[&secrets.auth, key])
        }
        _ => return Err("its secrets do not fit its algorithms".into()),
    });
    Ok(all)
}

/// What is asked to find out whether LAGs are interfaces. It reads, and only where they are it is known.
pub(crate) const LAG_QUESTION: &str = "show interfaces lag";
/// The first version whose port channels are interfaces.
const LAG_INTERFACES_SINCE: (u32, u32, u32) = (8, 0, 61);

#[cfg(test)]
mod tests;
