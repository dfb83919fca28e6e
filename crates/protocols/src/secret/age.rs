//! The age v1 format, as far as secrets need it: `ssh-ed25519` recipients, one chunk of content, and one stanza of our own.
//!
//! What is read is exactly what is written, byte for byte of the frame: a first stanza with the binding, then recipients
//! of one type and length. Other age tools skip a stanza that they do not know, so they open these files; what else they
//! can write is refused here. That leaves hardly anything to parse, and bounds everything by the length of the input.

use std::collections::BTreeSet;

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use curve25519_dalek::MontgomeryPoint;
use data_encoding::BASE64_NOPAD;
use hkdf::Hkdf;
use hkdf::hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::tags::{Tag, Tags, ssh_wire};
use super::{BadSealedText, RECIPIENTS_MAX, SECRET_BYTES_MAX};
use crate::ids::NodeId;
use crate::key::SecretKey;

/// What a recipient takes in the file: its type, tag and share on one line, the wrapped key on the next.
pub(super) const STANZA_BYTES: usize = RECIPIENT.len() + TAG_CHARS + 1 + KEY_CHARS + 1 + KEY_CHARS + 1;

const VERSION: &[u8] = b"age-encryption.org/v1\n";
const BINDING: &[u8] = b"-> flotilla-secret-1 ";
const RECIPIENT: &[u8] = b"-> ssh-ed25519 ";
const MAC: &[u8] = b"---";
/// The label of key derivations for recipients.
const LABEL: &[u8] = b"age-encryption.org/v1/ssh-ed25519";
/// Base64 characters of a tag.
const TAG_CHARS: usize = 6;
/// Base64 characters of 32 bytes.
const KEY_CHARS: usize = 43;
/// Bytes of the nonce before the content.
const NONCE_BYTES: usize = 16;
/// Bytes that encryption adds.
const OVERHEAD_BYTES: usize = 16;

pub(super) enum SealFailure {
    BadRecipient(NodeId),
    Cipher,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpenFailure {
    NotARecipient,
    Altered,
}

/// The parts of a file.
pub(super) struct Parts<'a> {
    pub(super) binding: [u8; 32],
    recipients: Vec<Recipient>,
    /// What the authentication covers.
    head: &'a [u8],
    mac: [u8; 32],
    nonce: &'a [u8],
    content: &'a [u8],
}

struct Recipient {
    tag: Tag,
    share: [u8; 32],
    wrapped: [u8; 32],
}

impl Parts<'_> {
    pub(super) fn tags(&self) -> Tags {
        self.recipients.iter().map(|recipient| recipient.tag).collect()
    }
}

pub(super) fn seal(binding: &[u8; 32], content: &[u8], recipients: &BTreeSet<NodeId>) -> Result<Vec<u8>, SealFailure> {
    let mut file_key = Zeroizing::new([0; 16]);
    fill(&mut *file_key)?;
    let mut file = Vec::with_capacity(recipients.len() * STANZA_BYTES + content.len() + 256);
    file.extend_from_slice(VERSION);
    file.extend_from_slice(BINDING);
    push_base64(&mut file, binding);
    // A stanza without a body ends with the empty line that a body of that length is.
    file.extend_from_slice(b"\n\n");
    for id in recipients {
        let (share, wrapped) = wrap(*id, &file_key)?;
        file.extend_from_slice(RECIPIENT);
        push_base64(&mut file, &Tag::of(*id).0);
        file.push(b' ');
        push_base64(&mut file, &share);
        file.push(b'\n');
        push_base64(&mut file, &wrapped);
        file.push(b'\n');
    }
    file.extend_from_slice(MAC);
    let mac = header_mac(&file_key, &file).finalize().into_bytes();
    file.push(b' ');
    push_base64(&mut file, &mac);
    file.push(b'\n');
    let mut nonce = [0; NONCE_BYTES];
    fill(&mut nonce)?;
    file.extend_from_slice(&nonce);
    let key = derive(&nonce, &*file_key, b"payload");
    let sealed = cipher(&key).encrypt(&last_chunk(), content).map_err(|_| SealFailure::Cipher)?;
    file.extend_from_slice(&sealed);
    Ok(file)
}

pub(super) fn open(file: &[u8], key: &SecretKey) -> Result<Zeroizing<Vec<u8>>, OpenFailure> {
    let parts = parse(file).map_err(|_| OpenFailure::Altered)?;
    let tag = Tag::of(key.id());
    let ours = parts.recipients.iter().filter(|recipient| recipient.tag == tag);
    let file_key = ours.into_iter().find_map(|recipient| unwrap(recipient, key)).ok_or(OpenFailure::NotARecipient)?;
    header_mac(&file_key, parts.head).verify_slice(&parts.mac).map_err(|_| OpenFailure::Altered)?;
    let key = derive(parts.nonce, &*file_key, b"payload");
    cipher(&key).decrypt(&last_chunk(), parts.content).map(Zeroizing::new).map_err(|_| OpenFailure::Altered)
}

pub(super) fn parse(file: &[u8]) -> Result<Parts<'_>, BadSealedText> {
    let bad = |why| move || BadSealedText(why);
    let rest = file.strip_prefix(VERSION).ok_or_else(bad("it does not begin as an age file"))?;
    let rest = rest.strip_prefix(BINDING).ok_or_else(bad("it is an age file that flt did not make"))?;
    let (binding, rest) = take_key(rest).ok_or_else(bad("its binding is cut off"))?;
    let mut rest = rest.strip_prefix(b"\n\n").ok_or_else(bad("its binding is too long"))?;
    let mut recipients = Vec::new();
    while let Some(stanza) = rest.strip_prefix(RECIPIENT) {
        if recipients.len() >= RECIPIENTS_MAX {
            return Err(BadSealedText("it has more recipients than are allowed"));
        }
        let (recipient, after) = take_recipient(stanza).ok_or_else(bad("one of its recipients is malformed"))?;
        recipients.push(recipient);
        rest = after;
    }
    if recipients.is_empty() {
        return Err(BadSealedText("it has no recipient that is an ssh-ed25519 key"));
    }
    let rest = rest.strip_prefix(MAC).ok_or_else(bad("it has something else than recipients"))?;
    let head = &file[..file.len() - rest.len()];
    let rest = rest.strip_prefix(b" ").ok_or_else(bad("its header does not end"))?;
    let (mac, rest) = take_key(rest).ok_or_else(bad("its header does not end"))?;
    let rest = rest.strip_prefix(b"\n").ok_or_else(bad("its header does not end"))?;
    if rest.len() < NONCE_BYTES + OVERHEAD_BYTES {
        return Err(BadSealedText("its content is cut off"));
    }
    let (nonce, content) = rest.split_at(NONCE_BYTES);
    if content.len() > SECRET_BYTES_MAX + OVERHEAD_BYTES {
        return Err(BadSealedText("its content is longer than a secret may be"));
    }
    Ok(Parts { binding, recipients, head, mac, nonce, content })
}

fn take_recipient(stanza: &[u8]) -> Option<(Recipient, &[u8])> {
    let (tag, rest) = stanza.split_at_checked(TAG_CHARS)?;
    let tag = Tag(<[u8; 4]>::try_from(BASE64_NOPAD.decode(tag).ok()?).ok()?);
    let (share, rest) = take_key(rest.strip_prefix(b" ")?)?;
    let (wrapped, rest) = take_key(rest.strip_prefix(b"\n")?)?;
    Some((Recipient { tag, share, wrapped }, rest.strip_prefix(b"\n")?))
}

/// 32 bytes in base64; in one way only, since trailing bits must be zero.
fn take_key(text: &[u8]) -> Option<([u8; 32], &[u8])> {
    let (key, rest) = text.split_at_checked(KEY_CHARS)?;
    Some((BASE64_NOPAD.decode(key).ok()?.try_into().ok()?, rest))
}

fn push_base64(file: &mut Vec<u8>, bytes: &[u8]) {
    file.extend_from_slice(BASE64_NOPAD.encode(bytes).as_bytes());
}

/// The key of the file for one recipient: our share, and the key under the secret that it gives with theirs.
fn wrap(id: NodeId, file_key: &[u8; 16]) -> Result<([u8; 32], Vec<u8>), SealFailure> {
    let theirs = id.x25519().filter(|_| id.is_key()).ok_or(SealFailure::BadRecipient(id))?;
    let mut ephemeral = Zeroizing::new([0; 32]);
    fill(&mut *ephemeral)?;
    let share = MontgomeryPoint::mul_base_clamped(*ephemeral).to_bytes();
    let shared = agree(&ephemeral, &theirs, id).ok_or(SealFailure::BadRecipient(id))?;
    let key = wrapping_key(&shared, &share, &theirs);
    let wrapped = cipher(&key).encrypt(&Nonce::default(), file_key.as_slice()).map_err(|_| SealFailure::Cipher)?;
    Ok((share, wrapped))
}

fn unwrap(recipient: &Recipient, key: &SecretKey) -> Option<Zeroizing<[u8; 16]>> {
    let (id, secret) = (key.id(), key.x25519());
    let ours = id.x25519()?;
    let shared = agree(&secret, &recipient.share, id)?;
    let key = wrapping_key(&shared, &recipient.share, &ours);
    let plain = Zeroizing::new(cipher(&key).decrypt(&Nonce::default(), recipient.wrapped.as_slice()).ok()?);
    Some(Zeroizing::new(plain.as_slice().try_into().ok()?))
}

/// The shared secret, turned once more by a value that depends on the SSH key. None for a share that gives no secret.
fn agree(secret: &Zeroizing<[u8; 32]>, point: &[u8; 32], ssh: NodeId) -> Option<Zeroizing<[u8; 32]>> {
    let tweak = derive(&ssh_wire(ssh), &[], LABEL);
    let shared = Zeroizing::new(MontgomeryPoint(*point).mul_clamped(**secret).to_bytes());
    if *shared == [0; 32] {
        return None;
    }
    Some(Zeroizing::new(MontgomeryPoint(*shared).mul_clamped(*tweak).to_bytes()))
}

fn wrapping_key(shared: &[u8; 32], share: &[u8; 32], theirs: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    derive(&[share.as_slice(), theirs.as_slice()].concat(), shared, LABEL)
}

fn header_mac(file_key: &[u8; 16], head: &[u8]) -> Hmac<Sha256> {
    let key = derive(&[], file_key, b"header");
    // An HMAC takes keys of every length.
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&*key).unwrap_or_else(|_| unreachable!("32 bytes are a key"));
    mac.update(head);
    mac
}

fn derive(salt: &[u8], secret: &[u8], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let expanded = Hkdf::<Sha256>::new(Some(salt), secret).expand(label, &mut *key);
    expanded.unwrap_or_else(|_| unreachable!("32 bytes are one block"));
    key
}

fn cipher(key: &Zeroizing<[u8; 32]>) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new((&**key).into())
}

/// The nonce of a first chunk that is the last one.
fn last_chunk() -> Nonce {
    let mut nonce = Nonce::default();
    nonce[11] = 1;
    nonce
}

fn fill(bytes: &mut [u8]) -> Result<(), SealFailure> {
    getrandom::fill(bytes).map_err(|_| SealFailure::Cipher)
}
