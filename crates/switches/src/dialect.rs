//! How a change is said to a device: pure functions from a change to command lines.

mod fastiron;
mod nos;

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

/// The family of a FastIron, by what its configuration shows, or else by its version.
pub(crate) fn fastiron_family(version: &str, running: &crate::parse::ParsedConfig) -> Option<Family> {
    let config = &running.config;
    if config.lags.values().any(|lag| lag.primary.is_some() || lag.deployed) {
        return Some(Family::FastIronDeploy);
    }
    if config.ports.keys().any(|port| port.channel_id().is_some()) {
        return Some(Family::FastIron);
    }
    let mut numbers = version.split('.').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    });
    let mut next = || numbers.next().flatten();
    let version = (next()?, next()?, next()?);
    Some(if version >= LAG_INTERFACES_SINCE { Family::FastIron } else { Family::FastIronDeploy })
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

/// The first version whose port channels are interfaces.
const LAG_INTERFACES_SINCE: (u32, u32, u32) = (8, 0, 61);

#[cfg(test)]
mod tests;
