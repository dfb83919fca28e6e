//! What it means for workloads with one writer that a node leaves the fleet.

use failover::{ClusterName, Phase, View};
use protocols::{FleetState, Name, NodeId};
use scores::failover::{declared, lease_id, naming};

use super::super::context::Online;
use super::views;

/// What is said before a node is removed: which workloads name it, and who goes on without it.
pub(crate) async fn on_removal(
    node: NodeId,
    before: &FleetState,
    after: &FleetState,
    online: &Online<'_>,
) -> Vec<String> {
    let named = naming(before, node);
    if named.is_empty() {
        return Vec::new();
    }
    let unclear = declared(after).unclear;
    let views = views(None, online).await.unwrap_or_default();
    let told = named.into_iter().map(|(cluster, others)| {
        let goes_on = !unclear.contains_key(&cluster);
        said(&cluster, &others, goes_on, writes(&cluster, node, &views))
    });
    told.collect()
}

/// What is said before a node is replaced that may write: the new machine is another candidate, of which a writer that
/// runs on must know before anybody takes over from it.
pub(crate) async fn on_replacement(node: NodeId, state: &FleetState, online: &Online<'_>) -> Vec<String> {
    let named = naming(state, node);
    if named.is_empty() {
        return Vec::new();
    }
    let views = views(None, online).await.unwrap_or_default();
    let writing = named.into_iter().filter(|(cluster, _)| writes(cluster, node, &views));
    let told = writing.map(|(cluster, others)| match others.first() {
        Some(other) => format!(
            "It writes in {cluster}: let another one write first (flt admin failover switchover {cluster} --to {other}), or \
             somebody has to say that it is off when it has been replaced (flt admin failover attest {cluster})."
        ),
        None => format!("It alone may write in {cluster}, and what it holds is not on the new machine."),
    });
    told.collect()
}

fn writes(cluster: &ClusterName, node: NodeId, views: &[(ClusterName, View)]) -> bool {
    let mut views = views.iter().filter(|(name, _)| name == cluster);
    views.any(|(_, view)| view.holder == Some(lease_id(node)) && view.phase == Phase::Held)
}

fn said(cluster: &ClusterName, others: &[Name], goes_on: bool, writes: bool) -> String {
    let named = if writes { "It writes in" } else { "It may write in" };
    if others.is_empty() {
        return format!("{named} {cluster}, and nobody else may: publish it for another node, or withdraw it.");
    }
    let others: Vec<&str> = others.iter().map(Name::as_str).collect();
    let others = others.join(", ");
    if !goes_on {
        return format!("{named} {cluster}, whose declaration is unclear without it: publish it anew for {others}.");
    }
    if writes {
        format!(
            "{named} {cluster}: its lease is renewed no more, and when that is over one of these takes over: {others}."
        )
    } else {
        format!("{named} {cluster}: it is left out from then on, and these remain: {others}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_on_is_named() {
        let cluster = ClusterName::try_from("service/ledger".to_owned()).unwrap();
        let names: Vec<Name> = ["a", "c"].map(|name| name.parse().unwrap()).into();
        assert!(said(&cluster, &names, true, false).ends_with("these remain: a, c."));
        assert!(said(&cluster, &names, true, true).contains("takes over: a, c"));
        assert!(said(&cluster, &names, false, true).contains("unclear without it"));
        assert!(said(&cluster, &[], true, true).contains("nobody else may"));
    }
}
