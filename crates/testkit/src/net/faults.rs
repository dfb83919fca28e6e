//! What can go wrong on one cable, switched on and off by a test.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use super::wire::Wire;
use super::{Namespace, Quality};
use crate::command::{tool, tool_with};

/// A port of a bridge with the cable in it that leads to one host: the place where a test breaks the network.
///
/// *To* and *from* are seen from the host. Faults work on whole frames in the bridge, so nothing that runs on the
/// host, its own firewall included, can see or undo them.
#[derive(Debug)]
pub struct Port {
    bridge: String,
    device: String,
    host: String,
    host_device: String,
    faults: Mutex<Faults>,
    wire: Option<Wire>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Faults {
    blocked: bool,
    udp_dropped: bool,
    tcp_dropped: bool,
    lost_to: u32,
    lost_from: u32,
}

impl Port {
    pub(super) fn new(near: (&Namespace, &str), far: (&Namespace, &str), wire: Option<Wire>) -> Self {
        Self {
            bridge: near.0.name().to_owned(),
            device: near.1.to_owned(),
            host: far.0.name().to_owned(),
            host_device: far.1.to_owned(),
            faults: Mutex::default(),
            wire,
        }
    }

    /// The namespace at the other end of the cable.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Drops every frame in both directions, while the link looks up: a broken switch, a partition.
    #[track_caller]
    pub fn block(&self) {
        self.change(|faults| faults.blocked = true);
    }

    /// Ends [`Port::block`].
    #[track_caller]
    pub fn unblock(&self) {
        self.change(|faults| faults.blocked = false);
    }

    /// Drops UDP in both directions, or stops to: a firewall that knows nothing but TCP.
    #[track_caller]
    pub fn drop_udp(&self, drop: bool) {
        self.change(|faults| faults.udp_dropped = drop);
    }

    /// Drops TCP in both directions, or stops to.
    #[track_caller]
    pub fn drop_tcp(&self, drop: bool) {
        self.change(|faults| faults.tcp_dropped = drop);
    }

    /// Loses this share, in percent, of the frames to the host; 100 is a path that works in one direction only.
    #[track_caller]
    pub fn lose_to(&self, percent: u32) {
        self.change(|faults| faults.lost_to = percent);
    }

    /// Loses this share, in percent, of the frames from the host.
    #[track_caller]
    pub fn lose_from(&self, percent: u32) {
        self.change(|faults| faults.lost_from = percent);
    }

    /// Limits both directions to a rate, in kilobits a second, or ends the limit.
    #[track_caller]
    pub fn rate(&self, kilobits: Option<u32>) {
        for (namespace, device) in [(&self.bridge, &self.device), (&self.host, &self.host_device)] {
            match kilobits {
                Some(rate) => {
                    // Room for two full frames, or the filter passes none; and for 10 ms of a fast link.
                    let burst = (rate / 8 * 10).max(3200);
                    let rate = format!("{rate}kbit");
                    let burst = burst.to_string();
                    let words = ["rate", &rate, "burst", &burst, "latency", "200ms"];
                    let mut arguments = vec!["-n", namespace, "qdisc", "replace", "dev", device, "root", "tbf"];
                    arguments.extend(words);
                    tool("tc", &arguments);
                }
                None => {
                    // Without a limit there is nothing to remove, and that is no failure.
                    let script = format!("tc -n {namespace} qdisc del dev {device} root 2>/dev/null; true");
                    tool("sh", &["-c", &script]);
                }
            }
        }
    }

    /// Pulls the cable out: both ends see the carrier go.
    #[track_caller]
    pub fn down(&self) {
        self.link("down");
    }

    /// Puts the cable in again.
    #[track_caller]
    pub fn up(&self) {
        self.link("up");
    }

    /// Changes the quality of a cable that was made with one; panics where it was not.
    #[track_caller]
    pub fn set_quality(&self, quality: Quality) {
        match &self.wire {
            Some(wire) => wire.set(quality),
            None => panic!("the cable to {} was made without a quality", self.host),
        }
    }

    /// Ends every fault of this port, the rate limit and the pulled cable included; not the quality.
    #[track_caller]
    pub fn heal(&self) {
        self.change(|faults| *faults = Faults::default());
        self.rate(None);
        self.up();
    }

    #[track_caller]
    fn link(&self, state: &str) {
        tool("ip", &["-n", &self.bridge, "link", "set", &self.device, state]);
    }

    #[track_caller]
    fn change(&self, change: impl FnOnce(&mut Faults)) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = *faults;
        change(&mut next);
        if next != *faults {
            let nft = crate::gate::find("nft").unwrap_or_else(|| "nft".into());
            let words = ["netns", "exec", &self.bridge, &nft.to_string_lossy(), "-f", "-"];
            tool_with("ip", &words, &next.rules(&self.device));
            *faults = next;
        }
    }
}

impl Faults {
    /// The rules of one port as one transaction that takes the place of the earlier ones.
    fn rules(self, device: &str) -> String {
        // The hooks are the bridge's: what comes in at its port is from the host.
        let mut rules = format!("table netdev {device}\ndelete table netdev {device}\n");
        if self == Self::default() {
            return rules;
        }
        // Writing to a String cannot fail.
        let _ok = writeln!(rules, "table netdev {device} {{");
        for (chain, lost) in [("ingress", self.lost_from), ("egress", self.lost_to)] {
            let _ok = writeln!(rules, "chain {chain} {{ type filter hook {chain} device \"{device}\" priority 0;");
            // nft refuses a comparison that always holds.
            let loss = if lost < 100 { format!("numgen random mod 100 < {lost} drop") } else { "drop".to_owned() };
            for (applies, rule) in [
                (self.blocked, "drop"),
                (self.udp_dropped, "meta l4proto udp drop"),
                (self.tcp_dropped, "meta l4proto tcp drop"),
                (lost > 0, &*loss),
            ] {
                if applies {
                    let _ok = writeln!(rules, "{rule}");
                }
            }
            rules.push_str("}\n");
        }
        rules.push_str("}\n");
        rules
    }
}
