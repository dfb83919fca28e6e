//! PostgreSQL's own programs, run under the hold and the account, and what they say.

use std::time::Duration;

use protocols::Name;
use scores::DeviceError;
use scores::workload::{HookEnd, Program};

use super::config::{self, Upstream};
use super::instance::Instance;
use super::timeline::{HISTORY_BYTES_MAX, History, Lsn, Timeline};

/// What `pg_control` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Control {
    /// The cluster's own number.
    pub system: u64,
    /// How it was last left: `shut down`, `in production`, …
    pub state: String,
    /// Where its last checkpoint is.
    pub checkpoint: Lsn,
    /// The newest timeline that is mentioned in it.
    pub timeline: Timeline,
    /// What a standby must have at least of the settings that [`AT_LEAST`] names.
    pub least: Vec<(&'static str, u32)>,
}

/// Who another PostgreSQL says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub system: u64,
    pub timeline: Timeline,
}

impl Instance {
    /// Runs one of PostgreSQL's programs; it must succeed.
    pub(super) async fn tool(
        &self,
        doing: &str,
        name: &str,
        args: &[&str],
        within: Duration,
    ) -> Result<String, DeviceError> {
        let program = self.setup().program(name);
        let mut command = vec![program];
        command.extend(args.iter().map(|&arg| arg.to_owned()));
        self.command(doing, command, within).await
    }

    /// Runs lines of a shell with these arguments; they must succeed.
    pub(super) async fn shell(
        &self,
        doing: &str,
        script: &str,
        args: &[&str],
        within: Duration,
    ) -> Result<String, DeviceError> {
        let mut command: Vec<String> = ["/bin/sh", "-euc", script, "sh"].map(Into::into).into();
        command.extend(args.iter().map(|&arg| arg.to_owned()));
        self.command(doing, command, within).await
    }

    async fn command(&self, doing: &str, command: Vec<String>, within: Duration) -> Result<String, DeviceError> {
        let program = Program {
            command,
            environment: [("LC_ALL".to_owned(), "C".to_owned()), ("PGCONNECT_TIMEOUT".into(), "5".into())].into(),
            folder: Some("/".into()),
            user: Some(self.account().name.clone()),
        };
        let end: HookEnd = self.hold().hook(&program, within).await?;
        if end.success() {
            return Ok(end.output);
        }
        let why = match end.status {
            Some(status) => format!("it ended with {status}: {}", last_lines(&end.output)),
            None => format!("it did not end within {} s", within.as_secs()),
        };
        Err(DeviceError::transient(doing).because(why))
    }

    /// Reads `pg_control`.
    pub(super) async fn control(&self) -> Result<Control, DeviceError> {
        let doing = "read pg_control";
        let data = self.layout().data().to_string_lossy().into_owned();
        let script = "\"$1\" -D \"$2\" | grep -E 'system identifier|cluster state|checkpoint location|TimeLineID|timeline|^max_'";
        let program = self.setup().program("pg_controldata");
        let text = self.shell(doing, script, &[&program, &data], BRIEF).await?;
        let bad = |what: &str| DeviceError::permanent(doing).because(format!("it does not tell {what}"));
        let find = |what: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(what)?.trim_start().strip_prefix(':'));
            line.map(str::trim).ok_or_else(|| bad(what))
        };
        let number = |what: &str| find(what)?.parse::<u32>().map_err(|_| bad(what));
        let timeline = number("Latest checkpoint's TimeLineID")?.max(number("Min recovery ending loc's timeline")?);
        Ok(Control {
            system: find("Database system identifier")?.parse().map_err(|_| bad("its number"))?,
            state: find("Database cluster state")?.to_owned(),
            checkpoint: find("Latest checkpoint location")?.parse().map_err(|_| bad("its checkpoint"))?,
            timeline: Timeline(timeline),
            least: AT_LEAST
                .iter()
                .map(|(name, written)| Ok((*name, number(&format!("{written} setting"))?)))
                .collect::<Result<_, DeviceError>>()?,
        })
    }

    /// Asks another node's PostgreSQL who it is.
    pub(super) async fn identify(&self, node: &Name) -> Result<Identity, DeviceError> {
        let doing = format!("ask `{node}` which cluster it is");
        let conninfo = config::conninfo(&self.setup(), node, "")?;
        let args = ["-XAtqw", "-d", &format!("{conninfo} replication=true"), "-c", "IDENTIFY_SYSTEM"];
        let text = self.tool(&doing, "psql", &args, BRIEF).await?;
        let mut fields = text.lines().last().unwrap_or_default().trim().split('|');
        let system = fields.next().and_then(|text| text.parse().ok());
        let timeline = fields.next().and_then(|text| text.parse().ok());
        match (system, timeline) {
            (Some(system), Some(timeline)) => Ok(Identity { system, timeline: Timeline(timeline) }),
            _ => Err(DeviceError::transient(doing).because(format!("it answered `{}`", last_lines(&text)))),
        }
    }

    /// Asks the primary of an epoch for the history of its timeline; gives it with its text.
    pub(super) async fn fetch_history(&self, from: &Upstream, of: Timeline) -> Result<(History, String), DeviceError> {
        if of == Timeline::FIRST {
            return Ok((History::first(), String::new()));
        }
        let doing = format!("ask `{}` for the history of timeline {of}", from.node);
        let conninfo = config::conninfo(&self.setup(), &from.node, "")?;
        let file = self.layout().scratch().join("history");
        // Not from the output: that is bounded to less than a long history has.
        let args = [
            "-XAtqw",
            "-d",
            &format!("{conninfo} replication=true"),
            "-o",
            &file.to_string_lossy(),
            "-c",
            &format!("TIMELINE_HISTORY {of}"),
        ];
        self.tool(&doing, "psql", &args, BRIEF).await?;
        let text = read_bounded(&file, HISTORY_BYTES_MAX).map_err(|error| DeviceError::io(&*doing, error))?;
        let content = text.split_once('|').map(|(_, content)| content).unwrap_or_default();
        let history = History::parse(of, content).map_err(|error| DeviceError::transient(&*doing).because(error))?;
        Ok((history, content.trim_end().to_owned() + "\n"))
    }

    /// The history of a timeline that this node has.
    pub(super) fn local_history(&self, of: Timeline) -> Result<History, DeviceError> {
        if of == Timeline::FIRST {
            return Ok(History::first());
        }
        let file = self.layout().data().join("pg_wal").join(of.file());
        let doing = format!("read {}", file.display());
        let text = read_bounded(&file, HISTORY_BYTES_MAX).map_err(|error| DeviceError::io(&*doing, error))?;
        History::parse(of, &text).map_err(|error| DeviceError::permanent(doing).because(error))
    }

    /// Puts history files into the cluster's log folder, those that are not there yet.
    pub(super) async fn install_histories(&self, files: &[(Timeline, String)]) -> Result<(), DeviceError> {
        if files.is_empty() {
            return Ok(());
        }
        let staged = self.layout().conf().join("histories");
        let doing = "write timeline histories";
        let stage = || {
            match std::fs::remove_dir_all(&staged) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            super::setup::make_folder(&staged, 0o750)?;
            self.account().give(&staged, super::setup::To::Group)
        };
        stage().map_err(|error| DeviceError::io(doing, error))?;
        for (timeline, text) in files {
            self.account().write(&staged.join(timeline.file()), text.as_bytes())?;
        }
        // By the account: nothing is written into its folders with more rights than it has.
        let script = "umask 077; cd \"$1\"; for file in *.history; do [ -e \"$2/$file\" ] || { cp -- \"$file\" \
                      \"$2/flotilla.new\"; sync -- \"$2/flotilla.new\"; mv -- \"$2/flotilla.new\" \"$2/$file\"; }; done; \
                      sync -- \"$2\"";
        let wal = self.layout().data().join("pg_wal");
        self.shell(doing, script, &[&staged.to_string_lossy(), &wal.to_string_lossy()], MEDIUM).await.map(drop)
    }
}

/// Reads a file that the account wrote: a plain one, and no longer than it may be.
fn read_bounded(path: &std::path::Path, most: usize) -> std::io::Result<String> {
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "it is no plain file"));
    }
    let mut text = String::new();
    file.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_string(&mut text)?;
    Ok(text)
}

/// The end of what a program said, on one line.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.get(lines.len().saturating_sub(SAID_LINES)..).unwrap_or_default().join("; ")
}

/// Settings of which a standby must have as much as the primary had whose log it replays, and what `pg_control` calls them.
pub(super) const AT_LEAST: &[(&str, &str)] = &[
    ("max_connections", "max_connections"),
    ("max_worker_processes", "max_worker_processes"),
    ("max_wal_senders", "max_wal_senders"),
    ("max_prepared_transactions", "max_prepared_xacts"),
    ("max_locks_per_transaction", "max_locks_per_xact"),
];
/// What a question to a program or a node may take.
pub(super) const BRIEF: Duration = Duration::from_secs(15);
/// What writing some files may take.
pub(super) const MEDIUM: Duration = Duration::from_secs(60);
/// How much of what a program said is told, in lines.
const SAID_LINES: usize = 4;
