//! Whether the host key is the one that is declared.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use russh::client::{Handler, Session};
use russh::keys::known_hosts::known_host_keys_path;
use russh::keys::{HashAlg, PublicKey, PublicKeyOrCertificate, check_known_hosts_path};

use crate::HostKey;
use crate::session::SessionError;

/// Judges the host key, and remembers what was seen.
pub(crate) struct Witness {
    host: String,
    port: u16,
    known: Option<HostKey>,
    told: Told,
}

/// What a [`Witness`] saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) fingerprint: String,
    pub(super) agreed: Vec<String>,
    pub(super) objection: Option<SessionError>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Told(Arc<Mutex<Seen>>);

impl Told {
    pub(super) fn take(&self) -> Seen {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Witness {
    /// Without anything known, every key is looked at and let through.
    pub(super) fn new(host: String, port: u16, known: Option<HostKey>) -> (Self, Told) {
        let told = Told::default();
        (Self { host, port, known, told: told.clone() }, told)
    }

    fn judge(&self, key: &PublicKey, found: &str) -> Result<(), SessionError> {
        let address = format!("{}:{}", self.host, self.port);
        let refuse =
            |expected: String| SessionError::HostKey { address: address.clone(), found: found.into(), expected };
        match &self.known {
            None => Ok(()),
            Some(HostKey::Fingerprint(declared)) if declared == found => Ok(()),
            Some(HostKey::Fingerprint(declared)) => Err(refuse(format!("its declaration says {declared}"))),
            Some(HostKey::KnownHosts(path)) => self.look_up(key, path, refuse),
        }
    }

    fn look_up(
        &self,
        key: &PublicKey,
        path: &Path,
        refuse: impl Fn(String) -> SessionError,
    ) -> Result<(), SessionError> {
        let shown = path.display();
        let failed = |source| SessionError::KnownHosts { path: shown.to_string(), source: Box::new(source) };
        match check_known_hosts_path(&self.host, self.port, key, path) {
            Ok(true) => Ok(()),
            Err(russh::keys::Error::KeyChanged { line }) => {
                Err(refuse(format!("line {line} of `{shown}` has another of this type")))
            }
            Err(error) => Err(failed(error)),
            // Known by a key of another type only: whoever has no such key would offer one of a type that is unknown.
            Ok(false) => match known_host_keys_path(&self.host, self.port, path) {
                Ok(known) if known.is_empty() => Err(refuse(format!("`{shown}` has none for it"))),
                Ok(known) => {
                    let types: Vec<String> = known.iter().map(|(_, key)| key.algorithm().to_string()).collect();
                    Err(refuse(format!("`{shown}` knows it only by {}", types.join(", "))))
                }
                Err(error) => Err(failed(error)),
            },
        }
    }
}

impl Handler for Witness {
    type Error = russh::Error;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = offered else {
            return Ok(false);
        };
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let judged = self.judge(key, &fingerprint);
        let good = judged.is_ok();
        self.told.note(|seen| {
            seen.fingerprint = fingerprint;
            seen.objection = judged.err();
        });
        Ok(good)
    }

    async fn kex_done(
        &mut self,
        _secret: Option<&[u8]>,
        names: &russh::Names,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let agreed = vec![
            names.kex.as_ref().to_owned(),
            names.key.to_string(),
            names.cipher.as_ref().to_owned(),
            names.client_mac.as_ref().to_owned(),
        ];
        self.told.note(|seen| seen.agreed = agreed);
        Ok(())
    }
}
