//! What it takes to bring a machine to the declared system, given what was observed.

use std::fmt;

use serde::Serialize;

use super::{Mode, NixosScore, StorePath};
use crate::{Plan, Standing};

/// What was found on a machine, with a declared system in mind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Observed {
    /// The system that runs.
    pub current: Option<StorePath>,
    /// The system that the profile names and the boot loader was last told.
    pub default: Option<StorePath>,
    /// Whether the declared system is in the store and held there by a root.
    pub staged: bool,
    /// Whether the boot loader is known to lack the declared system although the profile names it.
    pub boot_entry_missing: bool,
    /// Whether a way back from the running system is still armed.
    pub probation: bool,
    /// Why the running system cannot be switched to the declared one, as far as is known.
    pub boot_only: Option<BootOnly>,
}

/// Why a system can only come into force by a boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "because")]
pub enum BootOnly {
    /// The two systems differ in something that a switch may not change.
    Inhibited {
        /// What differs, by the inhibitors' names.
        inhibitors: Vec<String>,
    },
    /// Their first processes do not understand each other.
    Init,
    /// The switch itself said so (its exit status 100).
    Refused,
}

/// One change to a machine's system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum NixosStep {
    /// Bring the missing paths of the closure, and hold it in the store.
    Stage {
        /// The system.
        toplevel: StorePath,
    },
    /// Switch the running system, leaving the next boot as it is.
    Activate {
        /// The system.
        toplevel: StorePath,
    },
    /// Name it in the profile and to the boot loader.
    MakeDefault {
        /// The system.
        toplevel: StorePath,
    },
}

impl Plan for NixosScore {
    type Observed = Observed;
    type Step = NixosStep;

    fn plan(&self, observed: &Observed) -> Vec<NixosStep> {
        let toplevel = || self.toplevel.clone();
        let is = |path: &Option<StorePath>| path.as_ref() == Some(&self.toplevel);
        let runs = is(&observed.current) || self.waits_for_boot(observed);
        let default = is(&observed.default) && !observed.boot_entry_missing;
        let mut steps = Vec::new();
        let held = observed.staged || runs && default;
        if !held {
            steps.push(NixosStep::Stage { toplevel: toplevel() });
        }
        if !runs {
            steps.push(NixosStep::Activate { toplevel: toplevel() });
        }
        if !default || observed.probation {
            steps.push(NixosStep::MakeDefault { toplevel: toplevel() });
        }
        steps
    }

    fn after_checks(step: &NixosStep) -> bool {
        matches!(step, NixosStep::MakeDefault { .. })
    }

    fn standing(&self, observed: &Observed) -> Standing {
        if observed.current.as_ref() == Some(&self.toplevel) {
            return Standing::Running;
        }
        match &observed.boot_only {
            Some(why) => Standing::RebootPending(why.to_string()),
            None => Standing::RebootPending("it was declared for the next boot".into()),
        }
    }
}

impl NixosScore {
    /// Whether nothing more can or shall be done before a boot than to make it the default.
    fn waits_for_boot(&self, observed: &Observed) -> bool {
        self.mode == Mode::Boot || observed.boot_only.is_some()
    }
}

impl fmt::Display for NixosStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage { toplevel } => write!(f, "bring {toplevel} into the store"),
            Self::Activate { toplevel } => write!(f, "switch to {toplevel}, on probation"),
            Self::MakeDefault { toplevel } => write!(f, "boot {toplevel} from now on"),
        }
    }
}

impl fmt::Display for BootOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inhibited { inhibitors } => write!(f, "a switch may not change {}", inhibitors.join(", ")),
            Self::Init => f.write_str("the running init cannot take over the new system"),
            Self::Refused => f.write_str("the system cannot be switched to while running"),
        }
    }
}
