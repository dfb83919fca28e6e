//! `flt coordinator backup` and `restore`.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use clap::Args;
use protocols::entry::Head;
use protocols::store::{Ledger, Store, Values};
use protocols::{FleetId, SignedEntry};
use serde::Serialize;

use crate::app::App;
use crate::compose::coordinator::backup::{self as format, Header, Writer};
use crate::compose::coordinator::desk;
use crate::config::{self, CoordinatorConfig};
use crate::output::{Style, View};
use crate::report::{Advise as _, Code};

/// How long the daemon may be silent while it gives a copy.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How many entries are stored at once.
const ENTRIES_AT_ONCE: usize = 512;
/// Name of the database in a data folder.
const DATABASE: &str = "state.redb";
/// Name of the folder that a restored ledger is made in.
const RESTORING: &str = "restoring";

/// `flt coordinator backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Write the backup here, or `-` to write it to stdout
    file: PathBuf,
    /// Add the coordinator's key and its relay's certificate: the file is then a secret
    #[arg(long)]
    with_key: bool,
    /// The coordinator's data folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The coordinator's key
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// `flt coordinator restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup, or a ledger that `flt admin log --export` wrote, or `-` to read it from stdin
    file: PathBuf,
    /// Restore into this data folder, which must have no ledger
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Put the key here, if the backup has one
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Take it only if it is of this fleet
    #[arg(long, value_name = "ID")]
    fleet: Option<FleetId>,
}

/// What was written.
#[derive(Debug, Serialize)]
struct BackupView {
    fleet: FleetId,
    head: u64,
    entries: u64,
    secrets: Vec<String>,
    verb: &'static str,
}

impl View for BackupView {
    const SCHEMA: &'static str = "flt.coordinator-backup/1";

    fn text(&self, _: &Style) -> String {
        let secrets = if self.secrets.is_empty() { String::new() } else { format!(", {}", self.secrets.join(", ")) };
        format!("{} {} entries up to {} of fleet {}{secrets}\n", self.verb, self.entries, self.head, self.fleet)
    }
}

pub(super) fn backup(args: &BackupArgs, app: &App) -> anyhow::Result<Code> {
    let config = folder(args.data.as_deref(), args.key_file.as_deref(), app)?;
    let secrets = if args.with_key { format::secrets(&config.data, &config.key_path())? } else { Default::default() };
    let stdout = args.file.as_os_str() == "-";
    let header = if stdout {
        let out = std::io::stdout().lock();
        write(&config.data, &secrets, BufWriter::new(out))?.0
    } else {
        let dir = args.file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let doing = || format!("cannot write {}", args.file.display());
        // Readable for its owner alone, and there only when it is whole.
        let aside = tempfile::NamedTempFile::new_in(dir).with_context(doing)?;
        let (header, out) = write(&config.data, &secrets, BufWriter::new(aside))?;
        let file = out.into_inner().map_err(|e| anyhow!(e.to_string())).with_context(doing)?;
        file.as_file().sync_all().with_context(doing)?;
        file.persist(&args.file).with_context(doing)?;
        File::open(dir).and_then(|dir| dir.sync_all()).with_context(doing)?;
        header
    };
    let view = BackupView {
        fleet: header.fleet,
        head: header.head.seq,
        entries: header.entries,
        secrets: secrets.into_keys().collect(),
        verb: "saved",
    };
    if stdout {
        app.out.status(view.text(&Style { width: None, color: false }).trim_end());
    } else {
        app.out.view(&view)?;
    }
    if args.with_key {
        app.out.warning("the backup holds the coordinator's key: whoever has it can take the coordinator's place");
    }
    Ok(Code::Done)
}

type Secrets = std::collections::BTreeMap<String, Vec<u8>>;

/// Writes the ledger: given by the daemon if it runs, else read here.
fn write<W: Write>(data: &Path, secrets: &Secrets, out: W) -> anyhow::Result<(Header, W)> {
    if let Ok(stream) = UnixStream::connect(desk::socket(data)) {
        stream.set_read_timeout(Some(SILENCE_MAX)).context("cannot listen to the coordinator")?;
        return from_daemon(stream, secrets, out).context("cannot get the ledger from the coordinator that runs");
    }
    ensure!(data.join(DATABASE).exists(), "there is no coordinator's ledger in {}", data.display());
    let store = Arc::new(Store::open(data)?);
    let ledger = Ledger::open(store, None)?;
    let state = ledger.state().context("the ledger is empty")?;
    let header = desk::header_of(state, crate::compose::now());
    let mut writer = Writer::begin(out, &header)?;
    desk::copy(&mut writer, header.head.seq, |from, count| Ok(ledger.range(from, count, usize::MAX)?))?;
    Ok((header, finish(writer, secrets)?))
}

fn finish<W: Write>(mut writer: Writer<W>, secrets: &Secrets) -> anyhow::Result<W> {
    for (name, data) in secrets {
        writer.secret(name, data)?;
    }
    Ok(writer.end()?)
}

fn from_daemon<W: Write>(stream: UnixStream, secrets: &Secrets, out: W) -> anyhow::Result<(Header, W)> {
    let mut out = Some(out);
    let mut writer: Option<Writer<W>> = None;
    let found = format::read(BufReader::new(stream), |header, entry| {
        if let (Some(to), Some(header)) = (out.take(), header) {
            writer = Some(Writer::begin(to, header)?);
        }
        writer.as_mut().context("the coordinator sent no header")?.entry(&entry)?;
        Ok(())
    })?;
    let header = found.header.context("the coordinator sent no header")?;
    let writer = writer.context("the coordinator sent nothing")?;
    Ok((header, finish(writer, secrets)?))
}

pub(super) fn restore(args: &RestoreArgs, app: &App) -> anyhow::Result<Code> {
    let config = folder(args.data.as_deref(), args.key_file.as_deref(), app)?;
    let data = &config.data;
    if data.join(DATABASE).exists() {
        return Err(anyhow!("there is a ledger in {} already", data.display())).hint(
            "move it aside, or restore into another folder: --data DIR; for what is missing in it: flt coordinator recover",
        );
    }
    crate::run::make_folder(data)?;
    let input: Box<dyn Read> = if args.file.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(File::open(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?)
    };
    let aside = data.join(RESTORING);
    clear(&aside)?;
    let made = fill(&aside, args.fleet, input).context("cannot restore from this file");
    let (found, head, fleet) = match made {
        Ok(made) => made,
        Err(error) => {
            clear(&aside)?;
            return Err(error);
        }
    };
    put_secrets(&config, &found.secrets)?;
    let doing = || format!("cannot put the ledger into {}", data.display());
    std::fs::rename(aside.join(DATABASE), data.join(DATABASE)).with_context(doing)?;
    File::open(data).and_then(|dir| dir.sync_all()).with_context(doing)?;
    clear(&aside)?;
    app.out.view(&BackupView {
        fleet,
        head: head.seq,
        entries: found.entries,
        secrets: found.secrets.keys().cloned().collect(),
        verb: "restored",
    })?;
    if !config.key_path().exists() {
        app.out.warning(format!("there is no key at {}: put the coordinator's there", config.key_path().display()));
    }
    app.out
        .hint("what came after the backup is with the nodes: flt coordinator recover; or start it, and it asks them");
    Ok(Code::Done)
}

/// Verifies everything into a folder of its own.
fn fill(dir: &Path, fleet: Option<FleetId>, input: impl Read) -> anyhow::Result<(format::Read, Head, FleetId)> {
    let store = Arc::new(Store::open(dir)?);
    let mut ledger = Ledger::open(Arc::clone(&store), fleet)?;
    let mut waiting: Vec<SignedEntry> = Vec::new();
    let mut genesis = None;
    let found = format::read(BufReader::new(input), |header, entry| {
        let Some(founded) = &genesis else {
            let named = FleetId::from_bytes(*entry.hash().as_bytes());
            if let Some(header) = header {
                ensure!(header.fleet == named, "the backup says it is of fleet {}, and is of {named}", header.fleet);
            }
            ledger.found(entry.clone(), fleet.unwrap_or(named))?;
            genesis = Some(entry);
            return Ok(());
        };
        let _founded = founded;
        waiting.push(entry);
        if waiting.len() >= ENTRIES_AT_ONCE {
            ledger.append(std::mem::take(&mut waiting))?;
        }
        Ok(())
    })?;
    ledger.append(waiting)?;
    let state = Arc::clone(ledger.state().context("the ledger is empty")?);
    let head = state.head();
    ensure!(head.seq + 1 == found.entries, "the backup's entries are not one after the other");
    if let Some(header) = &found.header {
        ensure!(header.head == head, "the backup says it ends with entry {}, and ends with {head}", header.head);
    }
    coordinator::mark_restored(&Values::new(store))?;
    let genesis = genesis.context("the ledger is empty")?;
    let data = dir.parent().context("the folder has no parent")?;
    crate::run::save_genesis(data, &genesis)?;
    Ok((found, head, state.fleet()))
}

fn put_secrets(config: &CoordinatorConfig, secrets: &Secrets) -> anyhow::Result<()> {
    for (name, bytes) in secrets {
        let path = if name == "key" { Some(config.key_path()) } else { format::place_of(&config.data, name) };
        let path = path.with_context(|| format!("the backup names a file `{name}` that no coordinator has"))?;
        let doing = || format!("cannot write {}", path.display());
        match std::fs::read(&path) {
            Ok(there) if there == *bytes => continue,
            Ok(_) => {
                return Err(anyhow!("{} is there already, and is another one than in the backup", path.display()));
            }
            Err(_) => {}
        }
        if let Some(dir) = path.parent() {
            crate::run::make_folder(dir)?;
        }
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).with_context(doing)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).with_context(doing)?;
    }
    Ok(())
}

fn clear(dir: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot clear {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn folder(data: Option<&Path>, key: Option<&Path>, app: &App) -> anyhow::Result<CoordinatorConfig> {
    let given = [super::init::flag("--data", "data", data), super::init::flag("--key-file", "key-file", key)];
    Ok(config::typed(app.config_file(), given.into_iter().flatten().collect(), &app.env)?)
}

/// How it is used.
pub(super) const BACKUP_EXAMPLES: &str = "\
The backup is the ledger up to one entry, in the published format with a line before and after, and shows by itself
whether it is whole. What agents report and artifacts are not in it: they come back from where they are.

Examples:
  flt coordinator backup --config coordinator.toml backup.jsonl
  flt coordinator backup --data DIR --with-key - | age -r RECIPIENT > backup.age";

/// How it is used.
pub(super) const RESTORE_EXAMPLES: &str = "\
Everything is verified before anything is put in place. A coordinator that was restored asks its fleet for newer
entries before it appends any.

Examples:
  flt coordinator restore backup.jsonl --data DIR --fleet ID
  age -d backup.age | flt coordinator restore - --data DIR";
