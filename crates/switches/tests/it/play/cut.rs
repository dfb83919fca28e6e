//! The connection is lost at every single command of every score: the device ends as before or as declared, and the
//! outcome says which.

use protocols::Verdict;
use scores::Score;
use scores::switch::{InterfaceScore, LagMode, PortChannelScore, PortFenceScore, PortMode, SnmpScore, VlanScore};
use switchsim::Profile;

use super::{channel, device, interface, vlan};
use crate::bed::{Bed, assignment};
use crate::lost::{Cut, each, lose, recovered, told, until_lost};

/// How many positions were cut.
async fn everywhere<S: Score>(profile: Profile, prepare: impl AsyncFn(&Bed), score: &S) -> usize {
    everywhere_with(&protocols::SecretKey::generate(), profile, prepare, score).await
}

async fn everywhere_with<S: Score>(
    key: &protocols::SecretKey,
    profile: Profile,
    prepare: impl AsyncFn(&Bed),
    score: &S,
) -> usize {
    // How it goes where nothing is lost.
    let plain = Bed::with_key(profile.clone(), key.clone()).await;
    prepare(&plain).await;
    let before = plain.sim.running_config();
    let commands = plain.sim.commands().len();
    assert_eq!(plain.play(score, 7).await.verdict, Verdict::Converged);
    let declared = plain.sim.running_config();
    assert_ne!(before, declared);
    let count = plain.sim.commands().len() - commands;
    let one = async |cut: Cut, position: usize| {
        let mut bed = Bed::with_key(profile.clone(), key.clone()).await;
        prepare(&bed).await;
        lose(&bed.sim, cut, position);
        let job = assignment(score, 7);
        let report = if matches!(cut, Cut::AfterAndCrash) {
            crash(&mut bed, &job).await
        } else {
            bed.ensemble().play(&job, &bed.stage).await
        };
        let at = format!("{cut:?} {position} of {count}: {report:?}");
        let (running, startup) = (bed.sim.running_config(), bed.sim.startup_config());
        match report.verdict {
            Verdict::Converged => {
                assert_eq!(running, declared, "{at}");
                assert_eq!(startup, declared, "{at}");
            }
            Verdict::Failed => {
                assert_eq!(running, before, "{at}\n{:?}", bed.sim.commands());
                assert_eq!(startup, before, "{at}");
            }
            other => panic!("{other:?}: {at}"),
        }
        if !matches!(cut, Cut::AfterAndCrash) {
            assert_eq!(bed.open_trials(), 0, "{at}");
        }
        let next = bed.play(score, 7).await;
        assert_eq!(next.verdict, Verdict::Converged, "{at}, then {next:?}");
        assert_eq!(bed.sim.startup_config(), declared, "{at}");
    };
    let mut positions = 0;
    for cut in [Cut::After, Cut::Before, Cut::AfterAndCrash] {
        positions += each(count, async |position| one(cut, position).await).await;
    }
    positions
}

/// Plays until the connection is lost, drops everything there, and lets a new agent recover.
async fn crash(bed: &mut Bed, job: &scores::Assignment) -> scores::PlayReport {
    let ensemble = bed.ensemble();
    if let Some(report) = until_lost(&bed.sim, ensemble.play(job, &bed.stage)).await {
        return report;
    }
    drop(ensemble);
    bed.restart();
    recovered(bed.ensemble().recover(&bed.stage).await)
}

async fn nothing(_bed: &Bed) {}

/// The syntaxes of switches: each is told other things, and loses them elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    /// FastIron with `primary-port` and `deploy`.
    Deploy,
    /// FastIron with `interface lag`.
    Interface,
    /// Network OS, read by NETCONF.
    NetworkOs,
    /// Network OS without NETCONF.
    Lines,
}

use Syntax::{Deploy, Interface, Lines, NetworkOs};

impl Syntax {
    fn profile(self) -> Profile {
        match self {
            Self::Deploy => Profile::fastiron_8030(),
            Self::Interface => Profile::fastiron_8095(),
            Self::NetworkOs => Profile::nos(),
            Self::Lines => Profile::nos().without_netconf(),
        }
    }

    fn is_network_os(self) -> bool {
        matches!(self, Self::NetworkOs | Self::Lines)
    }

    /// The third, fourth, … port of a unit, as it calls it.
    fn port(self, unit: u16, port: u16) -> String {
        if self.is_network_os() { format!("te{unit}/0/{port}") } else { format!("{unit}/1/{port}") }
    }
}

/// Defines a test for every line, and a list of what they try. Each counts its positions, of which there must be at least
/// as many as it says.
macro_rules! cut {
    ($($name:ident: $kind:ty, $syntax:ident, $floor:literal, $positions:expr;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                told($positions($syntax).await, $floor);
            }
        )*

        /// Which kinds of scores are cut in which syntax.
        const TRIED: &[(protocols::Kind, Syntax)] = &[$((<$kind>::KIND, $syntax)),*];
    };
}

cut! {
    while_a_port_channel_is_made_in_the_old_syntax: PortChannelScore, Deploy, 30, channel_made;
    while_a_port_channel_is_made_in_the_new_syntax: PortChannelScore, Interface, 30, channel_made;
    while_a_port_channel_is_made_on_network_os: PortChannelScore, NetworkOs, 30, channel_made;
    while_a_port_channel_is_made_without_netconf: PortChannelScore, Lines, 30, channel_made;
    while_the_members_of_a_port_channel_change_in_the_old_syntax: PortChannelScore, Deploy, 30, channel_changed;
    while_the_members_of_a_port_channel_change_in_the_new_syntax: PortChannelScore, Interface, 30, channel_changed;
    while_the_members_of_a_port_channel_change_on_network_os: PortChannelScore, NetworkOs, 30, channel_changed;
    while_a_port_channel_becomes_static_in_the_old_syntax: PortChannelScore, Deploy, 30, channel_static;
    while_a_port_channel_becomes_static_in_the_new_syntax: PortChannelScore, Interface, 30, channel_static;
    while_a_port_channel_becomes_static_on_network_os: PortChannelScore, NetworkOs, 30, channel_static;
    while_a_port_channel_is_removed_in_the_old_syntax: PortChannelScore, Deploy, 30, channel_removed;
    while_a_port_channel_is_removed_in_the_new_syntax: PortChannelScore, Interface, 30, channel_removed;
    while_a_port_channel_is_removed_on_network_os: PortChannelScore, NetworkOs, 30, channel_removed;
    while_a_port_is_set_in_the_old_syntax: InterfaceScore, Deploy, 30, port_set;
    while_a_port_is_set_in_the_new_syntax: InterfaceScore, Interface, 30, port_set;
    while_a_port_is_set_on_network_os: InterfaceScore, NetworkOs, 30, port_set;
    while_a_port_is_set_without_netconf: InterfaceScore, Lines, 30, port_set;
    while_a_vlan_is_made_in_the_old_syntax: VlanScore, Deploy, 30, vlan_made;
    while_a_vlan_is_made_in_the_new_syntax: VlanScore, Interface, 30, vlan_made;
    while_a_vlan_is_made_on_network_os: VlanScore, NetworkOs, 30, vlan_made;
    while_a_vlan_is_made_without_netconf: VlanScore, Lines, 30, vlan_made;
    while_a_vlan_is_named_anew_in_the_old_syntax: VlanScore, Deploy, 30, vlan_named;
    while_a_vlan_is_named_anew_in_the_new_syntax: VlanScore, Interface, 30, vlan_named;
    while_a_vlan_is_named_anew_on_network_os: VlanScore, NetworkOs, 30, vlan_named;
    while_a_vlan_is_removed_in_the_old_syntax: VlanScore, Deploy, 30, vlan_removed;
    while_a_vlan_is_removed_in_the_new_syntax: VlanScore, Interface, 30, vlan_removed;
    while_a_vlan_is_removed_on_network_os: VlanScore, NetworkOs, 30, vlan_removed;
    while_a_port_is_fenced_in_the_old_syntax: PortFenceScore, Deploy, 30, port_fenced;
    while_a_port_is_fenced_in_the_new_syntax: PortFenceScore, Interface, 30, port_fenced;
    while_a_port_is_fenced_on_network_os: PortFenceScore, NetworkOs, 30, port_fenced;
    while_a_port_is_fenced_without_netconf: PortFenceScore, Lines, 30, port_fenced;
    while_a_fence_is_lifted_in_the_old_syntax: PortFenceScore, Deploy, 30, fence_lifted;
    while_a_fence_is_lifted_in_the_new_syntax: PortFenceScore, Interface, 30, fence_lifted;
    while_a_fence_is_lifted_on_network_os: PortFenceScore, NetworkOs, 30, fence_lifted;
    while_an_snmp_user_is_made_in_the_old_syntax: SnmpScore, Deploy, 30, user_made;
    while_an_snmp_user_is_made_in_the_new_syntax: SnmpScore, Interface, 30, user_made;
    while_an_snmp_user_is_made_on_network_os: SnmpScore, NetworkOs, 30, user_made;
    while_an_snmp_user_is_made_without_netconf: SnmpScore, Lines, 30, user_made;
    while_an_snmp_user_is_removed_in_the_old_syntax: SnmpScore, Deploy, 30, user_removed;
    while_an_snmp_user_is_removed_in_the_new_syntax: SnmpScore, Interface, 30, user_removed;
    while_an_snmp_user_is_removed_on_network_os: SnmpScore, NetworkOs, 30, user_removed;
}

#[test]
fn every_score_is_cut_in_every_syntax() {
    let kinds = [PortChannelScore::KIND, InterfaceScore::KIND, VlanScore::KIND, SnmpScore::KIND, PortFenceScore::KIND];
    for kind in kinds {
        for syntax in [Deploy, Interface, NetworkOs, Lines] {
            assert!(TRIED.contains(&(kind.clone(), syntax)), "{kind} is cut nowhere in {syntax:?}");
        }
    }
}

fn numbered(syntax: Syntax, members: &[(u16, u16)]) -> PortChannelScore {
    let members: Vec<String> = members.iter().map(|(unit, port)| syntax.port(*unit, *port)).collect();
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    PortChannelScore { id: Some(9), ..channel(&members) }
}

/// Plays what must be there beforehand.
async fn there<S: Score>(bed: &Bed, score: &S) {
    let report = bed.play(score, 1).await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
}

async fn channel_made(syntax: Syntax) -> usize {
    everywhere(syntax.profile(), nothing, &numbered(syntax, &[(1, 1), (1, 2), (2, 1), (2, 2)])).await
}

async fn channel_becomes(syntax: Syntax, to: PortChannelScore) -> usize {
    let from = async |bed: &Bed| there(bed, &numbered(syntax, &[(1, 1), (1, 2)])).await;
    everywhere(syntax.profile(), from, &to).await
}

async fn channel_changed(syntax: Syntax) -> usize {
    channel_becomes(syntax, numbered(syntax, &[(1, 1), (1, 3), (2, 1)])).await
}

async fn channel_static(syntax: Syntax) -> usize {
    let to = PortChannelScore { mode: LagMode::Static, ..numbered(syntax, &[(1, 1), (1, 2)]) };
    channel_becomes(syntax, to).await
}

/// Its members are in VLANs, which must be there again when it was brought back.
async fn channel_removed(syntax: Syntax) -> usize {
    let port = if syntax == Deploy { "1/1/1" } else { "lg9" };
    let tagged = async |bed: &Bed| {
        there(bed, &vlan(10, Some("servers"))).await;
        there(bed, &numbered(syntax, &[(1, 1), (1, 2)])).await;
        let mode = Some(PortMode::Trunk { tagged: [10].into(), native: None });
        there(bed, &InterfaceScore { mode, ..interface(port) }).await;
    };
    everywhere(syntax.profile(), tagged, &PortChannelScore { absent: true, ..numbered(syntax, &[]) }).await
}

async fn port_set(syntax: Syntax) -> usize {
    let port = syntax.port(1, 5);
    let vlans = async |bed: &Bed| {
        for id in [10, 20] {
            there(bed, &vlan(id, None)).await;
        }
        there(bed, &InterfaceScore { mode: Some(PortMode::Access { vlan: 10 }), ..interface(&port) }).await;
    };
    let score = InterfaceScore {
        description: Some("db-1".into()),
        // They are shut on Network OS until somebody opens them.
        enabled: Some(syntax.is_network_os()),
        edge: Some(true),
        mode: Some(PortMode::Trunk { tagged: [10].into(), native: Some(20) }),
        ..interface(&port)
    };
    everywhere(syntax.profile(), vlans, &score).await
}

async fn vlan_made(syntax: Syntax) -> usize {
    everywhere(syntax.profile(), nothing, &vlan(10, Some("servers"))).await
}

async fn vlan_named(syntax: Syntax) -> usize {
    let named = async |bed: &Bed| there(bed, &vlan(10, Some("servers"))).await;
    everywhere(syntax.profile(), named, &vlan(10, Some("storage"))).await
}

async fn vlan_removed(syntax: Syntax) -> usize {
    let named = async |bed: &Bed| there(bed, &vlan(10, Some("servers"))).await;
    everywhere(syntax.profile(), named, &VlanScore { absent: true, ..vlan(10, None) }).await
}

fn fence(syntax: Syntax, fenced: bool) -> PortFenceScore {
    PortFenceScore { device: device(), port: syntax.port(1, 1).parse().unwrap(), fenced }
}

async fn port_fenced(syntax: Syntax) -> usize {
    let open = async |bed: &Bed| there(bed, &fence(syntax, false)).await;
    everywhere(syntax.profile(), open, &fence(syntax, true)).await
}

async fn fence_lifted(syntax: Syntax) -> usize {
    let shut = async |bed: &Bed| {
        there(bed, &fence(syntax, false)).await;
        there(bed, &fence(syntax, true)).await;
    };
    everywhere(syntax.profile(), shut, &fence(syntax, false)).await
}

async fn user_made(syntax: Syntax) -> usize {
    let key = protocols::SecretKey::generate();
    let score = super::snmp::sealed(&key, "correct-horse");
    everywhere_with(&key, syntax.profile(), nothing, &score).await
}

async fn user_removed(syntax: Syntax) -> usize {
    let key = protocols::SecretKey::generate();
    let score = super::snmp::sealed(&key, "correct-horse");
    let made = async |bed: &Bed| there(bed, &score).await;
    let gone = SnmpScore { auth: None, privacy: None, absent: true, ..score.clone() };
    everywhere_with(&key, syntax.profile(), made, &gone).await
}
