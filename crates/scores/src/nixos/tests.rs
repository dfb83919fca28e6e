use proptest::prelude::*;
use protocols::BlobHash;

use super::*;
use crate::{Plan, Standing};

fn path(n: u8) -> StorePath {
    format!("/nix/store/{n:032}-system-{n}").parse().unwrap()
}

fn score(mode: Mode) -> NixosScore {
    NixosScore { mode, ..NixosScore::new(path(1), BlobRef { hash: BlobHash::from_bytes([1; 32]), size: 10 }) }
}

/// A machine without hands: what each step does to what is observed. `secret` is why it cannot be switched, which is
/// found out only when the closure is there.
fn apply(observed: &mut Observed, step: &NixosStep, secret: Option<&BootOnly>) {
    match step {
        NixosStep::Stage { .. } => {
            observed.staged = true;
            if observed.current != Some(path(1)) {
                observed.boot_only = secret.cloned();
            }
        }
        NixosStep::Activate { toplevel } => {
            assert!(observed.staged);
            match secret {
                Some(why) => observed.boot_only = Some(why.clone()),
                None => {
                    observed.current = Some(toplevel.clone());
                    observed.probation = true;
                }
            }
        }
        NixosStep::MakeDefault { toplevel } => {
            observed.default = Some(toplevel.clone());
            observed.boot_entry_missing = false;
            observed.probation = false;
        }
    }
}

fn any_path() -> impl Strategy<Value = Option<StorePath>> {
    prop::option::of((1u8..4).prop_map(path))
}

fn any_boot_only() -> impl Strategy<Value = Option<BootOnly>> {
    let inhibited = BootOnly::Inhibited { inhibitors: vec!["dbus".into()] };
    prop::option::of(prop_oneof![Just(inhibited), Just(BootOnly::Init), Just(BootOnly::Refused)])
}

proptest! {
    #[test]
    fn the_plan_law_holds(
        current in any_path(),
        default in any_path(),
        staged: bool,
        boot_entry_missing: bool,
        probation: bool,
        secret in any_boot_only(),
        boot: bool,
    ) {
        let score = score(if boot { Mode::Boot } else { Mode::Switch });
        let secret = secret.filter(|_| current != Some(path(1)));
        let boot_only = secret.clone().filter(|_| staged);
        let mut observed = Observed { current, default, staged, boot_entry_missing, probation, boot_only };
        let steps = score.plan(&observed);
        let (before, after): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| !NixosScore::after_checks(step));
        for step in &before {
            apply(&mut observed, step, secret.as_ref());
        }
        let left = score.plan(&observed);
        prop_assert!(left.iter().all(NixosScore::after_checks), "{left:?}");
        prop_assert!(after.iter().all(|step| left.contains(step)), "{left:?}");
        for step in &left {
            apply(&mut observed, step, secret.as_ref());
        }
        prop_assert_eq!(score.plan(&observed), Vec::new());
        let running = observed.current == Some(path(1));
        prop_assert_eq!(score.standing(&observed) == Standing::Running, running);
        prop_assert_eq!(observed.default, Some(path(1)));
    }

    #[test]
    fn parsing_a_payload_never_panics(text in ".{0,120}") {
        prop_assert!(crate::score::parse::<NixosScore>(&text).is_err());
    }
}

#[test]
fn payloads_are_strict() {
    let good = crate::score::payload(&score(Mode::Switch)).unwrap();
    assert_eq!(crate::score::parse::<NixosScore>(&good).unwrap(), score(Mode::Switch));
    assert!(!good.contains("revert_seconds"), "{good}");
    for (from, to) in [
        ("toplevel", "top_level"),
        ("/nix/store/", "/tmp/"),
        ("\"size\":10", "\"size\":0"),
        ("\"size\":10", "\"size\":99999999999"),
        ("{\"toplevel", "{\"more\":1,\"toplevel"),
        ("{\"toplevel", "{\"mode\":\"reboot\",\"toplevel"),
        ("{\"toplevel", "{\"revert_seconds\":5,\"toplevel"),
        ("-system-1", "-system-1.drv"),
        ("-system-1", "-system-1/bin"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        assert!(crate::score::parse::<NixosScore>(&bad).is_err(), "{bad}");
    }
}

#[test]
fn a_switch_is_planned_in_three_steps() {
    let lines: Vec<String> = score(Mode::Switch).plan(&Observed::default()).iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("bring /nix/store/") && lines[1].ends_with("on probation"), "{lines:?}");
    let boot = score(Mode::Boot).plan(&Observed { staged: true, ..Observed::default() });
    assert_eq!(boot, [NixosStep::MakeDefault { toplevel: path(1) }]);
}
