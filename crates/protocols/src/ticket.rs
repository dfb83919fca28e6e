//! Tickets: one copyable string with all that is needed to reach a fleet, and perhaps to join it.
//!
//! `flt1…` is base32 of a postcard of [`Ticket`] and the first four bytes of its BLAKE3, so that a truncated or mistyped
//! ticket is recognised as such. A ticket with an invite is a secret; one without is not.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::addr::{ADDRS_MAX, PeerAddr};
use crate::ids::{FleetId, Millis, Name};
use crate::key::SecretKey;

/// The longest ticket, in characters.
pub const TICKET_CHARS_MAX: usize = 16 * 1024;
/// The most coordinators in a ticket.
pub const COORDINATORS_MAX: usize = 16;

const PREFIX: &str = "flt1";

/// How to reach a fleet and know it is the right one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The fleet.
    pub fleet: FleetId,
    /// Its name, for people.
    pub name: Name,
    /// Its coordinators and where they are.
    pub coordinators: Vec<PeerAddr>,
    /// The coordinators' relays.
    pub relays: Vec<RelayPin>,
    /// The right to join, if the ticket carries one.
    pub invite: Option<InviteSecret>,
}

/// A relay, and the certificate it must show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayPin {
    /// Its URL.
    pub url: String,
    /// The DER of the only certificate authority accepted for it. Absent: the relay is plain HTTP on loopback, or its
    /// certificate is signed by a public authority.
    #[serde(default, with = "der")]
    pub ca: Option<Vec<u8>>,
    /// The UDP port on which it tells nodes their public address, if it does.
    #[serde(default)]
    pub quic_port: Option<u16>,
}

/// A certificate: base64 where people may read it, bytes elsewhere.
mod der {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(der: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            der.as_ref().map(|der| data_encoding::BASE64.encode(der)).serialize(serializer)
        } else {
            der.serialize(serializer)
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        if !deserializer.is_human_readable() {
            return Option::deserialize(deserializer);
        }
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| data_encoding::BASE64.decode(text.as_bytes())).transpose().map_err(D::Error::custom)
    }
}

/// The secret half of an invite.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteSecret {
    seed: [u8; 32],
    /// Until when it can be redeemed, by the ledger's time.
    pub expires: Millis,
    /// The name the node must take, if one was set.
    pub name: Option<Name>,
}

/// Why a text is not a ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTicket {
    /// It does not begin as one.
    #[error("this is no ticket: tickets begin with `{PREFIX}`; see flt admin invite")]
    NotATicket,
    /// Letters that no ticket has.
    #[error("the ticket's character {0} is one that no ticket has: it was mistyped; copy it again, whole")]
    Character(usize),
    /// The checksum does not fit.
    #[error("the ticket is damaged or incomplete: copy it again, whole")]
    Damaged,
    /// Longer than any ticket.
    #[error("the ticket is longer than {TICKET_CHARS_MAX} characters")]
    TooLong,
    /// It was made by a version of `flt` that this one does not know.
    #[error("the ticket was made by another version of flt: ask for one that fits this version, or update flt")]
    OtherVersion,
}

impl InviteSecret {
    /// Wraps an invite's key.
    pub fn new(key: &SecretKey, expires: Millis, name: Option<Name>) -> Self {
        Self { seed: *key.seed(), expires, name }
    }

    /// The invite's key.
    pub fn key(&self) -> SecretKey {
        SecretKey::from_seed(&self.seed)
    }
}

impl fmt::Debug for InviteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteSecret(of {})", self.key().id().short())
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Zeroizing::new(postcard::to_stdvec(self).map_err(|_| fmt::Error)?);
        let sum = blake3::hash(&bytes);
        bytes.extend_from_slice(&sum.as_bytes()[..4]);
        f.write_str(PREFIX)?;
        f.write_str(&data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl FromStr for Ticket {
    type Err = BadTicket;

    fn from_str(text: &str) -> Result<Self, BadTicket> {
        // Terminals and mail break long lines, and codes for cameras prefer capitals.
        let text: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|c| !c.is_whitespace()).take(TICKET_CHARS_MAX + 1).collect());
        if text.len() > TICKET_CHARS_MAX {
            return Err(BadTicket::TooLong);
        }
        let body = match text.split_at_checked(PREFIX.len()) {
            Some((prefix, body)) if prefix.eq_ignore_ascii_case(PREFIX) => body,
            Some((other, _))
                if other.as_bytes()[..3].eq_ignore_ascii_case(b"flt")
                    && other.ends_with(|c: char| c.is_ascii_digit()) =>
            {
                return Err(BadTicket::OtherVersion);
            }
            _ => return Err(BadTicket::NotATicket),
        };
        let known = |c: char| matches!(c, 'a'..='z' | 'A'..='Z' | '2'..='7');
        if let Some(at) = body.chars().position(|c| !known(c)) {
            return Err(BadTicket::Character(PREFIX.len() + at + 1));
        }
        let upper = Zeroizing::new(body.to_ascii_uppercase());
        let bytes = data_encoding::BASE32_NOPAD.decode(upper.as_bytes()).map_err(|_| BadTicket::Damaged)?;
        let bytes = Zeroizing::new(bytes);
        let (payload, sum) = bytes.split_at_checked(bytes.len().saturating_sub(4)).ok_or(BadTicket::Damaged)?;
        if blake3::hash(payload).as_bytes()[..4] != *sum {
            return Err(BadTicket::Damaged);
        }
        let (mut ticket, rest): (Self, _) = postcard::take_from_bytes(payload).map_err(|_| BadTicket::OtherVersion)?;
        if !rest.is_empty()
            || ticket.coordinators.is_empty()
            || ticket.coordinators.len() > COORDINATORS_MAX
            || ticket.relays.len() > COORDINATORS_MAX
        {
            return Err(BadTicket::OtherVersion);
        }
        ticket.coordinators.iter_mut().for_each(|c| c.addrs.truncate(ADDRS_MAX));
        Ok(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        let key = SecretKey::from_seed(&[3; 32]);
        Ticket {
            fleet: FleetId::from_bytes([9; 32]),
            name: "acme".parse().unwrap(),
            coordinators: vec![PeerAddr {
                id: key.id(),
                addrs: vec!["192.0.2.1:4433".parse().unwrap()],
                relay: Some("https://relay.example:4443/".into()),
            }],
            relays: vec![RelayPin {
                url: "https://relay.example:4443/".into(),
                ca: Some(vec![1, 2, 3]),
                quic_port: Some(7842),
            }],
            invite: Some(InviteSecret::new(&key, Millis(5), None)),
        }
    }

    #[test]
    fn tickets_round_trip() {
        let text = ticket().to_string();
        assert_eq!(text.parse::<Ticket>().unwrap(), ticket());
        assert_eq!(format!(" {text}\n").parse::<Ticket>().unwrap(), ticket());
        assert!(!format!("{:?}", ticket()).contains(&data_encoding::HEXLOWER.encode(&[3; 32])));
    }

    #[test]
    fn every_truncation_and_typo_is_found() {
        let text = ticket().to_string();
        for end in 0..text.len() {
            assert!(text[..end].parse::<Ticket>().is_err(), "cut at {end}");
        }
        for at in 4..text.len() {
            let mut typo = text.clone().into_bytes();
            typo[at] = if typo[at] == b'a' { b'b' } else { b'a' };
            assert!(String::from_utf8(typo).unwrap().parse::<Ticket>().is_err(), "typo at {at}");
        }
        assert_eq!("hello".parse::<Ticket>(), Err(BadTicket::NotATicket));
        assert_eq!("flt2abcd".parse::<Ticket>(), Err(BadTicket::OtherVersion));
        assert_eq!("flt1a!".parse::<Ticket>(), Err(BadTicket::Character(6)));
    }

    #[test]
    fn wrapped_lines_and_capitals_are_read() {
        let text = ticket().to_string();
        let wrapped: String =
            text.as_bytes().chunks(40).map(|l| format!("{}\n  ", String::from_utf8_lossy(l))).collect();
        assert_eq!(wrapped.parse::<Ticket>().unwrap(), ticket());
        assert_eq!(text.to_ascii_uppercase().parse::<Ticket>().unwrap(), ticket());
        assert_eq!("a".repeat(TICKET_CHARS_MAX + 1).parse::<Ticket>(), Err(BadTicket::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_ticket_or_refused(text in "(flt1|FLT|fl)?\\PC{0,80}", bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120)) {
            drop(text.parse::<Ticket>());
            // Also where the checksum fits.
            let mut bytes = bytes;
            let sum = blake3::hash(&bytes);
            bytes.extend_from_slice(&sum.as_bytes()[..4]);
            let text = format!("{PREFIX}{}", data_encoding::BASE32_NOPAD.encode(&bytes));
            if let Ok(ticket) = text.parse::<Ticket>() {
                assert_eq!(ticket.to_string().parse::<Ticket>(), Ok(ticket));
            }
        }
    }
}
