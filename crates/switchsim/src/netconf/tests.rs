//! What NETCONF says, byte by byte and shared with the command line.

use super::*;
use crate::profile::{NastyNetconf, Profile};

fn peer(profile: &Profile) -> Peer {
    let mut peer = Peer::new(Arc::new(Shared::new(profile)), 7);
    peer.greet();
    peer
}

fn said(peer: &mut Peer) -> String {
    String::from_utf8(peer.take().0).unwrap_or_default()
}

const HELLO: &str = "<hello xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><capabilities><capability>\
    urn:ietf:params:netconf:base:1.1</capability></capabilities></hello>]]>]]>";

fn ask(peer: &mut Peer, request: &str) -> String {
    let rpc = format!("<rpc xmlns=\"{BASE}\" message-id=\"a&amp;1\">{request}</rpc>");
    let framed = if peer.chunked { format!("\n#{}\n{rpc}\n##\n", rpc.len()) } else { format!("{rpc}]]>]]>") };
    for byte in framed.bytes() {
        peer.input(&[byte]);
    }
    said(peer)
}

#[test]
fn greetings_decide_how_messages_end() {
    let mut new = peer(&Profile::nos());
    let hello = said(&mut new);
    assert!(hello.contains("base:1.1</capability>") && hello.ends_with("<session-id>7</session-id></hello>]]>]]>"));
    new.input(HELLO.as_bytes());
    let reply = ask(&mut new, "<get-vlan-brief/>");
    assert!(
        reply.starts_with("\n#") && reply.ends_with("\n##\n") && reply.contains("message-id=\"a&amp;1\""),
        "{reply}"
    );
    let old = Profile::nos()
        .nasty(Nasty { netconf: NastyNetconf { base_1_0: true, ..NastyNetconf::default() }, ..Nasty::default() });
    let mut old = peer(&old);
    assert!(!said(&mut old).contains("base:1.1</capability>"));
    old.input(HELLO.as_bytes());
    assert!(ask(&mut old, "<get-vlan-brief/>").ends_with("</rpc-reply>]]>]]>"));
    assert_eq!(ask(&mut old, "<close-session/>").matches("<ok/>").count(), 1);
    assert_eq!(old.state(), State::Closed);
}

#[test]
fn it_is_the_switch_of_the_command_line() {
    let mut peer = peer(&Profile::nos());
    said(&mut peer);
    peer.input(HELLO.replace("base:1.1", "base:1.0").as_bytes());
    let mut shell = peer.shared.device().login();
    for line in [
        "configure terminal",
        "interface vlan 10",
        "name servers",
        "interface port-channel 7",
        "no shutdown",
        "interface te 1/0/1",
        "channel-group 7 mode active type standard",
        "description a<b",
        "no shutdown",
    ] {
        assert_eq!(
            peer.shared.device().execute(&mut shell, line).text.replace("Entering configuration mode terminal\n", ""),
            "",
            "{line}"
        );
    }
    let vlans = ask(&mut peer, "<get-vlan-brief><last-rcvd-vlan-id>1</last-rcvd-vlan-id></get-vlan-brief>");
    assert!(vlans.contains("<vlan-id>10</vlan-id>") && vlans.contains("<vlan-name>servers</vlan-name>"), "{vlans}");
    assert!(vlans.contains(">false</has-more>") && !vlans.contains("<vlan-id>1</vlan-id>"), "{vlans}");
    let lags = ask(&mut peer, "<get-port-channel-detail/>");
    assert!(lags.contains("<interface-name>1/0/1</interface-name><actor-port>1</actor-port><sync>1</sync>"), "{lags}");
    assert!(lags.contains("<partner-system-id>52-54-00-aa-00-00</partner-system-id>"), "{lags}");
    let filter = "<filter type=\"subtree\"><interface/></filter>";
    let config = ask(&mut peer, &format!("<get-config><source><running/></source>{filter}</get-config>"));
    assert!(config.contains("<description>a&lt;b</description>") && !config.contains("interface-vlan"), "{config}");
    let more = "<get-interface-detail><last-rcvd-interface><interface-type>tengigabitethernet</interface-type>\
        <interface-name>1/0/1</interface-name></last-rcvd-interface></get-interface-detail>";
    let page = ask(&mut peer, more);
    assert_eq!(page.matches("<interface ").count(), 96, "95 ports and the port-channel: {page}");
    assert!(page.contains("<interface-name>1/0/2<") && page.contains(">false</has-more>"), "{page}");
}

#[test]
fn what_is_not_there_is_refused() {
    let mut peer = peer(&Profile::nos());
    said(&mut peer);
    peer.input(HELLO.replace("base:1.1", "base:1.0").as_bytes());
    for (request, tag) in [
        ("<edit-config/>", "operation-not-supported"),
        ("<get-config><source><startup/></source></get-config>", "invalid-value"),
        ("<get-vlan-brief><last-rcvd-vlan-id>x</last-rcvd-vlan-id></get-vlan-brief>", "invalid-value"),
        ("", "missing-element"),
    ] {
        let reply = ask(&mut peer, request);
        assert!(reply.contains(&format!("<error-tag>{tag}</error-tag>")), "{request}: {reply}");
    }
    peer.input(b"<rpc]]>]]>");
    assert!(said(&mut peer).contains("malformed-message"));
    assert_eq!(peer.state(), State::Closed);
}
