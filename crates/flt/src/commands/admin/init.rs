//! `flt admin init`: founds a fleet on this machine.

use std::path::{Path, PathBuf};

use admin::found::{self, Founded};
use anyhow::{Context as _, anyhow};
use clap::Args;
use protocols::entry::Founder;
use protocols::key::{KeyFormat, parse_public};
use protocols::{Digest, Name, NodeId, SecretKey};
use serde::Serialize;

use super::context::{Admin, BUNDLE_FILE, usage};
use super::keys::own_name;
use super::recovery::RecoveryKeys;
use crate::compose;
use crate::output::{Style, View};
use crate::report::{Advise as _, Code};

/// `flt admin init`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin init --name acme\n  flt admin init --name acme --encrypt --recovery-key safe=KEY --recovery-key bank=KEY\n  flt admin init --name acme --coordinator \"$(ssh hub cat /etc/ssh/ssh_host_ed25519_key.pub)\""
)]
pub(crate) struct InitArgs {
    /// What people call the fleet
    #[arg(long)]
    name: Name,
    /// What people call the admin; your user name if nothing is said
    #[arg(long, value_name = "NAME")]
    admin: Option<Name>,
    /// Name a coordinator by its public key; without any, a key is made for one
    #[arg(long, value_name = "KEY")]
    coordinator: Vec<String>,
    /// Put the coordinator's files into this folder
    #[arg(long, value_name = "DIR", default_value = "coordinator")]
    dir: PathBuf,
    /// Encrypt the admin's new key with a passphrase
    #[arg(long)]
    encrypt: bool,
    #[command(flatten)]
    recovery: RecoveryKeys,
    /// Only show what would be made
    #[arg(long)]
    dry_run: bool,
}

/// A founded fleet.
#[derive(Debug, Serialize)]
struct InitView {
    fleet: String,
    fleet_id: String,
    admin: String,
    admin_id: String,
    key_file: PathBuf,
    coordinators: Vec<String>,
    coordinator_folder: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<protocols::entry::Recovery>,
    dry_run: bool,
}

impl View for InitView {
    const SCHEMA: &'static str = "flt.init/1";

    fn text(&self, _style: &Style) -> String {
        let verb = if self.dry_run { "Would found" } else { "Founded" };
        let recovery = self.recovery.as_ref().map(|recovery| {
            let names: Vec<&str> = recovery.keys.iter().map(|key| key.name.as_str()).collect();
            format!("  recovery     {} of {}\n", recovery.threshold, names.join(", "))
        });
        format!(
            "{verb} the fleet {}\n  fleet id     {}\n  admin        {} ({})\n  key          {}\n  coordinator  {}\n{}",
            self.fleet,
            self.fleet_id,
            self.admin,
            self.admin_id,
            self.key_file.display(),
            self.coordinator_folder.display(),
            recovery.unwrap_or_default(),
        )
    }
}

pub(super) fn run(args: InitArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    refuse_second(admin)?;
    let given = args.coordinator.iter().map(|text| {
        parse_public(text)
            .with_context(|| format!("`{}` is not a coordinator's public key", protocols::outcome::shorten(text, 80)))
    });
    let given: Vec<NodeId> = given
        .collect::<anyhow::Result<_>>()
        .hint("print it on the coordinator: flt key show FILE")
        .code(Code::Usage)?;
    let recovery = args.recovery.recovery()?;
    let (key, key_is_new) = admin_key(admin)?;
    if args.encrypt && !key_is_new {
        return Err(usage(
            format!("--encrypt is for a new key, and {} exists", admin.key_file().display()),
            "encrypt it yourself: flt key convert --encrypt; then name it: --key-file FILE",
        ));
    }
    let passphrase = if args.encrypt && !args.dry_run { Some(admin.new_passphrase()?) } else { None };
    let own = if given.is_empty() { Some(coordinator_key(&args.dir)?) } else { None };
    let ids = own.iter().map(|(key, _)| key.id()).chain(given);
    let founder = |(i, key): (usize, NodeId)| Ok(Founder { key, name: format!("coordinator-{}", i + 1).parse()? });
    let coordinators: Vec<Founder> = ids
        .enumerate()
        .map(founder)
        .collect::<Result<_, protocols::ids::BadId>>()
        .context("cannot name a coordinator")?;
    let who = own_name(args.admin, admin)?;
    let nonce = Digest::from_bytes(*SecretKey::generate().id().as_bytes());
    let founded =
        found::found_recoverable(args.name, who.clone(), &key, coordinators, recovery.clone(), nonce, compose::now())
            .context("cannot found the fleet")?;
    let dir = std::path::absolute(&args.dir).unwrap_or_else(|_| args.dir.clone());
    if !args.dry_run {
        let new = key_is_new.then_some(passphrase.as_ref().map(|passphrase| passphrase.as_str()));
        write(admin, &founded, &key, new, own.as_ref(), &dir)?;
    }
    admin.out.view(&InitView {
        fleet: founded.state.name().to_string(),
        fleet_id: founded.fleet.to_string(),
        admin: who.to_string(),
        admin_id: key.id().to_string(),
        key_file: admin.key_file(),
        coordinators: founded.state.members().keys().map(ToString::to_string).collect(),
        coordinator_folder: dir.clone(),
        recovery,
        dry_run: args.dry_run,
    })?;
    if !args.dry_run {
        let config = args.dir.join(CONFIG_FILE);
        if own.is_none() {
            admin.out.hint(format!(
                "put the coordinator's own key beside it as {KEY_FILE}, or set key-file in {}",
                config.display()
            ));
        }
        admin.out.hint(format!(
            "start the coordinator here, or copy the folder to its machine: flt coordinator run --config {}",
            config.display()
        ));
        admin.out.hint("then, if it runs elsewhere: flt admin use TICKET, with the ticket that it prints");
        if founded.state.recovery().is_none() {
            admin.out.hint("name keys, kept offline, for when this one is lost: flt admin recovery set --help");
        }
        admin.out.hint("let a node join: flt admin invite --label role=edge");
    }
    Ok(Code::Done)
}

fn refuse_second(admin: &Admin<'_>) -> anyhow::Result<()> {
    let dir = admin.workspace.dir();
    if !dir.join(admin::workspace::LEDGER_FOLDER).exists() {
        return Ok(());
    }
    let ledger = admin.workspace.ledger(None).context("cannot look whether there is a fleet already")?;
    match ledger.state() {
        None => Ok(()),
        Some(state) => Err(usage(
            format!("{} holds the fleet `{}` already", dir.display(), state.name()),
            "use it: flt admin status; or give the new fleet a folder of its own: --data DIR",
        )),
    }
}

/// The admin's key, and whether it is still to be written.
fn admin_key(admin: &Admin<'_>) -> anyhow::Result<(SecretKey, bool)> {
    let path = admin.key_file();
    if path != admin.workspace.key_file() || path.exists() {
        Ok((admin.key()?, false))
    } else {
        Ok((SecretKey::generate(), true))
    }
}

/// The coordinator's key, and whether it is still to be written. One that an interrupted run left is used.
fn coordinator_key(dir: &Path) -> anyhow::Result<(SecretKey, bool)> {
    if dir.join(GENESIS_FILE).exists() {
        return Err(usage(
            format!("{} holds a coordinator's files already", dir.display()),
            "choose another folder: --dir DIR",
        ));
    }
    let path = dir.join(KEY_FILE);
    if !path.exists() {
        return Ok((SecretKey::generate(), true));
    }
    let key = SecretKey::read(&path, || None).with_context(|| format!("cannot use the key {}", path.display()))?;
    Ok((key, false))
}

/// Writes everything, the copy of the ledger last: only then there is a fleet, and a run that was cut short can be repeated.
fn write(
    admin: &Admin<'_>,
    founded: &Founded,
    key: &SecretKey,
    // For a new key, the passphrase it is to have, if any.
    new: Option<Option<&str>>,
    coordinator: Option<&(SecretKey, bool)>,
    dir: &Path,
) -> anyhow::Result<()> {
    admin.workspace.create().context("cannot make the admin's data folder")?;
    let written = match new {
        None => Ok(()),
        Some(None) => key.write_new(&admin.key_file(), KeyFormat::Raw, ""),
        Some(Some(passphrase)) => key.write_new_encrypted(&admin.key_file(), passphrase, ""),
    };
    written.context("cannot write the admin's key")?;
    scores::durable::make_folder(dir)
        .map_err(|e| anyhow!(e))
        .with_context(|| format!("cannot make {}", dir.display()))?;
    if let Some((key, true)) = coordinator {
        key.write_new(&dir.join(KEY_FILE), KeyFormat::Raw, "").context("cannot write the coordinator's key")?;
    }
    let config = format!(
        "# The coordinator of the fleet `{}`. Every setting: flt coordinator run --help\n\
         data = \"data\"\nkey-file = \"{KEY_FILE}\"\ngenesis = \"{GENESIS_FILE}\"\n\
         # listen = [\"0.0.0.0:4433\"]\n# advertise = [\"203.0.113.7:4433\"]\n\
         \n# A relay for nodes that cannot be reached directly:\n# [relay]\n# listen = \"0.0.0.0:4443\"\n",
        founded.state.name()
    );
    if !dir.join(CONFIG_FILE).exists() {
        put(&dir.join(CONFIG_FILE), config.as_bytes())?;
    }
    put(&admin.workspace.dir().join(BUNDLE_FILE), dir.display().to_string().as_bytes())?;
    put(&dir.join(GENESIS_FILE), found::genesis_to_text(&founded.genesis).as_bytes())?;
    admin.workspace.save(founded.fleet, vec![founded.genesis.clone()]).context("cannot write the copy of the ledger")
}

fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    scores::durable::write(path, bytes)
        .map_err(|e| anyhow!(e))
        .with_context(|| format!("cannot write {}", path.display()))
}

const CONFIG_FILE: &str = "coordinator.toml";
const KEY_FILE: &str = "key";
const GENESIS_FILE: &str = "genesis.json";
