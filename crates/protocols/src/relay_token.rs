//! The token by which a relay knows that a stranger holds an invite.
//!
//! A node that is not a member yet may have no other way to a coordinator than its relay. It signs its own id with the
//! invite's key; nobody else can use that token, and the relay needs no secret to check it.

use crate::ids::{FleetId, NodeId};
use crate::key::{SecretKey, Signature};

const DOMAIN: &[u8] = b"flotilla relay token 1\0";

/// The token of `node` for the fleet's relays.
pub fn relay_token(invite: &SecretKey, fleet: FleetId, node: NodeId) -> String {
    let signature = invite.sign(DOMAIN, &message(fleet, node));
    let bytes = [invite.id().as_bytes().as_slice(), signature.as_bytes()].concat();
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}

/// The invite whose key signed the token, if it is `node`'s for this fleet. Whether that invite is open is another matter.
pub fn relay_token_invite(token: &str, fleet: FleetId, node: NodeId) -> Option<NodeId> {
    if token.len() != 128 {
        return None;
    }
    let bytes = data_encoding::BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
    let (invite, signature) = bytes.split_at_checked(32)?;
    let invite = NodeId::from_bytes(invite.try_into().ok()?);
    let signature = Signature::from_bytes(signature.try_into().ok()?);
    invite.verifies(DOMAIN, &message(fleet, node), &signature).then_some(invite)
}

fn message(fleet: FleetId, node: NodeId) -> Vec<u8> {
    [fleet.as_bytes().as_slice(), node.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_one_node_and_one_fleet() {
        let (invite, node) = (SecretKey::generate(), SecretKey::generate().id());
        let fleet = FleetId::from_bytes([1; 32]);
        let token = relay_token(&invite, fleet, node);
        assert_eq!(relay_token_invite(&token, fleet, node), Some(invite.id()));
        assert_eq!(relay_token_invite(&token, FleetId::from_bytes([2; 32]), node), None);
        assert_eq!(relay_token_invite(&token, fleet, invite.id()), None);
        for end in 0..token.len() {
            assert_eq!(relay_token_invite(&token[..end], fleet, node), None);
        }
    }
}
