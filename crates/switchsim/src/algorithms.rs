//! What the SSH server offers, and its host key.

use std::borrow::Cow;
use std::sync::OnceLock;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData, RsaKeypair};
use russh::keys::{Algorithm, HashAlg, PrivateKey};
use russh::{Preferred, cipher, kex, mac};

use crate::profile::{Algorithms, Profile};
use crate::sim::StartError;

/// The lists to negotiate with.
pub(crate) fn preferred(algorithms: &Algorithms) -> Result<Preferred, StartError> {
    let old = |kex: &'static [kex::Name], cipher: &'static [cipher::Name]| Preferred {
        kex: Cow::Borrowed(kex),
        key: Cow::Borrowed(&[Algorithm::Rsa { hash: None }]),
        cipher: Cow::Borrowed(cipher),
        mac: Cow::Borrowed(&[mac::HMAC_SHA1]),
        ..Preferred::DEFAULT
    };
    Ok(match algorithms {
        Algorithms::Modern => Preferred::DEFAULT,
        Algorithms::Legacy => {
            old(&[kex::DH_G14_SHA1], &[cipher::AES_256_CBC, cipher::AES_192_CBC, cipher::AES_128_CBC])
        }
        Algorithms::Ancient => old(&[kex::DH_G1_SHA1], &[cipher::TRIPLE_DES_CBC, cipher::AES_128_CBC]),
        Algorithms::Named { kex, key, cipher, mac } => Preferred {
            kex: names(kex, |name| kex::Name::try_from(name).ok())?,
            key: names(key, |name| name.parse().ok())?,
            cipher: names(cipher, |name| cipher::Name::try_from(name).ok())?,
            mac: names(mac, |name| mac::Name::try_from(name).ok())?,
            ..Preferred::DEFAULT
        },
    })
}

/// The host key that goes with them.
pub(crate) fn host_key(profile: &Profile) -> Result<PrivateKey, StartError> {
    let rsa = match &profile.algorithms {
        Algorithms::Modern => false,
        Algorithms::Legacy | Algorithms::Ancient => true,
        Algorithms::Named { key, .. } => key.iter().any(|name| name.contains("rsa")),
    };
    if rsa {
        return rsa_key();
    }
    let key = match profile.seed {
        Some(seed) => PrivateKey::from(Ed25519Keypair::from_seed(&seed)),
        None => PrivateKey::random(&mut UnwrapErr(SysRng), Algorithm::Ed25519).map_err(StartError::Key)?,
    };
    Ok(key)
}

/// `SHA256:…`
pub(crate) fn fingerprint(key: &PrivateKey) -> String {
    key.public_key().fingerprint(HashAlg::Sha256).to_string()
}

/// Making one takes long, so there is one for the whole process.
fn rsa_key() -> Result<PrivateKey, StartError> {
    static KEY: OnceLock<PrivateKey> = OnceLock::new();
    if let Some(key) = KEY.get() {
        return Ok(key.clone());
    }
    let pair = RsaKeypair::random(&mut UnwrapErr(SysRng), RSA_BITS).map_err(StartError::Key)?;
    let key = PrivateKey::new(KeypairData::from(pair), "switchsim").map_err(StartError::Key)?;
    Ok(KEY.get_or_init(|| key).clone())
}

fn names<T: Clone>(names: &[String], parse: impl Fn(&str) -> Option<T>) -> Result<Cow<'static, [T]>, StartError> {
    let parsed: Result<Vec<T>, StartError> =
        names.iter().map(|name| parse(name).ok_or_else(|| StartError::Algorithm(name.clone()))).collect();
    Ok(Cow::Owned(parsed?))
}

/// Bits of an RSA host key: old switches made keys of this size.
const RSA_BITS: usize = 2048;
