//! `/proc/net/bonding/NAME`: how a bond fares, as the kernel tells it.

use scores::bond::{AdMember, AdState};

/// Reads it. What is not there is not known; nothing is guessed.
pub(super) fn state(text: &str) -> AdState {
    let mut state = AdState::default();
    let mut member: Option<String> = None;
    let mut details = false;
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once(':') else { continue };
        let (key, value) = (key.trim(), value.trim());
        if key == "Slave Interface" {
            member = Some(value.to_owned());
            state.members.insert(value.to_owned(), AdMember::default());
            details = false;
            continue;
        }
        // Which LACP frames came and went; they have words of their own.
        details |= key.starts_with("details ");
        match member.as_ref().and_then(|name| state.members.get_mut(name)) {
            None => match key {
                "Bonding Mode" => state.lacp = value.starts_with("IEEE 802.3ad"),
                "Aggregator ID" => state.aggregator = value.parse().ok(),
                "Partner Mac Address" => state.partner = value.parse().ok().filter(|mac| *mac != NOBODY),
                _ => {}
            },
            Some(member) if !details => match key {
                "MII Status" => member.up = value == "up",
                "Aggregator ID" => member.aggregator = value.parse().ok(),
                _ => {}
            },
            Some(_) => {}
        }
    }
    state
}

const NOBODY: protocols::Mac = protocols::Mac::new([0; 6]);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// As the kernel's documentation has it, with both members in one aggregator.
    const BOTH: &str = "\
Ethernet Channel Bonding Driver: v6.1.0

Bonding Mode: IEEE 802.3ad Dynamic link aggregation
Transmit Hash Policy: layer3+4 (1)
MII Status: up
MII Polling Interval (ms): 100
Up Delay (ms): 0
Down Delay (ms): 0
Peer Notification Delay (ms): 0

802.3ad info
LACP active: on
LACP rate: fast
Min links: 0
Aggregator selection policy (ad_select): stable
System priority: 65535
System MAC address: 02:00:00:00:00:01
Active Aggregator Info:
\tAggregator ID: 1
\tNumber of ports: 2
\tActor Key: 15
\tPartner Key: 20001
\tPartner Mac Address: cc:4e:24:39:2a:40

Slave Interface: eth1
MII Status: up
Speed: 10000 Mbps
Duplex: full
Link Failure Count: 0
Permanent HW addr: 02:00:00:00:00:01
Slave queue ID: 0
Aggregator ID: 1
Actor Churn State: none
Partner Churn State: none
Actor Churned Count: 0
Partner Churned Count: 0
details actor lacp pdu:
    system priority: 65535
    system mac address: 02:00:00:00:00:01
    port key: 15
    port priority: 255
    port number: 1
    port state: 63
details partner lacp pdu:
    system priority: 1
    system mac address: cc:4e:24:39:2a:40
    oper key: 20001
    port priority: 1
    port number: 7
    port state: 61

Slave Interface: eth2
MII Status: up
Speed: 10000 Mbps
Duplex: full
Link Failure Count: 0
Permanent HW addr: 02:00:00:00:00:02
Slave queue ID: 0
Aggregator ID: 1
";

    #[test]
    fn reads_what_the_kernel_writes() {
        let state = state(BOTH);
        assert!(state.lacp);
        assert_eq!(state.aggregator, Some(1));
        assert_eq!(state.partner, Some("cc:4e:24:39:2a:40".parse().unwrap()));
        let member = AdMember { up: true, aggregator: Some(1) };
        assert_eq!(state.members, BTreeMap::from([("eth1".into(), member.clone()), ("eth2".into(), member)]));
    }

    #[test]
    fn nobody_at_the_other_end_and_other_modes_are_told() {
        let alone = BOTH.replace("cc:4e:24:39:2a:40", "00:00:00:00:00:00").replace("ID: 0\nAggregator ID: 1\n\n", "");
        assert_eq!(state(&alone).partner, None);
        let down = BOTH.replace("eth2\nMII Status: up", "eth2\nMII Status: down");
        assert!(!state(&down).members["eth2"].up && state(&down).members["eth1"].up);
        let backup = BOTH.replace("IEEE 802.3ad Dynamic link aggregation", "fault-tolerance (active-backup)");
        assert!(!state(&backup).lacp);
        for garbage in ["", "\0", ":::\n", "Slave Interface: \nMII Status", "Aggregator ID: 99999999"] {
            assert_eq!(state(garbage).aggregator, None);
        }
    }
}
