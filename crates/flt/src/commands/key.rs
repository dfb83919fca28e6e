//! `flt key`: keys are made, shown and converted; what is secret is written to files and never printed.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use protocols::key::{KeyError, KeyFormat, openssh_public, parse_public};
use protocols::{NodeId, SecretKey};
use serde::Serialize;

use crate::app::App;
use crate::output::{Style, View};
use crate::report::{Advise as _, Code};

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key
    #[command(after_long_help = NEW_EXAMPLES)]
    New {
        /// Write it in this format
        #[arg(long, value_name = "FORMAT", default_value = "openssh")]
        format: Format,
        /// Write it to this file, which must not exist
        #[arg(long, value_name = "FILE", default_value = "flt-key")]
        out: PathBuf,
        /// Note this in the key file
        #[arg(long, value_name = "TEXT", default_value = "")]
        comment: String,
    },
    /// Show whose a key is: its id, its OpenSSH line, its Nix key
    #[command(after_long_help = SHOW_EXAMPLES)]
    Show {
        /// A file with a private or public key, a public key, or an id
        key: String,
        #[command(flatten)]
        unlock: Unlock,
    },
    /// Write a key to another file in another format
    #[command(after_long_help = CONVERT_EXAMPLES)]
    Convert {
        /// The file with the private key
        file: PathBuf,
        /// Write it in this format; an encrypted file is always `openssh`
        #[arg(long, value_name = "FORMAT", default_value = "openssh")]
        format: Format,
        /// Write it to this file, which must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Note this in the new key file
        #[arg(long, value_name = "TEXT", default_value = "")]
        comment: String,
        /// Encrypt the new file with a passphrase
        #[arg(long)]
        encrypt: bool,
        /// Encrypt the new file with the passphrase in this file
        #[arg(long, value_name = "FILE", requires = "encrypt")]
        new_passphrase_file: Option<PathBuf>,
        #[command(flatten)]
        unlock: Unlock,
    },
}

/// How a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// An unencrypted OpenSSH private key
    Openssh,
    /// 64 hex digits
    Raw,
}

/// How an encrypted key is opened.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Unlock {
    /// Open an encrypted key with the passphrase in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

impl Unlock {
    /// Reads a private key; for an encrypted one, with the passphrase from the file or from the person.
    ///
    /// # Errors
    /// If the key cannot be read, is exposed, or stays closed.
    pub(crate) fn read(&self, path: &Path, app: &App) -> anyhow::Result<SecretKey> {
        let given = self.passphrase_file.as_deref().map(read_passphrase).transpose()?;
        let ask = || {
            let prompt = format!("Passphrase of {}: ", path.display());
            given.or_else(|| app.out.passphrase(&prompt).map(|typed| typed.to_string()))
        };
        SecretKey::read(path, ask).with_context(|| format!("cannot read the key {}", path.display()))
    }
}

/// Runs it.
pub(crate) fn run(command: KeyCommand, app: &App) -> anyhow::Result<Code> {
    match command {
        KeyCommand::New { format, out, comment } => {
            let key = SecretKey::generate();
            write(&key, &out, format, &comment)?;
            app.out.view(&Shown::of(key.id(), Some(&out)))?;
        }
        KeyCommand::Show { key, unlock } => {
            let id = identify(&key, &unlock, app)?;
            app.out.view(&Shown::of(id, None))?;
        }
        KeyCommand::Convert { file, format, out, comment, encrypt, new_passphrase_file, unlock } => {
            if encrypt && format == Format::Raw {
                return Err(anyhow!("a raw key cannot be encrypted")).hint("leave out --format raw").code(Code::Usage);
            }
            let key = unlock.read(&file, app)?;
            if encrypt {
                let passphrase = match new_passphrase_file {
                    Some(file) => zeroize::Zeroizing::new(read_passphrase(&file)?),
                    None => app.out.new_passphrase().hint("or, without one: --new-passphrase-file FILE")?,
                };
                written(key.write_new_encrypted(&out, &passphrase, &comment), &out)?;
            } else {
                write(&key, &out, format, &comment)?;
            }
            app.out.view(&Shown::of(key.id(), Some(&out)))?;
        }
    }
    Ok(Code::Done)
}

fn write(key: &SecretKey, out: &Path, format: Format, comment: &str) -> anyhow::Result<()> {
    let format = match format {
        Format::Openssh => KeyFormat::OpenSsh,
        Format::Raw => KeyFormat::Raw,
    };
    written(key.write_new(out, format, comment), out)
}

fn written(written: Result<(), KeyError>, out: &Path) -> anyhow::Result<()> {
    if let Err(KeyError::File { source, .. }) = &written
        && source.kind() == std::io::ErrorKind::NotFound
    {
        let folder = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        return Err(anyhow!("there is no folder {}", folder.display()))
            .context("cannot write the key")
            .hint(format!("make it first: mkdir -p {}", folder.display()));
    }
    written.context("cannot write the key")
}

/// The id of what a person names: a file, or the public key itself.
fn identify(key: &str, unlock: &Unlock, app: &App) -> anyhow::Result<NodeId> {
    let path = Path::new(key);
    if !path.exists() {
        let looks_public = key.contains(' ') || (key.len() == 64 && key.chars().all(|c| c.is_ascii_hexdigit()));
        if !looks_public {
            return Err(anyhow!("there is no file {key}, and it is no public key")).hint(
                "name a key file, or give the public key itself in quotes: flt key show \"ssh-ed25519 AAAA...\"",
            );
        }
        return checked(public(key).context("cannot read the public key")?);
    }
    if let Some(id) = public_file(path)? {
        return checked(id);
    }
    Ok(unlock.read(path, app)?.id())
}

/// The id in a file, if the file has a public key. It may be readable by everybody, as a private one may not.
fn public_file(path: &Path) -> anyhow::Result<Option<NodeId>> {
    let text = read_bounded(path).with_context(|| format!("cannot read {}", path.display()))?;
    let Ok(text) = std::str::from_utf8(&text) else { return Ok(None) };
    let text = text.trim();
    if !text.starts_with("ssh-") && !text.starts_with("ecdsa-") && !text.starts_with("sk-") {
        return Ok(None);
    }
    let id = public(text).with_context(|| format!("cannot read the public key {}", path.display()))?;
    Ok(Some(id))
}

/// A public key. Of another algorithm, it is named as such, also where its numbers cannot be read.
fn public(text: &str) -> Result<NodeId, KeyError> {
    match text.split_once(' ') {
        Some((algorithm, _)) if algorithm != "ssh-ed25519" => Err(KeyError::NotEd25519(algorithm.to_owned())),
        _ => parse_public(text),
    }
}

fn checked(id: NodeId) -> anyhow::Result<NodeId> {
    if id.is_key() {
        return Ok(id);
    }
    Err(anyhow!("{id} is no ed25519 public key: nothing could be signed with it"))
}

fn read_passphrase(path: &Path) -> anyhow::Result<String> {
    let bytes = read_bounded(path).with_context(|| format!("cannot read the passphrase file {}", path.display()))?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| anyhow!("the passphrase file {} is not text", path.display()))?;
    Ok(text.strip_suffix('\n').unwrap_or(text).to_owned())
}

fn read_bounded(path: &Path) -> std::io::Result<zeroize::Zeroizing<Vec<u8>>> {
    use std::io::Read as _;
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    std::fs::File::open(path)?.take(protocols::key::KEY_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > protocols::key::KEY_FILE_BYTES_MAX {
        return Err(std::io::Error::other("the file is too large"));
    }
    Ok(bytes)
}

#[derive(Serialize)]
struct Shown {
    id: NodeId,
    openssh: String,
    nix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

impl Shown {
    fn of(id: NodeId, file: Option<&Path>) -> Self {
        let openssh = openssh_public(id, "").trim_end().to_owned();
        Self { id, openssh, nix: nix_public(id), file: file.map(Path::to_owned) }
    }
}

impl View for Shown {
    const SCHEMA: &'static str = "flt.key/1";

    fn text(&self, _: &Style) -> String {
        let file = self.file.as_ref().map(|file| format!("file     {}\n", file.display())).unwrap_or_default();
        format!("{file}id       {}\nopenssh  {}\nnix      {}\n", self.id, self.openssh, self.nix)
    }
}

/// The key as Nix has it in `trusted-public-keys`: a name and the key. The name is made of the key, so that everybody
/// gives a key the same one.
fn nix_public(id: NodeId) -> String {
    let name = data_encoding::HEXLOWER.encode(&id.as_bytes()[..8]);
    format!("flt-{name}:{}", data_encoding::BASE64.encode(id.as_bytes()))
}

const NEW_EXAMPLES: &str = "\
Prints the public half. The file can be read by its owner alone.

Examples:
  flt key new --out ~/.config/flotilla/key
  flt key new --format raw --out node.key";

const SHOW_EXAMPLES: &str = "\
Examples:
  flt key show ~/.ssh/id_ed25519
  flt key show /etc/ssh/ssh_host_ed25519_key.pub --json";

const CONVERT_EXAMPLES: &str = "\
The new file is encrypted with --encrypt only, also if the old one is.

Examples:
  flt key convert ~/.ssh/id_ed25519 --format raw --out node.key
  flt key convert admin.key --encrypt --out admin.key.encrypted
  flt key convert key --format openssh --out id_ed25519 --passphrase-file pass";
