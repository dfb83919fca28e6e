//! NixOS-shaped systems, built by the real Nix from builtins alone: closures whose switch does what a test asks for.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use serde::Serialize;

/// One system: what it holds, and how it behaves when it is switched to.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct System {
    /// Its label, the end of its name.
    pub label: String,
    /// The version of the one package and the one unit that differ between systems.
    pub app: String,
    /// How many packages all systems have in common.
    pub shared: u32,
    /// The size of each of those, in KiB.
    pub shared_kib: u32,
    /// The size of the package that differs, in KiB.
    pub app_kib: u32,
    /// What the init of a running system must be to take over.
    pub init_interface: String,
    /// The JSON of what a switch may not change; no such file if empty.
    pub switch_inhibitors: String,
    /// The JSON of what asks for a reboot; no such file if empty.
    pub reboot_triggers: String,
    /// Lines of a shell that its activation runs first.
    pub hook: String,
    /// The exit status of its activation script.
    pub activate_exit: u8,
    /// The exit status of its check before a switch.
    pub check_exit: u8,
    /// The exit status of its boot loader's installer.
    pub boot_loader_exit: u8,
    /// An exit status of `switch-to-configuration test` itself, before it does anything.
    pub switch_exit: u8,
    /// Whether its unit fails to start.
    pub broken_unit: bool,
    /// More units, by name.
    pub units: BTreeMap<String, String>,
}

impl System {
    /// A small system that works; another `app` makes another system that shares most of its closure.
    pub fn new(app: impl ToString) -> Self {
        let app = app.to_string();
        Self {
            label: format!("g{app}"),
            app,
            shared: 5,
            shared_kib: 32,
            app_kib: 64,
            init_interface: "systemd 2".into(),
            switch_inhibitors: String::new(),
            reboot_triggers: String::new(),
            hook: String::new(),
            activate_exit: 0,
            check_exit: 0,
            boot_loader_exit: 0,
            switch_exit: 0,
            broken_unit: false,
            units: BTreeMap::new(),
        }
    }

    /// Builds it in the store at `/nix` and returns its path.
    ///
    /// # Errors
    /// When Nix cannot be run or the build fails; with the end of what it said.
    pub fn build(&self) -> io::Result<String> {
        let folder = tempfile::tempdir()?;
        let expression = folder.path().join("closure.nix");
        std::fs::write(&expression, EXPRESSION)?;
        std::fs::write(folder.path().join("switch-to-configuration.sh"), SWITCHER)?;
        let spec = serde_json::to_string(self).map_err(io::Error::other)?;
        let output = Command::new("nix-build")
            .args(["--no-out-link", "--quiet", "--argstr", "spec", &spec])
            .arg(&expression)
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let end: Vec<&str> = said.lines().rev().take(12).collect();
            return Err(io::Error::other(end.into_iter().rev().collect::<Vec<_>>().join("\n")));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// The folder with the scripts that make root file systems.
pub fn scripts() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts"))
}

const EXPRESSION: &str = include_str!("../nix/closure.nix");
const SWITCHER: &str = include_str!("../nix/switch-to-configuration.sh");
