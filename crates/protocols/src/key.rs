//! A node's secret key: made, read from OpenSSH or raw files, written, and used to sign.
//!
//! One ed25519 key is a node's endpoint id, its document author, its ledger signer and its Nix signing key. A host's
//! OpenSSH key can serve: the endpoint id is that key's ed25519 public key.

use std::fmt;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use zeroize::{Zeroize as _, Zeroizing};

use crate::ids::NodeId;

pub mod ssh_agent;

/// The largest key file that is read, in bytes.
pub const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;

/// Rounds of bcrypt between a passphrase and the key that it opens; as many as ssh-keygen makes.
const BCRYPT_ROUNDS: u32 = 24;

/// An ed25519 secret key. Never printed, wiped when dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

/// How a secret key is written to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFormat {
    /// 64 hex digits of the seed and a newline.
    Raw,
    /// An unencrypted OpenSSH private key.
    OpenSsh,
}

/// Why a key could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read or written.
    #[error("cannot access the key file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any key.
    #[error("{0} is larger than {KEY_FILE_BYTES_MAX} bytes and so not a key file")]
    TooLarge(PathBuf),
    /// Neither an OpenSSH private key nor a raw one.
    #[error("not a key: expected an OpenSSH private key, 64 hex digits, or 32 raw bytes")]
    Unrecognised,
    /// A public key where a private one is needed.
    #[error("this is a public key; the private one is needed (the file without `.pub`)")]
    Public,
    /// OpenSSH said no.
    #[error("cannot read the OpenSSH key")]
    OpenSsh(#[source] ssh_key::Error),
    /// Another algorithm than ed25519.
    #[error("the key is of type {0}, and only ssh-ed25519 keys can be a node's identity")]
    NotEd25519(String),
    /// Encrypted, and no passphrase was at hand.
    #[error("the key is encrypted and needs its passphrase")]
    NeedsPassphrase,
    /// Encrypted, and the passphrase does not open it.
    #[error("the passphrase does not open the key")]
    WrongPassphrase,
    /// A passphrase that would protect nothing.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// The file can be read by others.
    #[error("{path} can be read by other users (mode {mode:04o})")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl SecretKey {
    /// Makes a new key from the system's randomness.
    ///
    /// # Panics
    /// If the operating system has no randomness to give, in which case no key must be made.
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0u8; 32]);
        getrandom::fill(&mut *seed).expect("the operating system gives random bytes");
        Self::from_seed(&seed)
    }

    /// The key of a 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed. Handle with care: it is the key.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn id(&self) -> NodeId {
        NodeId::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Signs `domain ‖ message`. The domain names what kind of thing is signed, so that a signature
    /// of one kind can never be taken for another.
    pub fn sign(&self, domain: &[u8], message: &[u8]) -> Signature {
        Signature(self.0.sign(&[domain, message].concat()).to_bytes())
    }

    /// 32 secret bytes for another purpose, bound to `context` (BLAKE3's key derivation).
    pub fn derive(&self, context: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(context, &*self.seed()))
    }

    /// The X25519 secret that opens what was sealed to this node's id (see [`crate::seal`]).
    pub(crate) fn x25519(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_scalar_bytes())
    }

    /// Parses a key: an OpenSSH private key, 64 hex digits, or 32 raw bytes.
    ///
    /// # Errors
    /// [`KeyError::NeedsPassphrase`] for an encrypted OpenSSH key without a passphrase; others as they say.
    pub fn parse(contents: &[u8], passphrase: Option<&str>) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(contents).map(str::trim).unwrap_or_default();
        if text.contains("-----BEGIN OPENSSH PRIVATE KEY-----") {
            return Self::parse_openssh(text, passphrase);
        }
        if text.starts_with("ssh-") {
            return Err(KeyError::Public);
        }
        if text.len() == 64
            && let Ok(mut bytes) = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes())
            && let Ok(mut seed) = <[u8; 32]>::try_from(bytes.as_slice())
        {
            let key = Self::from_seed(&seed);
            seed.zeroize();
            bytes.zeroize();
            return Ok(key);
        }
        match <[u8; 32]>::try_from(contents) {
            Ok(mut seed) => {
                let key = Self::from_seed(&seed);
                seed.zeroize();
                Ok(key)
            }
            Err(_) => Err(KeyError::Unrecognised),
        }
    }

    fn parse_openssh(text: &str, passphrase: Option<&str>) -> Result<Self, KeyError> {
        let mut key = ssh_key::PrivateKey::from_openssh(text).map_err(|error| match foreign_algorithm(text) {
            Some(algorithm) => KeyError::NotEd25519(algorithm.into()),
            None => KeyError::OpenSsh(error),
        })?;
        if key.is_encrypted() {
            let passphrase = passphrase.ok_or(KeyError::NeedsPassphrase)?;
            key = key.decrypt(passphrase).map_err(|_| KeyError::WrongPassphrase)?;
        }
        match key.key_data() {
            KeypairData::Ed25519(pair) => Ok(Self::from_seed(&pair.private.to_bytes())),
            _ => Err(KeyError::NotEd25519(key.algorithm().to_string())),
        }
    }

    /// Reads a key file. `passphrase` is asked only when the key is encrypted.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); [`KeyError::Exposed`] if group or others may read the file, as OpenSSH refuses it.
    pub fn read(path: &Path, passphrase: impl FnOnce() -> Option<String>) -> Result<Self, KeyError> {
        use std::io::Read as _;
        use std::os::unix::fs::PermissionsExt as _;
        let file = |source| KeyError::File { path: path.to_owned(), source };
        let meta = std::fs::metadata(path).map_err(file)?;
        if meta.len() > KEY_FILE_BYTES_MAX {
            return Err(KeyError::TooLarge(path.to_owned()));
        }
        let mode = meta.permissions().mode() & 0o777;
        if meta.is_file() && mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
        let mut contents = Zeroizing::new(Vec::new());
        // A pipe or device has no size to go by.
        let opened = std::fs::File::open(path).map_err(file)?;
        opened.take(KEY_FILE_BYTES_MAX + 1).read_to_end(&mut contents).map_err(file)?;
        if contents.len() as u64 > KEY_FILE_BYTES_MAX {
            return Err(KeyError::TooLarge(path.to_owned()));
        }
        match Self::parse(&contents, None) {
            Err(KeyError::NeedsPassphrase) => {
                let passphrase = passphrase().map(Zeroizing::new);
                Self::parse(&contents, passphrase.as_ref().map(|p| p.as_str()))
            }
            other => other,
        }
    }

    /// The key as a file's text, in `format`.
    ///
    /// # Errors
    /// [`KeyError::OpenSsh`] if the encoding fails.
    pub fn to_text(&self, format: KeyFormat, comment: &str) -> Result<Zeroizing<String>, KeyError> {
        match format {
            KeyFormat::Raw => {
                let mut hex = data_encoding::HEXLOWER.encode(&*self.seed());
                hex.push('\n');
                Ok(Zeroizing::new(hex))
            }
            KeyFormat::OpenSsh => {
                let pair = Ed25519Keypair {
                    public: ssh_key::public::Ed25519PublicKey(*self.id().as_bytes()),
                    private: Ed25519PrivateKey::from_bytes(&self.seed()),
                };
                let key = ssh_key::PrivateKey::new(KeypairData::Ed25519(pair), comment).map_err(KeyError::OpenSsh)?;
                key.to_openssh(ssh_key::LineEnding::LF).map_err(KeyError::OpenSsh)
            }
        }
    }

    /// The key as the text of an OpenSSH file that opens with `passphrase` alone.
    ///
    /// # Errors
    /// [`KeyError::OpenSsh`] if the encoding fails, [`KeyError::EmptyPassphrase`].
    pub fn to_encrypted_text(&self, passphrase: &str, comment: &str) -> Result<Zeroizing<String>, KeyError> {
        if passphrase.is_empty() {
            return Err(KeyError::EmptyPassphrase);
        }
        let plain = self.to_text(KeyFormat::OpenSsh, comment)?;
        let key = ssh_key::PrivateKey::from_openssh(plain.as_str()).map_err(KeyError::OpenSsh)?;
        let mut random = [0u8; 20];
        getrandom::fill(&mut random).map_err(|_| KeyError::OpenSsh(ssh_key::Error::Crypto))?;
        let (salt, check) = random.split_at(16);
        let check = check.try_into().map_or(0, u32::from_be_bytes);
        let kdf = ssh_key::Kdf::Bcrypt { salt: salt.to_vec(), rounds: BCRYPT_ROUNDS };
        let sealed = key.encrypt_with(ssh_key::Cipher::Aes256Ctr, kdf, check, passphrase).map_err(KeyError::OpenSsh)?;
        sealed.to_openssh(ssh_key::LineEnding::LF).map_err(KeyError::OpenSsh)
    }

    /// Writes the key to a new file that only its owner may read, durably. An existing file is never overwritten.
    ///
    /// # Errors
    /// [`KeyError::File`], also when the file exists.
    pub fn write_new(&self, path: &Path, format: KeyFormat, comment: &str) -> Result<(), KeyError> {
        write_text_new(path, &self.to_text(format, comment)?)
    }

    /// The same, as an OpenSSH file that opens with `passphrase` alone.
    ///
    /// # Errors
    /// [`KeyError::File`], also when the file exists; [`KeyError::EmptyPassphrase`].
    pub fn write_new_encrypted(&self, path: &Path, passphrase: &str, comment: &str) -> Result<(), KeyError> {
        write_text_new(path, &self.to_encrypted_text(passphrase, comment)?)
    }
}

fn write_text_new(path: &Path, text: &str) -> Result<(), KeyError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let file_error = |source| KeyError::File { path: path.to_owned(), source };
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(file_error)?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let sync_name = || std::fs::File::open(parent).and_then(|dir| dir.sync_all());
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| sync_name());
    written.map_err(|error| {
        // Half a key is none, and would stand in the way of trying again.
        drop(std::fs::remove_file(path));
        file_error(error)
    })
}

/// The algorithm an OpenSSH private key names, if it is one that the parser is built without.
fn foreign_algorithm(text: &str) -> Option<&'static str> {
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    let bytes = Zeroizing::new(data_encoding::BASE64.decode(body.as_bytes()).ok()?);
    let has = |name: &&&str| bytes.windows(name.len()).any(|window| window == name.as_bytes());
    ["ssh-rsa", "ssh-dss", "ecdsa-sha2", "sk-ssh-ed25519"].iter().find(has).copied()
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.id().short())
    }
}

/// The public key as one line of an `authorized_keys` file.
pub fn openssh_public(id: NodeId, comment: &str) -> String {
    let key = ssh_key::PublicKey::new(
        ssh_key::public::KeyData::Ed25519(ssh_key::public::Ed25519PublicKey(*id.as_bytes())),
        comment,
    );
    key.to_openssh().unwrap_or_default()
}

/// Reads a node id as people have it: 64 hex digits or an OpenSSH public key line.
///
/// # Errors
/// If it is neither, or the key is not ed25519.
pub fn parse_public(text: &str) -> Result<NodeId, KeyError> {
    let text = text.trim();
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        let key = ssh_key::PublicKey::from_openssh(text).map_err(KeyError::OpenSsh)?;
        return match key.key_data() {
            ssh_key::public::KeyData::Ed25519(key) => Ok(NodeId::from_bytes(key.0)),
            _ => Err(KeyError::NotEd25519(key.algorithm().to_string())),
        };
    }
    text.parse().map_err(|_| KeyError::Unrecognised)
}

impl NodeId {
    /// Whether `signature` is this key's over `domain ‖ message`. Malleable and small-order signatures are refused.
    pub fn verifies(&self, domain: &[u8], message: &[u8], signature: &Signature) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(self.as_bytes()) else { return false };
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(&[domain, message].concat(), &signature).is_ok()
    }

    /// Whether the 32 bytes are a point on the curve, so that something could verify under them.
    pub fn is_key(&self) -> bool {
        VerifyingKey::from_bytes(self.as_bytes()).is_ok_and(|key| !key.is_weak())
    }

    /// The X25519 public key to seal to (see [`crate::seal`]).
    pub(crate) fn x25519(&self) -> Option<[u8; 32]> {
        VerifyingKey::from_bytes(self.as_bytes()).ok().map(|key| key.to_montgomery().to_bytes())
    }
}

/// An ed25519 signature; 128 hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Wraps the 64 bytes.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}…)", data_encoding::HEXLOWER.encode(&self.0[..5]))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&data_encoding::HEXLOWER.encode(&self.0))
        } else {
            let (left, right) = self.0.split_at(32);
            let half = |b: &[u8]| <[u8; 32]>::try_from(b).map_err(serde::ser::Error::custom);
            (half(left)?, half(right)?).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(D::Error::custom)?;
            let bytes = bytes.try_into().map_err(|_| D::Error::custom("a signature has 128 hex digits"))?;
            Ok(Self(bytes))
        } else {
            let (left, right) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
            let mut bytes = [0; 64];
            bytes[..32].copy_from_slice(&left);
            bytes[32..].copy_from_slice(&right);
            Ok(Self(bytes))
        }
    }
}

#[cfg(test)]
mod tests;
