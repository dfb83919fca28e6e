//! `flt admin device`: looks at devices that run no agent, from where the admin is.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use protocols::{Kind, Name};
use scores::Score as _;
use scores::switch::{Family, InterfaceScore, PortChannelScore, PortFenceScore, SnmpScore, VlanScore};
use serde::Serialize;
use switches::{Declaration, HostKey, Netconf, NetconfFound};

use crate::app::App;
use crate::config::host_and_port;
use crate::output::{Style, View};
use crate::report::{Advise as _, Code};

/// Devices.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Find out what a switch is and what can be declared for it
    #[command(after_long_help = EXAMPLES)]
    Probe(ProbeArgs),
}

/// `flt admin device probe`.
#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// Where it is: a host name or an address, with a port if it is not 22
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// Log in as this user
    #[arg(long, value_name = "USER", default_value = "admin")]
    user: String,
    /// Log in only to the device with this host key, `SHA256:…`
    #[arg(long, value_name = "FINGERPRINT")]
    host_key: Option<String>,
    /// Read the password from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Log in with the private key in this file
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Read the password of `enable` from this file
    #[arg(long, value_name = "FILE")]
    enable_password_file: Option<PathBuf>,
    /// Allow this old algorithm, by its SSH name
    #[arg(long, value_name = "NAME")]
    legacy: Vec<String>,
    /// Read by NETCONF where it can be opened, always, or never
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    netconf: When,
}

/// When a device is read by NETCONF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    /// Where it can be opened
    Auto,
    /// Always
    On,
    /// Never
    Off,
}

/// Runs a command.
pub(super) async fn run(command: DeviceCommand, app: &App) -> anyhow::Result<Code> {
    let DeviceCommand::Probe(args) = command;
    probe(args, app).await
}

async fn probe(args: ProbeArgs, app: &App) -> anyhow::Result<Code> {
    let (host, port) = host_and_port(&args.address).map_err(|why| anyhow!(why)).code(Code::Usage)?;
    let mut declaration = Declaration {
        name: "probed".parse::<Name>().context("cannot name the device")?,
        host,
        port,
        host_key: HostKey::Fingerprint(String::new()),
        user: args.user.clone(),
        password_file: args.password_file.clone(),
        key_file: args.key_file.clone(),
        enable_password_file: args.enable_password_file.clone(),
        legacy: args.legacy.clone(),
        netconf: match args.netconf {
            When::Auto => Netconf::Auto,
            When::On => Netconf::On,
            When::Off => Netconf::Off,
        },
        exclusive: true,
    };
    let doing = || format!("cannot probe {}", declaration.address());
    let Some(pinned) = args.host_key.clone() else {
        // Nothing secret is sent to whoever happens to answer.
        let (host_key, algorithms) = switches::look_at_key(&declaration).await.with_context(doing)?;
        app.out.view(&ProbeView::of(&args, host_key, algorithms, None))?;
        if args.password_file.is_some() || args.key_file.is_some() {
            app.out.hint("compare the key with the device's own, then log in with --host-key");
        }
        return Ok(Code::Done);
    };
    declaration.host_key = HostKey::Fingerprint(pinned);
    let doing = || format!("cannot probe {}", declaration.address());
    let found = switches::probe(&declaration).await.with_context(doing)?;
    let device = Found {
        system: found.version.system.to_string(),
        version: found.version.version.clone(),
        model: found.version.model.clone(),
        units: found.version.units.iter().map(|unit| unit.id).collect(),
        port_channels: format!("{} ({})", syntax(found.family), found.family_told),
        netconf: match found.netconf {
            NetconfFound::No(why) => NetconfView { used: false, why: Some(why), ..NetconfView::default() },
            NetconfFound::Yes { chunked, capabilities, differences } => NetconfView {
                used: true,
                why: None,
                base: if chunked { "1.1" } else { "1.0" },
                capabilities,
                differences,
            },
        },
        scores: KINDS.iter().map(ToString::to_string).collect(),
    };
    app.out.view(&ProbeView::of(&args, found.host_key, found.algorithms, Some(device)))?;
    Ok(Code::Done)
}

/// What was found.
#[derive(Debug, Serialize)]
struct ProbeView {
    address: String,
    host_key: String,
    /// Key exchange, host key, cipher, MAC.
    algorithms: Vec<String>,
    /// Whether it was logged in to.
    logged_in: bool,
    #[serde(flatten)]
    device: Option<Found>,
    /// What an agent's configuration says to manage it.
    declaration: String,
}

/// What a login tells.
#[derive(Debug, Serialize)]
struct Found {
    system: String,
    version: String,
    model: Option<String>,
    units: Vec<u16>,
    /// Which syntax of port channels it has, and how that is known.
    port_channels: String,
    netconf: NetconfView,
    /// The kinds of scores that can be played on it.
    scores: Vec<String>,
}

/// Whether it is read by NETCONF.
#[derive(Debug, Default, Serialize)]
struct NetconfView {
    used: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// The newest base that both know.
    base: &'static str,
    capabilities: usize,
    /// Where its running configuration says other things by NETCONF than on the command line.
    differences: Vec<String>,
}

fn syntax(family: Family) -> &'static str {
    match family {
        Family::FastIronDeploy => "with `primary-port` and `deploy`",
        Family::FastIron => "`interface lag`",
        Family::NetworkOs => "`interface Port-channel`",
    }
}

impl ProbeView {
    fn of(args: &ProbeArgs, host_key: String, algorithms: Vec<String>, device: Option<Found>) -> Self {
        let mut lines = vec![
            "[devices.NAME]".to_owned(),
            "kind = \"switch\"".to_owned(),
            format!("address = {:?}", args.address),
            format!("user = {:?}", args.user),
            format!("host-key = {host_key:?}"),
        ];
        let files = [
            ("password-file", args.password_file.as_ref()),
            ("key-file", args.key_file.as_ref()),
            ("enable-password-file", args.enable_password_file.as_ref()),
        ];
        lines.extend(
            files.into_iter().filter_map(|(key, path)| Some(format!("{key} = {:?}", path?.display().to_string()))),
        );
        if args.password_file.is_none() && args.key_file.is_none() {
            lines.push("password-file = \"FILE\"".to_owned());
        }
        if args.netconf != When::Auto {
            lines.push(format!("netconf = {:?}", if args.netconf == When::On { "on" } else { "off" }));
        }
        if !args.legacy.is_empty() {
            lines.push(format!("legacy = {:?}", args.legacy));
        }
        let declaration = lines.join("\n");
        Self { address: args.address.clone(), host_key, algorithms, logged_in: device.is_some(), device, declaration }
    }
}

impl View for ProbeView {
    const SCHEMA: &'static str = "flt.device-probe/1";

    fn text(&self, _style: &Style) -> String {
        let mut text = format!("address     {}\nhost key    {}\n", self.address, self.host_key);
        text.push_str(&format!("algorithms  {}\n", self.algorithms.join(", ")));
        match &self.device {
            Some(device) => {
                text.push_str(&format!("system      {} {}\n", device.system, device.version));
                text.push_str(&format!("model       {}\n", device.model.as_deref().unwrap_or("not told")));
                let units: Vec<String> = device.units.iter().map(ToString::to_string).collect();
                text.push_str(&format!("units       {}\n", units.join(", ")));
                text.push_str(&format!("channels    {}\n", device.port_channels));
                text.push_str(&format!("netconf     {}\n", device.netconf.text()));
                text.push_str(&format!("scores      {}\n", device.scores.join(", ")));
            }
            None => text.push_str("not logged in: nothing is sent before the host key is known\n"),
        }
        text.push_str("\nin the agent's configuration:\n");
        for line in self.declaration.lines() {
            text.push_str(&format!("  {line}\n"));
        }
        text
    }
}

impl NetconfView {
    fn text(&self) -> String {
        if let Some(why) = &self.why {
            return format!("no: {why}");
        }
        let said = format!("yes, base:{}, {} capabilities; its running configuration", self.base, self.capabilities);
        if self.differences.is_empty() {
            return format!("{said} says what the command line says");
        }
        let differences: String = self.differences.iter().map(|one| format!("\n              {one}")).collect();
        format!("{said} does not say what the command line says; to be the same it would:{differences}")
    }
}

/// The kinds of scores that are played on switches.
const KINDS: &[Kind] =
    &[PortChannelScore::KIND, InterfaceScore::KIND, VlanScore::KIND, SnmpScore::KIND, PortFenceScore::KIND];

const EXAMPLES: &str = "\
Without --host-key it looks at the key and does not log in.

Examples:
  flt admin device probe 10.0.0.7
  flt admin device probe 10.0.0.7 --host-key SHA256:… --user flotilla --password-file switch.password
  flt admin device probe 10.0.0.7 --legacy diffie-hellman-group14-sha1 --legacy ssh-rsa";
