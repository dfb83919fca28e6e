//! The relay's certificate: from files, or from a root of its own that peers pin.
//!
//! The root is made once and never changes, so a pin in a ticket stays true; the certificate under
//! it is made anew when the names change. Both are valid from long ago until long after, because
//! trust comes from the pin, and a node whose clock is off by years must still find its relay.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("cannot {doing} {path}")]
    File {
        /// Reading or writing.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no certificate or key.
    #[error("{path} holds no usable {what}: {why}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A name cannot be put in a certificate.
    #[error("`{0}` is not a host name or IP address")]
    Name(String),
    /// There is nothing to make a certificate for.
    #[error("the relay has no name or address to be reached by")]
    NoNames,
    /// Making the certificate failed.
    #[error("cannot make a certificate: {0}")]
    Make(String),
    /// Key and certificate do not fit, or the algorithm is not supported.
    #[error("TLS cannot use the certificate: {0}")]
    Tls(String),
}

/// A certificate chain with its key.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// What peers pin, if the chain ends in a root that nobody else knows.
    pub(super) root: Option<Vec<u8>>,
}

impl Identity {
    pub(super) fn server_config(&self) -> Result<rustls::ServerConfig, CertificateError> {
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| CertificateError::Tls(e.to_string()))?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|e| CertificateError::Tls(e.to_string()))
    }
}

/// Reads a chain and its key from PEM files. The last certificate is pinned if it is self-signed.
pub(super) fn from_files(cert: &Path, key: &Path) -> Result<Identity, CertificateError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(cert)?)
        .collect::<Result<_, _>>()
        .map_err(|e| content(cert, "certificate", e.to_string()))?;
    let Some(last) = chain.last().map(|last| last.to_vec()) else {
        return Err(content(cert, "certificate", "there is none in it".into()));
    };
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|e| content(key, "private key", e.to_string()))?;
    // A chain normally leaves its root out: one that carries a self-signed end is a private one.
    let root = is_self_signed(&last).then_some(last);
    Ok(Identity { chain, key, root })
}

/// The identity kept in `dir`, made on the first call.
pub(super) fn self_signed(dir: &Path, names: &[String]) -> Result<Identity, CertificateError> {
    if names.is_empty() {
        return Err(CertificateError::NoNames);
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| CertificateError::File {
        doing: "create",
        path: dir.into(),
        source,
    })?;

    let root_key = key_in(&dir.join("root.key"))?;
    let root_path = dir.join("root.der");
    let root_params = root_params()?;
    if !root_path.exists() {
        let root = root_params.self_signed(&root_key).map_err(make)?;
        write(&root_path, root.der())?;
    }
    let root = read(&root_path)?;

    let leaf_key = key_in(&dir.join("relay.key"))?;
    let (leaf_path, names_path) = (dir.join("relay.der"), dir.join("relay.names"));
    let wanted = names.join("\n");
    let current = leaf_path.exists() && fs::read_to_string(&names_path).is_ok_and(|have| have == wanted);
    if !current {
        let leaf =
            leaf_params(names)?.signed_by(&leaf_key, &Issuer::from_params(&root_params, &root_key)).map_err(make)?;
        write(&leaf_path, leaf.der())?;
        write(&names_path, wanted.as_bytes())?;
    }
    let leaf = read(&leaf_path)?;
    let key = PrivateKeyDer::try_from(leaf_key.serialize_der()).map_err(|e| CertificateError::Make(e.into()))?;
    Ok(Identity { chain: vec![leaf.into(), root.clone().into()], key, root: Some(root) })
}

fn root_params() -> Result<CertificateParams, CertificateError> {
    let mut params = base_params(&[], "Flotilla relay root")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

fn leaf_params(names: &[String]) -> Result<CertificateParams, CertificateError> {
    let mut params = base_params(names, "Flotilla relay")?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn base_params(names: &[String], title: &str) -> Result<CertificateParams, CertificateError> {
    for name in names {
        CertificateParams::new(vec![name.clone()]).map_err(|_| CertificateError::Name(name.clone()))?;
        if name.is_empty() || name.contains(['/', ' ', '\n']) {
            return Err(CertificateError::Name(name.clone()));
        }
    }
    let mut params = CertificateParams::new(names.to_vec()).map_err(make)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, title);
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2199, 12, 31);
    Ok(params)
}

/// The key in a file, made if there is none.
fn key_in(path: &Path) -> Result<KeyPair, CertificateError> {
    if path.exists() {
        let pem = String::from_utf8(read(path)?).map_err(|e| content(path, "private key", e.to_string()))?;
        return KeyPair::from_pem(&pem).map_err(|e| content(path, "private key", e.to_string()));
    }
    let key = KeyPair::generate().map_err(make)?;
    write(path, key.serialize_pem().as_bytes())?;
    Ok(key)
}

/// Whether issuer and subject of a certificate are the same name.
fn is_self_signed(der: &[u8]) -> bool {
    let Some(fields) = names_of(der) else { return false };
    fields.0 == fields.1
}

/// Issuer and subject, as encoded: `Certificate ::= SEQ { SEQ { [0] version?, serial, algorithm, issuer, validity, subject`.
fn names_of(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (certificate, _) = element(der)?;
    let (mut rest, _) = element(certificate)?;
    if rest.first() == Some(&0xa0) {
        rest = element(rest)?.1;
    }
    let after_serial = element(rest)?.1;
    let after_algorithm = element(after_serial)?.1;
    let (issuer, after_issuer) = element(after_algorithm)?;
    let after_validity = element(after_issuer)?.1;
    let (subject, _) = element(after_validity)?;
    Some((issuer, subject))
}

/// Content of the first DER element, and what follows it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = *der.get(1)?;
    let (length, start) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x83 => {
            let digits = usize::from(first & 0x7f);
            let bytes = der.get(2..2 + digits)?;
            (bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b)), 2 + digits)
        }
        _ => return None,
    };
    let content = der.get(start..start.checked_add(length)?)?;
    Some((content, &der[start + length..]))
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::File { doing: "read", path: path.into(), source })
}

/// Replaces a file, readable by its owner only, all or nothing.
fn write(path: &Path, bytes: &[u8]) -> Result<(), CertificateError> {
    let file = |source| CertificateError::File { doing: "write", path: path.into(), source };
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut out = options.open(&new).map_err(file)?;
    out.write_all(bytes).and_then(|()| out.sync_all()).map_err(file)?;
    fs::rename(&new, path).map_err(file)
}

fn content(path: &Path, what: &'static str, why: String) -> CertificateError {
    CertificateError::Content { path: path.into(), what, why }
}

fn make(why: rcgen::Error) -> CertificateError {
    CertificateError::Make(why.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn the_root_stays_and_the_leaf_follows_the_names() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = self_signed(dir.path(), &names(&["relay.test", "127.0.0.1"])).expect("made");
        let again = self_signed(dir.path(), &names(&["relay.test", "127.0.0.1"])).expect("read");
        let other = self_signed(dir.path(), &names(&["other.test"])).expect("made anew");
        assert_eq!(first.root, again.root);
        assert_eq!(first.chain, again.chain);
        assert_eq!(first.root, other.root, "a pin stays true");
        assert_ne!(first.chain[0], other.chain[0]);
        for kept in fs::read_dir(dir.path()).expect("listed") {
            let mode = kept.expect("an entry").metadata().expect("its mode").permissions().mode();
            assert_eq!(mode & 0o077, 0, "nobody else reads it");
        }
        first.server_config().expect("TLS takes it");
    }

    #[test]
    fn a_private_root_is_told_from_a_chain_without_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let identity = self_signed(dir.path(), &names(&["relay.test"])).expect("made");
        assert!(is_self_signed(&identity.chain[1]));
        assert!(!is_self_signed(&identity.chain[0]));
        assert!(!is_self_signed(b"\x30\x84"));
        assert!(!is_self_signed(&[]));
    }

    #[test]
    fn bad_input_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(matches!(self_signed(dir.path(), &[]), Err(CertificateError::NoNames)));
        assert!(matches!(self_signed(dir.path(), &names(&["a b"])), Err(CertificateError::Name(n)) if n == "a b"));
        let missing = from_files(&dir.path().join("cert.pem"), &dir.path().join("key.pem"));
        assert!(matches!(missing, Err(CertificateError::File { doing: "read", .. })));
        let empty = dir.path().join("empty.pem");
        fs::write(&empty, "nothing").expect("written");
        assert!(matches!(from_files(&empty, &empty), Err(CertificateError::Content { what: "certificate", .. })));
    }
}
