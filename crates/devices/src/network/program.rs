//! Programs that set the network: bounded in time and in what they may say.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use scores::DeviceError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

/// A program, and what has to run it.
#[derive(Debug, Clone)]
pub(super) struct Program {
    path: PathBuf,
    /// Words before its own, the first of which is a program itself.
    before: Vec<String>,
}

impl Program {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, before: Vec::new() }
    }

    pub(super) fn run_by(self, before: &[String]) -> Self {
        Self { before: before.to_vec(), ..self }
    }

    fn command(&self) -> Command {
        match self.before.split_first() {
            None => Command::new(&self.path),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.path);
                command
            }
        }
    }
}

/// Runs a program with this input, and gives what it prints.
pub(super) async fn run(program: &Program, args: &[&str], input: &str) -> Result<String, DeviceError> {
    heard(program, args, input).await.map(|(out, _)| out)
}

/// The same, with what it complained of although it ended well.
pub(super) async fn heard(program: &Program, args: &[&str], input: &str) -> Result<(String, String), DeviceError> {
    let called = program.path.file_name().map_or_else(Default::default, |name| name.to_string_lossy().into_owned());
    let doing = format!("run {called} {}", args.join(" "));
    let mut command = program.command();
    command.args(args).env("LC_ALL", "C").env("SYSTEMD_COLORS", "0").kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let work = async {
        let mut child = command.spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // One that does not read its input says why by itself.
                drop(stdin.write_all(input.as_bytes()).await);
            }
        };
        let (mut out, mut err) = (String::new(), String::new());
        let read_out = async {
            match stdout {
                Some(stdout) => stdout.take(OUTPUT_BYTES_MAX).read_to_string(&mut out).await.map(drop),
                None => Ok(()),
            }
        };
        let read_err = async {
            match stderr {
                Some(stderr) => stderr.take(OUTPUT_BYTES_MAX).read_to_string(&mut err).await.map(drop),
                None => Ok(()),
            }
        };
        let ((), printed, complained) = tokio::join!(write, read_out, read_err);
        printed.and(complained)?;
        let status = child.wait().await?;
        Ok::<_, std::io::Error>((status, out, err))
    };
    match timeout(DEADLINE, work).await {
        Err(_) => Err(DeviceError::transient(format!("{doing}: it did not end within {} seconds", DEADLINE.as_secs()))),
        Ok(Err(error)) => Err(DeviceError::io(doing, error)),
        Ok(Ok((status, out, err))) if status.success() => Ok((out, err)),
        Ok(Ok((status, _, err))) => {
            let why = err.trim().lines().last().unwrap_or_default();
            let why = protocols::outcome::shorten(why, COMPLAINT_BYTES_MAX);
            Err(DeviceError::permanent(format!("{doing}: {status}: {why}")))
        }
    }
}

/// How long a program may take: nmstate waits for the network by itself.
const DEADLINE: Duration = Duration::from_secs(120);
/// The most that a program may print, in bytes.
const OUTPUT_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The longest complaint that is told, in bytes.
const COMPLAINT_BYTES_MAX: usize = 300;
