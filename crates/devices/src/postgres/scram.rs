//! What PostgreSQL stores of a password: made here, so that the password itself is in no statement and in no log.

use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

/// Why a secret cannot be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ScramError {
    /// Others would have to be prepared in a way that not every client does.
    #[error("a password has 1 to {PASSWORD_BYTES_MAX} printable ASCII characters, and no line break at its end")]
    Characters,
    /// The operating system.
    #[error("no random bytes are to be had")]
    Random,
}

/// What PostgreSQL is to store of this password, with a salt of its own.
pub(super) fn verifier(password: &[u8]) -> Result<String, ScramError> {
    let sound = password.iter().all(|byte| (0x20..0x7f).contains(byte));
    if !sound || password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        return Err(ScramError::Characters);
    }
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|_| ScramError::Random)?;
    Ok(stored(password, &salt, ITERATIONS))
}

/// Whether what PostgreSQL stores is of this password.
pub(super) fn is_of(known: &str, password: &[u8]) -> bool {
    let parts = known.strip_prefix(PREFIX).and_then(|rest| rest.split_once('$')?.0.split_once(':'));
    let Some((iterations, salt)) = parts else { return false };
    let (Ok(iterations), Ok(salt)) = (iterations.parse(), BASE64.decode(salt.as_bytes())) else { return false };
    (1..=ITERATIONS_MAX).contains(&iterations) && stored(password, &salt, iterations) == known
}

fn stored(password: &[u8], salt: &[u8], iterations: u32) -> String {
    let salted = salted(password, salt, iterations);
    let stored = Sha256::digest(hmac(&salted, b"Client Key"));
    let server = hmac(&salted, b"Server Key");
    let (salt, stored, server) = (BASE64.encode(salt), BASE64.encode(&stored), BASE64.encode(&server));
    format!("{PREFIX}{iterations}:{salt}${stored}:{server}")
}

/// PBKDF2 for one block (RFC 8018), which is all that SCRAM wants.
fn salted(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    let mut last = hmac(password, &[salt, &1_u32.to_be_bytes()].concat());
    let mut all = last;
    for _ in 1..iterations {
        last = hmac(password, &last);
        for (all, last) in all.iter_mut().zip(last) {
            *all ^= last;
        }
    }
    all
}

/// HMAC-SHA-256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

const PREFIX: &str = "SCRAM-SHA-256$";
/// As PostgreSQL itself makes them.
const ITERATIONS: u32 = 4096;
const SALT_BYTES: usize = 16;
/// What is computed for somebody else's number at most.
const ITERATIONS_MAX: u32 = 100_000;
const PASSWORD_BYTES_MAX: usize = 256;
const BLOCK_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677.
    #[test]
    fn the_keys_are_those_of_the_standard() {
        let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = salted(b"pencil", &salt, 4096);
        let message = b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let client = hmac(&salted, b"Client Key");
        let signature = hmac(&Sha256::digest(client), message);
        let proof: Vec<u8> = client.iter().zip(signature).map(|(key, signed)| key ^ signed).collect();
        assert_eq!(BASE64.encode(&proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let server = hmac(&hmac(&salted, b"Server Key"), message);
        assert_eq!(BASE64.encode(&server), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_stored_password_is_known_again_and_no_other() {
        let (first, second) = (verifier(b"correct horse").unwrap(), verifier(b"correct horse").unwrap());
        assert_ne!(first, second, "each has its own salt");
        assert!(is_of(&first, b"correct horse") && is_of(&second, b"correct horse"));
        assert!(!is_of(&first, b"correct horsf"));
        for known in ["", "md5abc", "SCRAM-SHA-256$4096:!$a:b", "SCRAM-SHA-256$0:c2FsdA==$a:b", "SCRAM-SHA-256$9"] {
            assert!(!is_of(known, b"x"), "{known}");
        }
        assert!(!is_of(&first.replace("4096:", "4294967295:"), b"correct horse"));
        for password in [&b""[..], b"line\n", "caf\u{e9}".as_bytes(), &[b'x'; PASSWORD_BYTES_MAX + 1]] {
            assert_eq!(verifier(password), Err(ScramError::Characters));
        }
    }

    #[test]
    fn long_keys_are_hashed_first() {
        // RFC 4231, case 6.
        let digest = hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        assert_eq!(data_encoding::HEXLOWER.encode(&digest), expected);
    }
}
