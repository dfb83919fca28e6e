//! `flt admin secret`, and where the values of secrets come from: a file, stdin, or a prompt; never a flag or a variable.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use admin::author::Intent;
use admin::changes::Action;
use admin::secrets::{Named, SealError, Sealer, SecretRow, SecretState, SecretUse};
use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use protocols::entry::Publish;
use protocols::secret::SECRET_BYTES_MAX;
use protocols::{Body, DeclarationName, FleetState, Name, SecretKey, SecretValue};
use serde::Serialize;
use zeroize::Zeroizing;

use super::apply::{Published, WaitArgs, settle};
use super::context::{Admin, Online, usage};
use super::{Nothing, With};
use crate::compose;
use crate::config::nearest;
use crate::output::{Output, Style, Table, View};
use crate::report::{Advise as _, Code};

/// Secrets.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// List the secrets that are published, and those that must be sealed again
    List(With<Nothing>),
    /// Seal published secrets again, to the nodes and keys that shall have them now
    Reseal(With<ResealArgs>),
    /// Publish another value for a secret, wherever it is declared
    Set(With<SetArgs>),
}

/// Values for secrets.
#[derive(Debug, Clone, Args)]
pub(crate) struct ValueArgs {
    /// Take a secret's value from a file, byte for byte, or from stdin with `-`; once for each secret
    #[arg(long, value_name = "NAME=PATH")]
    secret_file: Vec<SecretFile>,
}

/// Which secret is in which file.
#[derive(Debug, Clone)]
pub(crate) struct SecretFile {
    name: Name,
    path: PathBuf,
}

/// `flt admin secret reseal`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin secret reseal\n  flt admin secret reseal db-password\n\nNodes that joined, or whose key changed, can open a secret once it is sealed again. Its value is read with this admin's key, which is possible for the admin who published it; others give it with --secret-file. After the key of that admin was lost, a recovery key reads it: --open-with."
)]
pub(crate) struct ResealArgs {
    /// Only this secret
    name: Option<Name>,
    #[command(flatten)]
    values: ValueArgs,
    /// Read what is published with this key too: a former key of yours, or a recovery key
    #[arg(long, value_name = "KEYFILE")]
    open_with: Vec<PathBuf>,
    #[command(flatten)]
    wait: WaitArgs,
    /// Only show what would be sealed again
    #[arg(long)]
    dry_run: bool,
}

/// `flt admin secret set`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin secret set db-password\n  flt admin secret set db-password --file /dev/shm/password"
)]
pub(crate) struct SetArgs {
    /// The secret
    name: Name,
    /// Take the value from this file, byte for byte, or from stdin with `-`, instead of asking for it
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    #[command(flatten)]
    wait: WaitArgs,
    /// Only show what would be published
    #[arg(long)]
    dry_run: bool,
}

impl FromStr for SecretFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = text.split_once('=').ok_or("it should be NAME=PATH, and the value is in the file")?;
        if path.is_empty() {
            return Err("it names no file after the `=`".into());
        }
        let name = name.parse().map_err(|error: protocols::ids::BadId| error.to_string())?;
        Ok(Self { name, path: path.into() })
    }
}

impl ValueArgs {
    /// Gives what the flags name. `named` are the secrets that there are a use for.
    pub(super) fn give(
        &self,
        sealer: &mut Sealer<'_>,
        named: &[&Name],
        stdin_taken: bool,
        out: &Output,
    ) -> anyhow::Result<()> {
        let mut stdin_taken = stdin_taken;
        for (i, SecretFile { name, path }) in self.secret_file.iter().enumerate() {
            if self.secret_file[..i].iter().any(|other| other.name == *name) {
                return Err(usage(format!("--secret-file names `{name}` twice"), "give each secret once"));
            }
            if !named.contains(&name) {
                return Err(unnamed(name, named));
            }
            if path.as_os_str() == "-" && std::mem::replace(&mut stdin_taken, true) {
                return Err(usage("stdin can hold one thing only", "put the others into files"));
            }
            sealer.give(name.clone(), read(name, path, out)?);
        }
        Ok(())
    }
}

fn unnamed(name: &Name, named: &[&Name]) -> anyhow::Error {
    let known = named.iter().map(|name| name.as_str());
    let hint = match nearest(name.as_str(), known) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if named.is_empty() => r#"a file of `files/1` has one with `secret = "NAME"`"#.to_owned(),
        None => format!("there are {}", named.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")),
    };
    usage(format!("no secret is named `{name}` there"), hint)
}

fn read(name: &Name, path: &Path, out: &Output) -> anyhow::Result<SecretValue> {
    let most = SECRET_BYTES_MAX as u64 + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| {
            use std::os::unix::fs::PermissionsExt as _;
            let meta = file.metadata()?;
            let mode = meta.permissions().mode() & 0o777;
            if meta.is_file() && mode & 0o004 != 0 {
                out.warning(format!("everybody on this machine can read {} (mode {mode:04o})", path.display()));
            }
            file.take(most).read_to_end(&mut bytes)
        })
    };
    read.with_context(|| format!("cannot read the secret `{name}` from {}", path.display()))?;
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(anyhow!("the secret `{name}` in {} is longer than {SECRET_BYTES_MAX} bytes", path.display()));
    }
    Ok(SecretValue::new(bytes))
}

/// Asks for secrets that are not known, twice each and without showing them.
pub(super) fn ask_for(unknown: Vec<Name>, sealer: &mut Sealer<'_>, out: &Output) -> anyhow::Result<()> {
    for name in unknown {
        let Some(value) = ask(&name, out)? else {
            let error = SealError::Unknown { name, by: None };
            let hint = error.hint();
            return Err(error).hint(hint).code(Code::Usage);
        };
        sealer.give(name, value);
    }
    Ok(())
}

/// Nothing if nobody can be asked.
fn ask(name: &Name, out: &Output) -> anyhow::Result<Option<SecretValue>> {
    let Some(first) = out.passphrase(&format!("Value of the secret `{name}`: ")) else { return Ok(None) };
    let Some(second) = out.passphrase("The same again: ") else { return Ok(None) };
    if *first != *second {
        return Err(anyhow!("these were two different values; nothing was changed"));
    }
    if first.is_empty() {
        let error = anyhow!("the secret `{name}` is empty; nothing was changed");
        return Err(error).hint(format!("if you mean it: --secret-file {name}=/dev/null"));
    }
    if first.len() > SECRET_BYTES_MAX {
        return Err(anyhow!("the secret `{name}` is longer than {SECRET_BYTES_MAX} bytes"));
    }
    Ok(Some(SecretValue::from(first.as_bytes().to_vec())))
}

/// The sealer of an admin who is online.
pub(super) fn sealer<'s>(
    state: &'s FleetState,
    online: &'s Online<'_>,
    catalogue: &'s scores::Catalogue,
) -> Sealer<'s> {
    compose::cores::none();
    let author = online.session.author();
    Sealer::new(state, author.id(), Some(author.key()), catalogue)
}

/// The names of secrets, each once.
pub(super) fn names(named: &[Named]) -> Vec<&Name> {
    let mut names: Vec<&Name> = named.iter().map(|named| &named.secret).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[derive(Debug, Serialize)]
struct Secrets {
    secrets: Vec<SecretRow>,
}

impl View for Secrets {
    const SCHEMA: &'static str = "flt.secrets/1";

    fn text(&self, style: &Style) -> String {
        let mut table = Table::new(&["NAME", "DECLARATION", "STATE", "KEYS", "READABLE", "BY", "MISSING"]);
        for row in &self.secrets {
            let missing: Vec<&str> = row.missing.iter().take(NAMES_MAX).map(Name::as_str).collect();
            let more = row.missing.len().saturating_sub(NAMES_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            table.row([
                row.name.to_string(),
                row.declaration.to_string(),
                row.state.to_string(),
                row.recipients.to_string(),
                if row.readable == Some(true) { "yes" } else { "no" }.to_owned(),
                row.author.clone(),
                format!("{}{more}", missing.join(",")),
            ]);
        }
        table.text(style)
    }
}

/// What was sealed again, or would be.
#[derive(Debug, Serialize)]
struct Sealed {
    declarations: Vec<SealedDeclaration>,
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct SealedDeclaration {
    name: DeclarationName,
    secrets: Vec<SecretUse>,
}

impl View for Sealed {
    const SCHEMA: &'static str = "flt.sealed/1";

    fn text(&self, _style: &Style) -> String {
        let lines = self.declarations.iter().flat_map(|one| one.secrets.iter().map(move |used| (one, used)));
        lines.map(|(one, used)| format!("{}: {used}\n", one.name)).collect()
    }
}

pub(super) async fn list(admin: &Admin<'_>) -> anyhow::Result<Code> {
    let online = admin.online().await?;
    let rows =
        online.state().map(|state| SecretRow::all(&state, &scores::catalogue(), Some(online.session.author().key())));
    online.close().await;
    let secrets = rows?;
    let stale = secrets.iter().any(|row| row.state == SecretState::Missing);
    admin.out.view(&Secrets { secrets })?;
    if stale {
        admin.out.hint("seal them again: flt admin secret reseal");
    }
    Ok(Code::Done)
}

pub(super) async fn reseal(args: ResealArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let mut online = admin.online().await?;
    let result = reseal_online(&args, &mut online).await;
    online.close().await;
    result
}

async fn reseal_online(args: &ResealArgs, online: &mut Online<'_>) -> anyhow::Result<Code> {
    let (state, catalogue) = (online.state()?, scores::catalogue());
    let others = args.open_with.iter().map(|path| open(path, online.admin.out)).collect::<anyhow::Result<Vec<_>>>()?;
    let sealed = {
        let named = published(&state, &catalogue, args.name.as_ref())?;
        let mut sealer = sealer(&state, online, &catalogue);
        others.iter().for_each(|key| sealer.open_with(key));
        sealer.insist();
        args.values.give(&mut sealer, &names(&named), false, online.admin.out)?;
        ask_for(sealer.unknown(&named), &mut sealer, online.admin.out)?;
        seal(&state, &mut sealer, args.name.as_ref())?
    };
    publish(sealed, &state, &args.wait, args.dry_run, online).await
}

pub(super) async fn set(args: SetArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let mut online = admin.online().await?;
    let result = set_online(&args, &mut online).await;
    online.close().await;
    result
}

async fn set_online(args: &SetArgs, online: &mut Online<'_>) -> anyhow::Result<Code> {
    let (state, catalogue) = (online.state()?, scores::catalogue());
    published(&state, &catalogue, Some(&args.name))?;
    compose::cores::none();
    let out = online.admin.out;
    let value = match &args.file {
        Some(path) => read(&args.name, path, out)?,
        None => ask(&args.name, out)?.ok_or_else(|| {
            usage(
                "there is no terminal to ask for the value on",
                "give it in a file, or on stdin: --file PATH or --file -",
            )
        })?,
    };
    let sealed = {
        let mut sealer = sealer(&state, online, &catalogue);
        sealer.give(args.name.clone(), value);
        seal(&state, &mut sealer, Some(&args.name))?
    };
    publish(sealed, &state, &args.wait, args.dry_run, online).await
}

/// Reads another key.
fn open(path: &Path, out: &Output) -> anyhow::Result<SecretKey> {
    let ask = || out.passphrase(&format!("Passphrase of {}: ", path.display())).map(|typed| typed.as_str().to_owned());
    SecretKey::read(path, ask).with_context(|| format!("cannot use the key {}", path.display()))
}

/// The published secrets, or those of one name, which must be there then.
fn published(state: &FleetState, catalogue: &scores::Catalogue, only: Option<&Name>) -> anyhow::Result<Vec<Named>> {
    let all: Vec<Named> = SecretRow::all(state, catalogue, None)
        .into_iter()
        .filter_map(|row| {
            let on = state.declarations().get(&row.declaration)?.on.clone();
            Some(Named { declaration: row.declaration, on, secret: row.name })
        })
        .collect();
    match only {
        Some(name) if !all.iter().any(|named| named.secret == *name) => Err(unnamed(name, &names(&all))),
        Some(name) => Ok(all.into_iter().filter(|named| named.secret == *name).collect()),
        None => Ok(all),
    }
}

fn seal(
    state: &FleetState,
    sealer: &mut Sealer<'_>,
    only: Option<&Name>,
) -> anyhow::Result<Vec<(Publish, Vec<SecretUse>)>> {
    let mut sealed = Vec::new();
    for declaration in state.declarations().values() {
        let again = sealer.reseal(declaration, only);
        let again = again.map_err(|error| {
            let hint = error.hint();
            match Err::<(), _>(error).hint(hint) {
                Err(error) => error.context(format!("cannot seal the secrets of `{}` again", declaration.name)),
                Ok(()) => anyhow!("cannot seal the secrets of `{}` again", declaration.name),
            }
        })?;
        sealed.extend(again);
    }
    Ok(sealed)
}

async fn publish(
    sealed: Vec<(Publish, Vec<SecretUse>)>,
    planned: &FleetState,
    wait: &WaitArgs,
    dry_run: bool,
    online: &mut Online<'_>,
) -> anyhow::Result<Code> {
    let out = online.admin.out;
    if sealed.is_empty() {
        out.status("Every secret is sealed as it should be.");
    }
    if dry_run {
        let declarations =
            sealed.into_iter().map(|(publish, secrets)| SealedDeclaration { name: publish.name, secrets }).collect();
        out.view(&Sealed { declarations, dry_run })?;
        return Ok(Code::Done);
    }
    let mut planned = planned.clone();
    let (mut names, mut entries) = (Vec::new(), Vec::new());
    for (publish, secrets) in sealed {
        let name = publish.name.clone();
        for used in &secrets {
            out.status(format!("{name}: {used}"));
        }
        let submitted = online.submit(&planned, &Intent::Enter(Body::Publish(publish))).await;
        let submitted = submitted.with_context(|| format!("cannot publish `{name}`"))?;
        entries.push(Published { name: name.clone(), action: Action::Update, entry: submitted.entry.seq() });
        names.push(name);
        planned = (*online.state()?).clone();
    }
    settle(wait, names, entries, online).await
}

/// The most node names in one line.
const NAMES_MAX: usize = 4;
