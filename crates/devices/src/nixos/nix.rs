//! The store, asked and changed through Nix's own programs: what is valid, what a closure is made of, importing.
//!
//! Only forms that are the same from Nix 2.8 to 2.34 are used, results are told by exit status and by plain lists, and no
//! English text is ever interpreted.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use scores::nixos::{StorePath, TrustedKey};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

/// Nix's programs, and the environment that they run in.
#[derive(Debug, Clone, Default)]
pub struct Nix {
    /// Where the programs are; in `PATH` where this is empty.
    pub bin: Option<PathBuf>,
    /// A private folder that Nix may take for the home folder, so that no cache of another user's doing is believed.
    pub home: Option<PathBuf>,
    /// How the store is reached, as `NIX_REMOTE` says it (`daemon`, `local`); as the environment has it where this is empty.
    pub remote: Option<String>,
}

/// Why one of Nix's programs did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NixError {
    /// It could not be started.
    #[error("cannot run {program}")]
    Start {
        /// Which.
        program: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It took too long.
    #[error("{program} was not done after {} seconds", after.as_secs())]
    Late {
        /// Which.
        program: &'static str,
        /// What it may take.
        after: Duration,
    },
    /// It failed.
    #[error("{program} ended with {status}: {said}")]
    Failed {
        /// Which.
        program: &'static str,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The end of what it said, for people.
        said: String,
    },
    /// It printed something else than it was asked for.
    #[error("{program} printed what cannot be read: {why}")]
    Unreadable {
        /// Which.
        program: &'static str,
        /// What was wrong.
        why: String,
    },
}

impl Nix {
    /// The paths among these that the store does not have.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn missing(&self, paths: &[StorePath]) -> Result<Vec<StorePath>, NixError> {
        let mut missing = Vec::new();
        for some in paths.chunks(PATHS_PER_CALL) {
            let asked = some.iter().map(StorePath::as_str);
            let text =
                self.query("nix-store", ["--check-validity", "--print-invalid"].into_iter().chain(asked)).await?;
            missing.extend(parse_paths("nix-store", &text)?);
        }
        Ok(missing)
    }

    /// Every path that `path` needs, itself included.
    ///
    /// # Errors
    /// When the path is not valid or the store cannot be asked.
    pub async fn closure(&self, path: &StorePath) -> Result<Vec<StorePath>, NixError> {
        parse_paths("nix-store", &self.query("nix-store", ["--query", "--requisites", path.as_str()]).await?)
    }

    /// Runs one of the programs and returns what it printed.
    pub(super) async fn query<'a>(
        &self,
        program: &'static str,
        args: impl IntoIterator<Item = &'a str>,
    ) -> Result<String, NixError> {
        self.run(program, args, QUERY_TIME).await
    }

    /// Names `path` in a profile, as a new generation.
    ///
    /// # Errors
    /// When the profile cannot be written.
    pub async fn set_profile(&self, profile: &Path, path: &StorePath) -> Result<(), NixError> {
        let args = [OsStr::new("--profile"), profile.as_os_str(), OsStr::new("--set"), OsStr::new(path.as_str())];
        self.run("nix-env", args, QUERY_TIME).await.map(drop)
    }

    /// Copies the closure of `path` from a folder that is a binary cache, believing these keys' signatures and no others.
    ///
    /// # Errors
    /// When Nix refuses a path, the disk is full, or the time is up.
    pub async fn import(
        &self,
        cache: &Path,
        path: &StorePath,
        keys: &[TrustedKey],
        within: Duration,
    ) -> Result<(), NixError> {
        let keys = keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let mut from = OsString::from("file://");
        from.push(cache);
        let args: [&OsStr; 14] = [
            "--extra-experimental-features".as_ref(),
            "nix-command".as_ref(),
            "copy".as_ref(),
            "--from".as_ref(),
            &from,
            "--option".as_ref(),
            "require-sigs".as_ref(),
            "true".as_ref(),
            "--option".as_ref(),
            "trusted-public-keys".as_ref(),
            keys.as_ref(),
            "--offline".as_ref(),
            "--".as_ref(),
            path.as_str().as_ref(),
        ];
        self.run("nix", args, within).await.map(drop)
    }

    async fn run(
        &self,
        program: &'static str,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        within: Duration,
    ) -> Result<String, NixError> {
        let mut command =
            Command::new(self.bin.as_ref().map_or_else(|| PathBuf::from(program), |bin| bin.join(program)));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.env("LC_ALL", "C");
        if let Some(remote) = &self.remote {
            command.env("NIX_REMOTE", remote);
        }
        if let Some(home) = &self.home {
            command.env("HOME", home).env("XDG_CACHE_HOME", home.join("cache")).env_remove("NIX_PATH");
        }
        let mut child = command.spawn().map_err(|source| NixError::Start { program, source })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let work = async {
            let (out, said) = tokio::join!(read_all(stdout), read_tail(stderr));
            (child.wait().await, out, said)
        };
        let (status, out, said) =
            tokio::time::timeout(within, work).await.map_err(|_| NixError::Late { program, after: within })?;
        let status = status.map_err(|source| NixError::Start { program, source })?;
        if !status.success() {
            return Err(NixError::Failed { program, status, said });
        }
        let out = out.ok_or_else(|| unreadable(program, "more than 256 MiB"))?;
        String::from_utf8(out).map_err(|_| unreadable(program, "not UTF-8"))
    }
}

/// Reads a list of store paths, one a line.
fn parse_paths(program: &'static str, text: &str) -> Result<Vec<StorePath>, NixError> {
    text.lines().map(|line| line.parse().map_err(|error| unreadable(program, error))).collect()
}

pub(super) fn unreadable(program: &'static str, why: impl ToString) -> NixError {
    NixError::Unreadable { program, why: why.to_string() }
}

/// All of a stream, or nothing if it is longer than the bound; it is read to its end in any case.
async fn read_all(stream: Option<impl AsyncRead + Unpin>) -> Option<Vec<u8>> {
    let mut stream = stream?;
    let mut all = Vec::new();
    let mut bounded = (&mut stream).take(OUTPUT_BYTES_MAX + 1);
    let read = bounded.read_to_end(&mut all).await;
    let fits = read.is_ok_and(|read| read as u64 <= OUTPUT_BYTES_MAX);
    drop(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await);
    fits.then_some(all)
}

/// The end of a stream, on one line.
async fn read_tail(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut tail: Vec<u8> = Vec::new();
    let mut buffer = [0u8; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        tail.extend_from_slice(&buffer[..read]);
        if tail.len() > TAIL_BYTES * 2 {
            tail.drain(..tail.len() - TAIL_BYTES);
        }
    }
    let start = tail.len().saturating_sub(TAIL_BYTES);
    let text = String::from_utf8_lossy(&tail[start..]).into_owned();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How many paths are named on one command line: far below the system's bound of 2 MiB.
pub(super) const PATHS_PER_CALL: usize = 1000;
/// The most that is read of what a program prints, in bytes.
const OUTPUT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How much of what a program says on stderr is kept for people, in bytes.
const TAIL_BYTES: usize = 800;
/// What a question to the store may take: it may wait for another process's lock.
const QUERY_TIME: Duration = Duration::from_secs(300);
