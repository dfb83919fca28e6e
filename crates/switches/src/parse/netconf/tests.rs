#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use scores::switch::{LagMode, Membership};

use super::*;
use crate::parse::{LagState, VlanState};

fn reply(inside: &str) -> Element {
    let text = format!(
        "<rpc-reply xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\" message-id=\"1\" xmlns:i=\"{INTERFACES}\" \
         xmlns:l=\"{LAGS}\" xmlns:f=\"{FABRIC}\" xmlns:c=\"{CONFIG}\">{inside}</rpc-reply>"
    );
    Element::parse(&text).unwrap()
}

fn interface(kind: &str, name: &str, inside: &str) -> String {
    format!(
        "<i:interface><i:interface-type>{kind}</i:interface-type><i:interface-name>{name}</i:interface-name>{inside}\
         </i:interface>"
    )
}

const UP: &str = "<i:if-state>up</i:if-state><i:line-protocol-state>up</i:line-protocol-state>";
const NO_MORE: &str = "<i:has-more>false</i:has-more>";

#[test]
fn interfaces_are_read() {
    let text = format!(
        "{}{}{}{}<i:has-more>true</i:has-more>",
        interface(
            "tengigabitethernet",
            "1/0/1",
            &format!(
                "{UP}<i:if-description>a &lt; b</i:if-description><i:actual-line-speed>10Gbps</i:actual-line-speed>\
                 <i:mtu>2500</i:mtu><x xmlns=\"urn:x\"><y/></x>"
            )
        ),
        interface("Fo", "2/0/49", "<i:if-state>down</i:if-state><i:line-protocol-state>down</i:line-protocol-state>"),
        interface("port-channel", "12", &format!("{UP}<i:actual-line-speed>Nil</i:actual-line-speed>")),
        interface("fibrechannel", "1/0/33", ""),
    );
    let page = interfaces(&reply(&text)).unwrap();
    let told: Vec<String> = page.found.iter().map(|one| one.port.to_string()).collect();
    assert_eq!(told, ["te1/0/1", "fo2/0/49", "lg12"]);
    assert_eq!(page.found[0].name.as_deref(), Some("a < b"));
    assert_eq!((page.found[0].megabits, page.found[0].up), (Some(10_000), true));
    assert!(page.found[1].disabled && !page.found[1].up);
    assert!(page.more);
    assert_eq!(page.last, Some(("fibrechannel".into(), "1/0/33".into())), "what is skipped counts for the next page");
}

#[test]
fn interfaces_that_are_not_understood_are_shown() {
    let te = |inside: &str| interface("tengigabitethernet", "1/0/1", inside);
    for (text, why) in [
        (String::new(), "`get-interface-detail` is not understood: it does not say whether there is more"),
        (te(UP), "it does not say whether there is more"),
        (format!("{}{NO_MORE}", te("")), "<interface-name>1/0/1</interface-name></inte…`: there is no `if-state`"),
        (format!("{}{NO_MORE}", te(&UP.replace(">up<", ">testing<"))), "`if-state` is \"testing\""),
        (format!("{}{NO_MORE}", te(&format!("{UP}{UP}"))), "there are two of `if-state`"),
        (
            format!("{}{NO_MORE}", te(&format!("{UP}<i:actual-line-speed>fast</i:actual-line-speed>"))),
            "`actual-line-speed` is \"fast\"",
        ),
        (
            format!("{}{NO_MORE}", te(&format!("{UP}<i:actual-line-speed>99999999G</i:actual-line-speed>"))),
            "`actual-line-speed` is \"99999999G\"",
        ),
        (format!("{}{NO_MORE}", te("<i:if-state><b/></i:if-state>")), "it should hold a text"),
        (format!("{}{NO_MORE}", interface("carrier-pigeon", "1", UP)), "`carrier-pigeon 1` is no port"),
        (format!("{}{NO_MORE}", interface("tengigabitethernet", "1/0/x", UP)), "`tengigabitethernet 1/0/x` is no port"),
        (
            format!("<i:port/>{NO_MORE}"),
            "in `<port xmlns=\"urn:brocade.com:mgmt:brocade-interface-ext\"/>`: it is neither",
        ),
        // The right name in another namespace is another thing.
        (format!("<l:interface/>{NO_MORE}"), "it is neither `interface` nor `has-more`"),
        (format!("{NO_MORE}{NO_MORE}"), "it stands there twice"),
        ("<i:has-more>maybe</i:has-more>".into(), "it is neither true nor false"),
    ] {
        let error = interfaces(&reply(&text)).unwrap_err().to_string();
        assert!(error.starts_with("`get-interface-detail` is not understood"), "{error}");
        assert!(error.contains(why), "{why}: {error}");
    }
}

#[test]
fn vlans_are_read() {
    let vlan =
        |id: &str, name: &str| format!("<i:vlan><i:vlan-id>{id}</i:vlan-id><i:vlan-name>{name}</i:vlan-name></i:vlan>");
    let text = format!(
        "{}{}<i:last-vlan-id>20</i:last-vlan-id><i:has-more>true</i:has-more>",
        vlan("10", "servers"),
        vlan("20", "VLAN0020")
    );
    let page = vlans(&reply(&text)).unwrap();
    let servers = VlanState { id: 10, name: Some("servers".into()) };
    assert_eq!(page.found, [servers, VlanState { id: 20, name: None }]);
    assert_eq!((page.last, page.more), (Some(20), true));
    for (text, why) in [
        (format!("{}<i:has-more>true</i:has-more>", vlan("10", "a")), "there is no `last-vlan-id`"),
        (format!("{}{NO_MORE}", vlan("ten", "a")), "`vlan-id` is no number"),
        (format!("{}{NO_MORE}", vlan("70000", "a")), "`vlan-id` is no number"),
    ] {
        let error = vlans(&reply(&text)).unwrap_err().to_string();
        assert!(error.starts_with("`get-vlan-brief` is not understood in `") && error.contains(why), "{error}");
    }
}

fn lag(mode: &str, partner: &str, member: &str) -> String {
    format!(
        "<l:lacp><l:aggregator-id>7</l:aggregator-id><l:aggregator-mode>{mode}</l:aggregator-mode>\
         <l:partner-system-id>{partner}</l:partner-system-id>{member}</l:lacp><l:has-more>false</l:has-more>"
    )
}

fn member(kind: &str, sync: &str) -> String {
    format!(
        "<l:aggr-member><l:interface-type>{kind}</l:interface-type><l:interface-name>226/0/1</l:interface-name>\
         <l:sync>{sync}</l:sync></l:aggr-member>"
    )
}

#[test]
fn port_channels_are_read_with_what_lacp_says() {
    let of = |mode: &str, partner: &str, sync: &str| -> LagState {
        let text = lag(mode, partner, &member("tengigabitethernet", sync));
        lags(&reply(&text)).unwrap().found.remove(0)
    };
    let one = of("lacp", "0x8000,52-54-00-aa-00-01", "1");
    assert!(one.lacp && one.id == 7);
    assert_eq!(one.members[0].port.to_string(), "te226/0/1");
    assert_eq!(one.members[0].operational, Some(true));
    assert_eq!(one.members[0].partner.unwrap().to_string(), "52:54:00:aa:00:01");
    assert_eq!(of("lacp", "5254.00aa.0001", "0").members[0].partner, None);
    assert_eq!(of("dynamic", "00-00-00-00-00-00", "true").members[0].partner, None);
    assert!(!of("static", "", "false").lacp);
    for (text, why) in [
        (lag("hopeful", "", ""), "`aggregator-mode` is \"hopeful\""),
        (lag("lacp", "nobody", ""), "`nobody` is not a hardware address"),
        (lag("lacp", "", &member("tengigabitethernet", "maybe")), "`sync` is \"maybe\""),
        (lag("lacp", "", &member("loopback", "1")), "no port stands there"),
    ] {
        let error = lags(&reply(&text)).unwrap_err().to_string();
        assert!(error.starts_with("`get-port-channel-detail` is not understood in `<"), "{error}");
        assert!(error.contains(why), "{why}: {error}");
    }
}

#[test]
fn links_of_a_fabric_are_read() {
    let link = |source: &str| {
        format!(
            "<f:show-link-info><f:linkinfo-rbridgeid>1</f:linkinfo-rbridgeid><f:linkinfo-wwn>10:00</f:linkinfo-wwn>\
             <f:linkinfo-isl><f:linkinfo-isllink-destdomain>2</f:linkinfo-isllink-destdomain>\
             <f:linkinfo-isllink-srcport-type>Te</f:linkinfo-isllink-srcport-type>\
             <f:linkinfo-isllink-srcport-interface>{source}</f:linkinfo-isllink-srcport-interface>\
             <f:linkinfo-isllink-destport-type>Te</f:linkinfo-isllink-destport-type>\
             <f:linkinfo-isllink-destport-interface>2/0/1</f:linkinfo-isllink-destport-interface>\
             </f:linkinfo-isl></f:show-link-info>"
        )
    };
    let found = fabric(&reply(&link("1/0/1"))).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].port.to_string(), found[0].far_port.to_string()), ("te1/0/1".into(), "te2/0/1".into()));
    assert_eq!(found[0].name, "rbridge 2");
    assert!(fabric(&reply("")).unwrap().is_empty());
    let error = fabric(&reply(&link("?"))).unwrap_err().to_string();
    assert!(
        error.contains("`show-linkinfo` is not understood in `<linkinfo-isl") && error.contains("no port"),
        "{error}"
    );
    let error = fabric(&reply("<f:something/>")).unwrap_err().to_string();
    assert!(error.ends_with("it is not `show-link-info`"), "{error}");
}

fn config(inside: &str) -> String {
    format!(
        "<data><c:interface><c:tengigabitethernet><c:name>1/0/1</c:name>{inside}</c:tengigabitethernet></c:interface></data>"
    )
}

#[test]
fn a_configuration_is_read() {
    let text = format!(
        "<data><c:interface-vlan><c:interface><c:vlan><c:name>10</c:name><c:vlan-name>servers</c:vlan-name></c:vlan>\
         <c:vlan><c:name>20</c:name></c:vlan></c:interface></c:interface-vlan>{}",
        config(
            "<c:description>db-1</c:description><c:shutdown/><c:spanning-tree><c:edgeport/></c:spanning-tree>\
             <c:switchport-basic><c:basic/></c:switchport-basic><c:switchport><c:mode><c:vlan-mode>trunk</c:vlan-mode>\
             </c:mode><c:trunk><c:allowed><c:vlan><c:add>10-12,20</c:add></c:vlan></c:allowed>\
             <c:native-vlan-classification><c:native-vlan-id>30</c:native-vlan-id></c:native-vlan-classification>\
             <c:tag><c:native-vlan/></c:tag></c:trunk></c:switchport>"
        )
        .trim_start_matches("<data>")
    );
    let found = configuration(&reply(&text)).unwrap();
    assert_eq!(found.vlans[&10].name.as_deref(), Some("servers"));
    assert_eq!(found.vlans[&20].name, None);
    let port = found.port("te1/0/1".parse().unwrap());
    let vlans = Membership { untagged: Some(30), tagged: [10, 11, 12, 20].into(), all: false, trunk: true };
    assert_eq!((port.vlans, port.enabled, port.edge), (vlans, false, true));
    let grouped = config("<c:channel-group><c:port-int>7</c:port-int><c:mode>on</c:mode></c:channel-group>");
    let found = configuration(&reply(&grouped)).unwrap();
    assert_eq!((found.lags[&7].mode, found.lags[&7].members.len()), (LagMode::Static, 1));
    let routed = config("<c:ip><c:ip-config><c:address>10.0.0.1/24</c:address></c:ip-config></c:ip>");
    assert!(configuration(&reply(&routed)).unwrap().port("te1/0/1".parse().unwrap()).layer3.is_some());
    let switchport = |inside: &str| config(&format!("<c:switchport>{inside}</c:switchport>"));
    for (text, why) in [
        (String::new(), "there is no `data`"),
        ("<data/>".into(), "there are no interfaces in it"),
        ("<data><c:snmp/></data>".into(), "it is neither `interface` nor `interface-vlan`"),
        (config("<c:channel-group><c:port-int>7</c:port-int></c:channel-group>"), "there is no `mode`"),
        (config("<c:channel-group><c:port-int>7</c:port-int><c:mode>?</c:mode></c:channel-group>"), "`mode` is \"?\""),
        (switchport("<c:mode><c:vlan-mode>converged</c:vlan-mode></c:mode>"), "`vlan-mode` is \"converged\""),
        (switchport("<c:access/>"), "there is no `accessvlan`"),
        (
            switchport(
                "<c:mode><c:vlan-mode>trunk</c:vlan-mode></c:mode><c:trunk><c:allowed><c:vlan><c:except>3</c:except>\
                 </c:vlan></c:allowed></c:trunk>",
            ),
            "in `<except xmlns=\"urn:brocade.com:mgmt:brocade-interface\">3</except>`: this of VLANs is not known",
        ),
    ] {
        let error = configuration(&reply(&text)).unwrap_err().to_string();
        assert!(error.starts_with("`get-config` is not understood") && error.contains(why), "{why}: {error}");
    }
}

#[test]
fn two_configurations_are_compared_in_what_both_tell() {
    let mut by_lines = configuration(&reply(&config("<c:description>db-1</c:description>"))).unwrap();
    let by_netconf = by_lines.clone();
    by_lines.vlans.insert(1, Default::default());
    by_lines.users.clear();
    assert!(differences(&by_lines, &by_netconf).is_empty());
    by_lines.vlans.insert(10, Default::default());
    let told = differences(&by_lines, &by_netconf);
    assert_eq!(told, ["make VLAN 10"]);
}
