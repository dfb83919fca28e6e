//! Which algorithms are used: the good ones, and old ones only as declared, one rung at a time.

use std::borrow::Cow;

use russh::client::GexParams;
use russh::keys::Algorithm;
use russh::{AlgorithmKind, Preferred, cipher, kex, mac};

/// What is offered to a device so far.
#[derive(Debug, Clone)]
pub(super) struct Ladder {
    allowed: Vec<String>,
    kex: Vec<kex::Name>,
    key: Vec<Algorithm>,
    cipher: Vec<cipher::Name>,
    mac: Vec<mac::Name>,
}

impl Ladder {
    /// The good ones alone.
    pub(super) fn new(allowed: &[String]) -> Self {
        let good = Preferred::DEFAULT;
        let sha1 = Algorithm::Rsa { hash: None };
        Self {
            allowed: allowed.to_vec(),
            kex: good.kex.to_vec(),
            key: good.key.iter().filter(|key| **key != sha1).cloned().collect(),
            cipher: good.cipher.to_vec(),
            mac: good.mac.to_vec(),
        }
    }

    /// Adds what the device offers, the declaration allows and was not offered yet.
    ///
    /// # Errors
    /// What can be done when there is nothing of the kind.
    pub(super) fn climb(&mut self, kind: &AlgorithmKind, theirs: &[String]) -> Result<(), String> {
        let known = match kind {
            AlgorithmKind::Kex => KEX.iter().map(|(name, _)| *name).collect(),
            AlgorithmKind::Key => KEYS.to_vec(),
            AlgorithmKind::Cipher => CIPHERS.iter().map(|(name, _)| *name).collect(),
            AlgorithmKind::Mac => MACS.iter().map(|(name, _)| *name).collect(),
            AlgorithmKind::Compression => Vec::new(),
        };
        let offered: Vec<&str> = known.into_iter().filter(|name| theirs.iter().any(|their| their == name)).collect();
        let allowed = offered.iter().find(|name| self.allowed.iter().any(|allowed| allowed == *name));
        let next = match allowed {
            Some(name) if !self.has(name) => *name,
            _ if offered.is_empty() => return Err("none of these is supported".into()),
            _ => return Err(format!("`legacy` in its declaration may allow {}", offered.join(" or "))),
        };
        if let Some((_, name)) = KEX.iter().find(|(name, _)| *name == next) {
            self.kex.push(*name);
        } else if let Some((_, name)) = CIPHERS.iter().find(|(name, _)| *name == next) {
            self.cipher.push(*name);
        } else if let Some((_, name)) = MACS.iter().find(|(name, _)| *name == next) {
            self.mac.push(*name);
        } else {
            self.key.push(if next == "ssh-dss" { Algorithm::Dsa } else { Algorithm::Rsa { hash: None } });
        }
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.kex.iter().any(|known| known.as_ref() == name)
            || self.cipher.iter().any(|known| known.as_ref() == name)
            || self.mac.iter().any(|known| known.as_ref() == name)
            || self.key.iter().any(|known| known.as_str() == name)
    }

    pub(super) fn preferred(&self) -> Preferred {
        Preferred {
            kex: Cow::Owned(self.kex.clone()),
            key: Cow::Owned(self.key.clone()),
            cipher: Cow::Owned(self.cipher.clone()),
            mac: Cow::Owned(self.mac.clone()),
            ..Preferred::DEFAULT
        }
    }

    /// Groups of 2048 bits are what old switches have at most; smaller ones are never taken.
    pub(super) fn groups(&self) -> GexParams {
        let old = self.kex.contains(&kex::DH_GEX_SHA1);
        GexParams::new(2048, if old { 2048 } else { 3072 }, 8192).unwrap_or_default()
    }
}

/// What an algorithm is for.
pub(super) const fn purpose(kind: &AlgorithmKind) -> &'static str {
    match kind {
        AlgorithmKind::Kex => "a key exchange",
        AlgorithmKind::Key => "a host key",
        AlgorithmKind::Cipher => "a cipher",
        AlgorithmKind::Mac => "a MAC",
        AlgorithmKind::Compression => "a compression",
    }
}

/// Every old algorithm that a declaration may allow, best first.
pub fn known_legacy() -> Vec<&'static str> {
    let kex = KEX.iter().map(|(name, _)| *name);
    let ciphers = CIPHERS.iter().map(|(name, _)| *name);
    kex.chain(KEYS.iter().copied()).chain(ciphers).chain(MACS.iter().map(|(name, _)| *name)).collect()
}

pub(crate) fn check_legacy(names: &[String]) -> Result<(), String> {
    let known = known_legacy();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(odd) => Err(format!("`legacy` names {odd:?}; it may name {}", known.join(", "))),
        None => Ok(()),
    }
}

/// Best first, as are the lists below.
const KEX: &[(&str, kex::Name)] = &[
    ("ecdh-sha2-nistp521", kex::ECDH_SHA2_NISTP521),
    ("ecdh-sha2-nistp384", kex::ECDH_SHA2_NISTP384),
    ("ecdh-sha2-nistp256", kex::ECDH_SHA2_NISTP256),
    ("diffie-hellman-group-exchange-sha1", kex::DH_GEX_SHA1),
    ("diffie-hellman-group14-sha1", kex::DH_G14_SHA1),
    ("diffie-hellman-group1-sha1", kex::DH_G1_SHA1),
];
const KEYS: &[&str] = &["ssh-rsa", "ssh-dss"];
const CIPHERS: &[(&str, cipher::Name)] = &[
    ("aes256-cbc", cipher::AES_256_CBC),
    ("aes192-cbc", cipher::AES_192_CBC),
    ("aes128-cbc", cipher::AES_128_CBC),
    ("3des-cbc", cipher::TRIPLE_DES_CBC),
];
const MACS: &[(&str, mac::Name)] = &[("hmac-sha1-etm@openssh.com", mac::HMAC_SHA1_ETM), ("hmac-sha1", mac::HMAC_SHA1)];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_rung_is_declared_and_offered() {
        let theirs = names(&["diffie-hellman-group1-sha1", "diffie-hellman-group14-sha1"]);
        let mut none = Ladder::new(&[]);
        let hint = none.climb(&AlgorithmKind::Kex, &theirs).unwrap_err();
        assert_eq!(
            hint,
            "`legacy` in its declaration may allow diffie-hellman-group14-sha1 or diffie-hellman-group1-sha1"
        );
        let mut one = Ladder::new(&names(&["diffie-hellman-group1-sha1"]));
        let before = one.preferred().kex.len();
        one.climb(&AlgorithmKind::Kex, &theirs).unwrap();
        assert_eq!(one.preferred().kex.last(), Some(&kex::DH_G1_SHA1));
        assert_eq!(one.preferred().kex.len(), before + 1);
        assert!(one.climb(&AlgorithmKind::Kex, &theirs).is_err(), "the same rung twice");
        assert!(one.climb(&AlgorithmKind::Mac, &names(&["hmac-md5"])).unwrap_err().contains("none of these"));
        assert!(!Ladder::new(&[]).preferred().key.contains(&Algorithm::Rsa { hash: None }));
    }

    #[test]
    fn only_known_names_are_declared() {
        assert!(check_legacy(&names(&["ssh-rsa", "3des-cbc"])).is_ok());
        assert!(check_legacy(&names(&["arcfour"])).is_err());
    }
}
