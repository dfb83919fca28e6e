//! From an agent's configuration to the part of it that needs root.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use protocols::store::{Store, StoreError};
use protocols::{FleetId, SecretKey, Ticket};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use tokio::time::Instant;

use super::{make_folder, make_key, read_key, rotation, write_private};
use crate::compose::hands::keeper::{self, KeeperParts, PATIENCE};
use crate::config::AgentConfig;
use crate::daemon::Context;
use crate::report::{Advise as _, Code};

/// File in the hands' folder that pins their fleet.
const FLEET_FILE: &str = "fleet";
/// How long another process may take to leave the folder, and how often that is looked at.
const TAKE_OVER: Duration = Duration::from_secs(60);
const TAKE_OVER_LOOK: Duration = Duration::from_millis(250);
/// Where they listen if nobody says.
const SOCKET: &str = "/run/flotilla/hands.sock";

/// Runs the hands of an agent until `context` says stop.
pub(crate) async fn hands(config: AgentConfig, context: Context) -> anyhow::Result<()> {
    without_dumps()?;
    make_folder(&config.hands_data)?;
    // What is wrong with the key is said at once; it may be another one when the folder is theirs.
    drop(key(&config)?);
    let fleet = fleet(&config)?;
    let peer = account(&config.hands_user, Path::new("/etc/passwd"))
        .with_context(|| format!("cannot let `{}` connect", config.hands_user))
        .hint("name the user that the agent runs as: flt agent hands --hands-user USER")
        .code(Code::Config)?;
    let Some(store) = take(&config.hands_data, &context).await? else { return Ok(()) };
    rotation::apart::settle(&config.hands_data, &store, fleet)?;
    let parts = KeeperParts {
        data: config.hands_data.clone(),
        key: key(&config)?,
        fleet,
        socket: config.hands.clone().unwrap_or_else(|| PathBuf::from(SOCKET)),
        peer,
        files_root: config.files_root.clone(),
        devices: config.devices().into_iter().map(|device| device.name).collect(),
        patience: PATIENCE,
    };
    let ready = keeper::open(store, &parts, context.stop().clone()).context("cannot start the agent's hands")?;
    write_private(&config.hands_data.join(FLEET_FILE), &format!("{fleet}\n"))?;
    context.ready(&format!("hands of agent {} of fleet {}", parts.key.id().short(), fleet.short()));
    ready.run().await;
    Ok(())
}

/// Takes the folder. An agent that did all by itself may still be about to leave it to the hands: that is waited for.
async fn take(data: &Path, context: &Context) -> anyhow::Result<Option<Arc<Store>>> {
    let end = Instant::now() + TAKE_OVER;
    loop {
        match Store::open(data) {
            Ok(store) => return Ok(Some(Arc::new(store))),
            Err(StoreError::InUse { .. }) if Instant::now() < end => {}
            Err(error) => return Err(error).context("cannot start the agent's hands"),
        }
        context.status("waiting for another process to leave the folder");
        tokio::select! {
            () = context.stop().cancelled() => return Ok(None),
            () = tokio::time::sleep(TAKE_OVER_LOOK) => {}
        }
    }
}

/// Nothing of the process's memory, where keys are, gets into a file or to a debugger of the same user.
pub(crate) fn without_dumps() -> anyhow::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).context("cannot forbid core dumps")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot forbid core dumps")
}

fn key(config: &AgentConfig) -> anyhow::Result<SecretKey> {
    let path = config.hands_key_path();
    // In their own folder they make one, also where that is named.
    if !path.exists() && path == config.hands_data.join("key") {
        return make_key(&path);
    }
    ours(&path)?;
    let read = read_key(&path).with_context(|| format!("cannot use the key {}", path.display()));
    read.code(Code::Config)
}

/// The fleet, from the ticket or from the start before. A pin stays: a ticket of another fleet is refused.
fn fleet(config: &AgentConfig) -> anyhow::Result<FleetId> {
    let pinned = pinned(&config.hands_data)?;
    let named = config.ticket_file.as_deref().map(ticket).transpose()?.map(|ticket| ticket.fleet);
    match (pinned, named) {
        (Some(pinned), Some(named)) if pinned != named => {
            Err(anyhow!("the ticket is of fleet {named}, and the hands are pinned to {pinned}"))
                .hint("a node that changes its fleet starts anew: move the folder of the hands aside")
                .code(Code::Config)
        }
        (Some(fleet), _) | (None, Some(fleet)) => Ok(fleet),
        (None, None) => Err(anyhow!("the hands have no ticket: they do not know which fleet is theirs"))
            .hint("get one from an admin, `flt admin invite`, then: flt agent hands --ticket-file FILE")
            .code(Code::Config),
    }
}

/// The fleet that the hands of this folder are pinned to, after their first start.
pub(super) fn pinned(data: &Path) -> anyhow::Result<Option<FleetId>> {
    let read = || match fs::read_to_string(data.join(FLEET_FILE)) {
        Ok(text) => Ok(Some(text.trim().parse::<FleetId>()?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(anyhow::Error::from(error)),
    };
    read().context("cannot read which fleet the hands are pinned to")
}

fn ticket(path: &Path) -> anyhow::Result<Ticket> {
    ours(path)?;
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the ticket {}", path.display()));
    let text = text.code(Code::Config)?;
    text.parse::<Ticket>().with_context(|| format!("cannot use the ticket in {}", path.display())).code(Code::Config)
}

/// What decides whom the hands obey must be nobody else's to write.
pub(super) fn ours(path: &Path) -> anyhow::Result<()> {
    let found = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display())).code(Code::Config)?;
    let me = rustix::process::geteuid().as_raw();
    let check = || {
        ensure!(found.uid() == me || found.uid() == 0, "{} belongs to another user", path.display());
        ensure!(found.mode() & 0o022 == 0, "{} can be written by others", path.display());
        Ok(())
    };
    check().hint("the hands believe only what root alone can write: chown root, chmod go-w").code(Code::Config)
}

/// The number of a user and of its group.
pub(super) fn account(name: &str, passwd: &Path) -> anyhow::Result<(u32, u32)> {
    let text = fs::read_to_string(passwd).with_context(|| format!("cannot read {}", passwd.display()))?;
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (user, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
        (user == name || uid == name).then(|| Some((uid.parse().ok()?, gid.parse().ok()?)))?
    });
    // A number needs no name.
    let number = || name.parse().ok().map(|number| (number, number));
    found.or_else(number).ok_or_else(|| anyhow!("this machine has no user `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "root:x:0:0:root:/root:/bin/sh\nflotilla:x:990:991::/:/bin/false\nbad\n").unwrap();
        let of = |name| account(name, file.path()).ok();
        assert_eq!((of("flotilla"), of("990"), of("root")), (Some((990, 991)), Some((990, 991)), Some((0, 0))));
        assert_eq!((of("nobody"), of("4711"), of("bad")), (None, Some((4711, 4711)), None));
    }

    #[test]
    fn what_others_can_write_is_not_believed() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(ours(file.path()).is_ok());
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o666)).unwrap();
        assert!(ours(file.path()).is_err());
    }
}
