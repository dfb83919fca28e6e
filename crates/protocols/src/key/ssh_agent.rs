//! Keys that stay in an ssh-agent: it is asked to sign, and never gives a key away.
//!
//! An agent signs any bytes with plain ed25519, so its signatures are those of [`SecretKey::sign`](super::SecretKey::sign).
//! None of ours can pass for one of SSH's: those begin with a length or with `SSHSIG`, ours with their domain.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Signature;
use crate::ids::NodeId;

/// The longest message of the agent's protocol, in bytes: OpenSSH's own bound.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// How long an agent may take to list its keys.
pub const LIST_WITHIN: Duration = Duration::from_secs(10);
/// How long an agent may take to sign: it may ask its person.
pub const SIGN_WITHIN: Duration = Duration::from_secs(120);
/// The most keys of an agent that are looked at.
const KEYS_MAX: u32 = 1024;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const ED25519: &[u8] = b"ssh-ed25519";

/// An ssh-agent at its socket.
#[derive(Debug, Clone)]
pub struct SshAgent {
    socket: PathBuf,
}

/// A key that an agent holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldKey {
    /// The key.
    pub id: NodeId,
    /// What its owner noted.
    pub comment: String,
}

/// Why an agent did not help.
#[derive(Debug, thiserror::Error)]
pub enum SshAgentError {
    /// The socket.
    #[error("cannot speak with the ssh-agent at {socket}")]
    Socket {
        /// Where it is.
        socket: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It said no.
    #[error("the ssh-agent does not sign: it is locked, does not hold the key {0}, or its person refused")]
    Refused(NodeId),
    /// It does not list its keys.
    #[error("the ssh-agent does not list its keys: it is locked")]
    Locked,
    /// Not what an agent says.
    #[error("what the ssh-agent says is not understood")]
    Confused,
    /// More than an agent takes.
    #[error("the ssh-agent signs at most {MESSAGE_BYTES_MAX} bytes, and this has {0}")]
    TooLarge(usize),
    /// Its signature does not hold.
    #[error("the ssh-agent's signature is not that of the key {0}")]
    BadSignature(NodeId),
}

impl SshAgent {
    /// The agent at a socket, as `SSH_AUTH_SOCK` names it. Nothing is connected yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Where it is.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The ed25519 keys that it holds.
    ///
    /// # Errors
    /// [`SshAgentError`].
    pub fn keys(&self) -> Result<Vec<HeldKey>, SshAgentError> {
        let answer = self.ask(REQUEST_IDENTITIES, &[], LIST_WITHIN)?;
        let mut rest = match answer.split_first() {
            Some((&IDENTITIES_ANSWER, rest)) => rest,
            Some((&FAILURE, _)) => return Err(SshAgentError::Locked),
            _ => return Err(SshAgentError::Confused),
        };
        let count = number(&mut rest)?;
        let mut keys = Vec::new();
        for _ in 0..count.min(KEYS_MAX) {
            let (mut blob, comment) = (string(&mut rest)?, string(&mut rest)?);
            if string(&mut blob)? != ED25519 {
                continue;
            }
            let key = <[u8; 32]>::try_from(string(&mut blob)?).map_err(|_| SshAgentError::Confused)?;
            let comment = String::from_utf8_lossy(comment).chars().filter(|c| !c.is_control()).collect();
            keys.push(HeldKey { id: NodeId::from_bytes(key), comment });
        }
        Ok(keys)
    }

    /// Has `domain ‖ message` signed by a key that it holds.
    ///
    /// # Errors
    /// [`SshAgentError`].
    pub fn sign(&self, key: NodeId, domain: &[u8], message: &[u8]) -> Result<Signature, SshAgentError> {
        let mut blob = Vec::new();
        put(&mut blob, ED25519);
        put(&mut blob, key.as_bytes());
        let mut request = Vec::new();
        put(&mut request, &blob);
        put(&mut request, &[domain, message].concat());
        request.extend_from_slice(&0_u32.to_be_bytes());
        let answer = self.ask(SIGN_REQUEST, &request, SIGN_WITHIN)?;
        let mut rest = match answer.split_first() {
            Some((&SIGN_RESPONSE, rest)) => rest,
            Some((&FAILURE, _)) => return Err(SshAgentError::Refused(key)),
            _ => return Err(SshAgentError::Confused),
        };
        let mut signature = string(&mut rest)?;
        if string(&mut signature)? != ED25519 {
            return Err(SshAgentError::Confused);
        }
        let bytes = <[u8; 64]>::try_from(string(&mut signature)?).map_err(|_| SshAgentError::Confused)?;
        let signature = Signature::from_bytes(bytes);
        if !key.verifies(domain, message, &signature) {
            return Err(SshAgentError::BadSignature(key));
        }
        Ok(signature)
    }

    fn ask(&self, kind: u8, payload: &[u8], within: Duration) -> Result<Vec<u8>, SshAgentError> {
        let length = payload.len() + 1;
        if length > MESSAGE_BYTES_MAX {
            return Err(SshAgentError::TooLarge(length));
        }
        let failed = |source| SshAgentError::Socket { socket: self.socket.clone(), source };
        let mut stream = UnixStream::connect(&self.socket).map_err(failed)?;
        stream.set_read_timeout(Some(within)).map_err(failed)?;
        stream.set_write_timeout(Some(within)).map_err(failed)?;
        let mut message = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes().to_vec();
        message.push(kind);
        message.extend_from_slice(payload);
        stream.write_all(&message).map_err(failed)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length).map_err(failed)?;
        let length = u32::from_be_bytes(length) as usize;
        if length == 0 || length > MESSAGE_BYTES_MAX {
            return Err(SshAgentError::Confused);
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).map_err(failed)?;
        Ok(answer)
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn number(rest: &mut &[u8]) -> Result<u32, SshAgentError> {
    let (head, tail) = rest.split_first_chunk::<4>().ok_or(SshAgentError::Confused)?;
    *rest = tail;
    Ok(u32::from_be_bytes(*head))
}

fn string<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], SshAgentError> {
    let length = number(rest)? as usize;
    let (head, tail) = rest.split_at_checked(length).ok_or(SshAgentError::Confused)?;
    *rest = tail;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::key::SecretKey;

    /// An agent that answers one request with these bytes.
    fn one_answer(answer: Vec<u8>) -> (tempfile::TempDir, SshAgent) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(&answer).unwrap();
        });
        (dir, SshAgent::new(socket))
    }

    fn framed(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, bytes);
        out
    }

    fn signed(by: &SecretKey, message: &[u8]) -> Vec<u8> {
        let mut signature = Vec::new();
        put(&mut signature, ED25519);
        put(&mut signature, by.sign(b"d", message).as_bytes());
        let mut answer = vec![SIGN_RESPONSE];
        put(&mut answer, &signature);
        framed(&answer)
    }

    #[test]
    fn a_signature_is_believed_only_if_it_holds() {
        let key = SecretKey::from_seed(&[4; 32]);
        let (_dir, agent) = one_answer(signed(&key, b"m"));
        assert_eq!(agent.sign(key.id(), b"d", b"m").unwrap(), key.sign(b"d", b"m"));
        let (_dir, agent) = one_answer(signed(&key, b"another"));
        assert!(matches!(agent.sign(key.id(), b"d", b"m"), Err(SshAgentError::BadSignature(_))));
        let (_dir, agent) = one_answer(framed(&[FAILURE]));
        assert!(matches!(agent.sign(key.id(), b"d", b"m"), Err(SshAgentError::Refused(_))));
        let huge = vec![0; MESSAGE_BYTES_MAX];
        assert!(matches!(agent.sign(key.id(), b"d", &huge), Err(SshAgentError::TooLarge(_))));
    }

    #[test]
    fn nonsense_is_no_answer() {
        let mut cut = vec![IDENTITIES_ANSWER, 0, 0, 0, 9];
        cut.extend_from_slice(&[0, 0, 1, 0]);
        for answer in [framed(&[]), framed(&[99]), framed(&cut), vec![255, 255, 255, 255], framed(&[IDENTITIES_ANSWER])]
        {
            let (_dir, agent) = one_answer(answer);
            assert!(matches!(agent.keys(), Err(SshAgentError::Confused)));
        }
        let (_dir, agent) = one_answer(vec![0, 0]);
        assert!(matches!(agent.keys(), Err(SshAgentError::Socket { .. })));
        assert!(matches!(SshAgent::new("/nonexistent").keys(), Err(SshAgentError::Socket { .. })));
    }
}
