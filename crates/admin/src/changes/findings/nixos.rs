//! `nixos/1` declarations whose way back could strike while the change is still being tried.

use protocols::Policy;
use scores::Score as _;
use scores::nixos::{Mode, NixosScore, REVERT_SECONDS_MAX};

use super::{Action, Change, Finding, Severity};

/// A way back that strikes before the checks are over takes back what may be good. If it does so however fast the switch
/// is, that is wrong; if only a switch that uses all its time brings it about, it is worth a look.
pub(super) fn too_soon(change: &Change, findings: &mut Vec<Finding>) {
    let Some(publish) = &change.publish else { return };
    if change.action == Action::Unchanged || change.kind != NixosScore::KIND {
        return;
    }
    let Ok(score) = scores::score::parse::<NixosScore>(publish.payload.get()) else { return };
    let Policy { checks, check_seconds, apply_seconds, .. } = &publish.policy;
    // A system that is only booted is not switched to: no way back is armed.
    if score.mode != Mode::Switch {
        return;
    }
    let back = score.revert_seconds;
    let checks = if checks.is_empty() { 0 } else { *check_seconds };
    let all = apply_seconds.saturating_add(checks);
    let (severity, what) = if back <= checks {
        let what = format!(
            "the machine goes back {back} seconds after the start of the switch (spec.revert_seconds), and the checks \
             alone have {checks} (policy.check_seconds): it would strike while they run"
        );
        (Severity::Error, what)
    } else if back <= all {
        let what = format!(
            "the machine goes back {back} seconds after the start of the switch (spec.revert_seconds), and switch and \
             checks together have {all} (policy.apply_seconds and check_seconds): a slow change would be taken back"
        );
        (Severity::Warning, what)
    } else {
        return;
    };
    let enough = all.saturating_add(MARGIN_SECONDS);
    let hint = if enough <= REVERT_SECONDS_MAX {
        format!("set spec.revert_seconds = {enough}")
    } else {
        "lower policy.apply_seconds: the switch and the delivery before it rarely take hours".into()
    };
    findings.push(Finding { severity, name: change.name.clone(), what, hint: Some(hint) });
}

/// What is left for confirming, in seconds.
const MARGIN_SECONDS: u32 = 60;
