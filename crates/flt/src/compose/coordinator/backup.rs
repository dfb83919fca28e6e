//! A coordinator's backup: its ledger in the published format, and perhaps its secrets, in one file that shows by itself
//! whether it is whole.
//!
//! The first line says what it is; then come the ledger's lines, as `flt admin log --export` writes them; then, if they
//! were asked for, the secrets; the last line is the BLAKE3 of everything before it. A plain export is taken too.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use protocols::entry::Head;
use protocols::export;
use protocols::{FleetId, Millis, Name, SignedEntry};
use serde::{Deserialize, Serialize};

/// The longest line that is not an entry's, in bytes.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// The largest secret file, in bytes.
const SECRET_BYTES_MAX: u64 = 256 * 1024;
/// The folder of the relay's own certificate, in a data folder.
const RELAY_FOLDER: &str = "relay";
/// The version of the format.
const VERSION: u32 = 1;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Header {
    /// The version of the format.
    pub flotilla_backup: u32,
    /// The fleet.
    pub fleet: FleetId,
    /// Its name.
    pub name: Name,
    /// The newest entry in it.
    pub head: Head,
    /// How many entries are in it.
    pub entries: u64,
    /// When it was made.
    pub made: Millis,
    /// The version of `flt` that made it.
    pub version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    secret: String,
    data: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    end: String,
}

/// Writes a backup, and hashes what it writes.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    hash: blake3::Hasher,
}

impl<W: Write> Writer<W> {
    /// Begins one.
    ///
    /// # Errors
    /// What the writer says.
    pub fn begin(out: W, header: &Header) -> io::Result<Self> {
        let mut this = Self { out, hash: blake3::Hasher::new() };
        this.json(header)?;
        Ok(this)
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// What the writer says.
    pub fn entry(&mut self, entry: &SignedEntry) -> io::Result<()> {
        let mut line = Vec::new();
        export::write_line(&mut line, entry)?;
        self.line(&line)
    }

    /// Adds a secret file of this name.
    ///
    /// # Errors
    /// What the writer says.
    pub fn secret(&mut self, name: &str, data: &[u8]) -> io::Result<()> {
        self.json(&Secret { secret: name.to_owned(), data: data_encoding::BASE64.encode(data) })
    }

    /// Ends it, and gives the writer back.
    ///
    /// # Errors
    /// What the writer says.
    pub fn end(mut self) -> io::Result<W> {
        let end = self.hash.finalize().to_hex().to_string();
        self.json(&End { end })?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.line(&line)
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.hash.update(line);
        self.out.write_all(line)
    }
}

/// The secrets in a data folder: the key, and the relay's own certificate with its key, which tickets pin.
///
/// # Errors
/// If one of them cannot be read.
pub fn secrets(data: &Path, key: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let read = |path: &Path| -> anyhow::Result<Vec<u8>> {
        let doing = || format!("cannot read {}", path.display());
        let meta = std::fs::metadata(path).with_context(doing)?;
        ensure!(meta.len() <= SECRET_BYTES_MAX, "{} is too large for a key or a certificate", path.display());
        std::fs::read(path).with_context(doing)
    };
    found.insert("key".to_owned(), read(key)?);
    let relay = match std::fs::read_dir(data.join(RELAY_FOLDER)) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error).context("cannot read the relay's folder"),
    };
    for file in relay {
        let file = file.context("cannot read the relay's folder")?;
        if file.path().is_file() {
            found.insert(format!("{RELAY_FOLDER}/{}", file.file_name().to_string_lossy()), read(&file.path())?);
        }
    }
    Ok(found)
}

/// A backup as it was read: entries are given away one by one, in order.
#[derive(Debug, Default)]
pub struct Read {
    /// What it says of itself; nothing for a plain export.
    pub header: Option<Header>,
    /// How many entries there were.
    pub entries: u64,
    /// The secrets in it, by name.
    pub secrets: BTreeMap<String, Vec<u8>>,
}

/// Reads a backup or an exported ledger, and checks that it is whole. The entries are not verified here.
///
/// # Errors
/// If it is neither, or damaged, or `take` fails.
pub fn read(
    mut input: impl BufRead,
    mut take: impl FnMut(Option<&Header>, SignedEntry) -> anyhow::Result<()>,
) -> anyhow::Result<Read> {
    let mut found = Read::default();
    let mut hash = blake3::Hasher::new();
    let mut ended = false;
    let mut number: u64 = 0;
    while let Some(line) = next_line(&mut input, number + 1)? {
        number += 1;
        ensure!(!ended, "the backup goes on after its end, at line {number}");
        if number == 1
            && let Ok(header) = serde_json::from_slice::<Header>(&line)
        {
            ensure!(header.flotilla_backup == VERSION, "the backup was made by another version of flt");
            found.header = Some(header);
        } else if let Ok(secret) = serde_json::from_slice::<Secret>(&line) {
            ensure!(found.header.is_some(), "line {number} is no exported entry");
            let data = data_encoding::BASE64.decode(secret.data.as_bytes());
            found.secrets.insert(secret.secret, data.with_context(|| format!("line {number} is damaged"))?);
        } else if let Ok(end) = serde_json::from_slice::<End>(&line) {
            let whole = hash.finalize().to_hex().to_string() == end.end;
            ensure!(whole, "the backup is damaged: its checksum does not fit");
            ended = true;
        } else {
            let entry = export::read(line.as_slice()).next().context("an empty line")?;
            let entry = entry.with_context(|| format!("line {number} of the backup"))?;
            found.entries += 1;
            take(found.header.as_ref(), entry)?;
        }
        hash.update(&line);
    }
    if let Some(header) = &found.header {
        ensure!(ended, "the backup is cut short after {} of {} entries", found.entries, header.entries);
        ensure!(found.entries == header.entries, "the backup holds {} of {} entries", found.entries, header.entries);
    }
    ensure!(found.entries > 0, "there is no entry in it");
    Ok(found)
}

fn next_line(input: &mut impl BufRead, number: u64) -> anyhow::Result<Option<Vec<u8>>> {
    use io::Read as _;
    let mut line = Vec::new();
    let most = LINE_BYTES_MAX.max(export::LINE_BYTES_MAX) as u64 + 1;
    input.take(most).read_until(b'\n', &mut line).with_context(|| format!("cannot read line {number}"))?;
    if line.is_empty() {
        return Ok(None);
    }
    ensure!(line.ends_with(b"\n"), "line {number} is cut short or too long");
    Ok(Some(line))
}

/// Where a secret of a backup belongs in a data folder; nothing for a name that no backup of ours has.
pub fn place_of(data: &Path, secret: &str) -> Option<PathBuf> {
    if secret == "key" {
        return Some(data.join(secret));
    }
    let file = secret.strip_prefix(RELAY_FOLDER)?.strip_prefix('/')?;
    let plain = !file.is_empty() && file != "." && file != ".." && !file.contains(['/', '\0']);
    plain.then(|| data.join(RELAY_FOLDER).join(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let key = protocols::SecretKey::from_seed(&[1; 32]);
        let coordinator = protocols::SecretKey::from_seed(&[2; 32]).id();
        let founder = protocols::entry::Founder { key: coordinator, name: "c".parse().unwrap() };
        let nonce = protocols::Digest::from_bytes([3; 32]);
        let founded = admin::found::found(
            "acme".parse().unwrap(),
            "anna".parse().unwrap(),
            &key,
            vec![founder],
            nonce,
            Millis(1),
        )
        .unwrap();
        let header = Header {
            flotilla_backup: VERSION,
            fleet: founded.fleet,
            name: "acme".parse().unwrap(),
            head: founded.state.head(),
            entries: 1,
            made: Millis(2),
            version: "0".into(),
        };
        let mut writer = Writer::begin(Vec::new(), &header).unwrap();
        writer.entry(&founded.genesis).unwrap();
        writer.secret("key", b"secret").unwrap();
        writer.end().unwrap()
    }

    #[test]
    fn what_was_written_is_read_and_every_cut_is_found() {
        let bytes = sample();
        let mut entries = 0;
        let found = read(bytes.as_slice(), |header, _| {
            assert!(header.is_some());
            entries += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!((entries, found.entries, found.secrets["key"].as_slice()), (1, 1, b"secret".as_slice()));
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end], |_, _| Ok(())).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(read(bad.as_slice(), |_, _| Ok(())).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn no_secret_is_put_outside_the_data_folder() {
        let data = Path::new("/data");
        assert_eq!(place_of(data, "key"), Some("/data/key".into()));
        assert_eq!(place_of(data, "relay/ca.pem"), Some("/data/relay/ca.pem".into()));
        for name in ["", "relay/", "relay/..", "relay/../key", "../key", "/etc/passwd", "relay/a/b", "lock"] {
            assert_eq!(place_of(data, name), None, "{name}");
        }
    }
}
