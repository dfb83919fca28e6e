//! `flt dev switch`: a simulated switch in the foreground, to try declarations and clients on.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde::Serialize;
use switchsim::{Algorithms, Auth, EnableDialog, NASTY_BANNER, Nasty, NastyNetconf, Profile, Sim};

use crate::app::App;
use crate::output::{Style, View};
use crate::report::Code;

/// `flt dev switch`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct SwitchArgs {
    /// Which switch
    #[arg(long, value_name = "OS", default_value = "fastiron-8095")]
    os: System,
    /// Listen on this port of 127.0.0.1; 0 is any
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Its name, which is in its prompt
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Units of the stack or fabric
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=8))]
    units: u16,
    /// What its SSH server offers
    #[arg(long, value_name = "AGE", default_value = "modern")]
    algorithms: Age,
    /// Ask for the password by keyboard-interactive instead
    #[arg(long)]
    keyboard_interactive: bool,
    /// How `enable` asks
    #[arg(long, value_name = "DIALOG", default_value = "password")]
    enable: Dialog,
    /// A login lands at the privileged prompt at once
    #[arg(long)]
    privileged: bool,
    /// Network OS without NETCONF
    #[arg(long)]
    no_netconf: bool,
    #[command(flatten)]
    nastiness: Nastiness,
}

/// How nasty it is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Nastiness")]
struct Nastiness {
    /// All that does not keep a good client from its work
    #[arg(long)]
    nasty: bool,
    /// Cut the output into packets of so many bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    split: Option<u32>,
    /// Wait so many milliseconds between two packets
    #[arg(long, value_name = "MS")]
    delay: Option<u32>,
    /// Greet with a banner that looks like prompts
    #[arg(long)]
    banner: bool,
    /// Page every so many rows, whatever the terminal says
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u16).range(2..))]
    pager: Option<u16>,
    /// Refuse to turn paging off
    #[arg(long)]
    pager_stays: bool,
    /// Put escape sequences into the output
    #[arg(long)]
    ansi: bool,
    /// Lose the connection instead of the answer to the N-th command, once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    drop_after: Option<u32>,
    /// Refuse more connections at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    sessions: Option<u16>,
    /// The flash is busy when it is saved to, so many times
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    busy_flash: u32,
    /// Never answer commands that begin so
    #[arg(long, value_name = "PREFIX")]
    mute: Vec<String>,
    /// Do not echo what is typed
    #[arg(long)]
    no_echo: bool,
    /// Give ports names that look like prompts, errors and pagers
    #[arg(long)]
    odd_names: bool,
    /// Write Latin-1, and bytes that are no text at all
    #[arg(long)]
    wrong_encoding: bool,
    /// Say so many entries at once by NETCONF
    #[arg(long, value_name = "ENTRIES", value_parser = clap::value_parser!(u16).range(1..))]
    netconf_page: Option<u16>,
    /// Speak NETCONF of base:1.0 alone
    #[arg(long)]
    netconf_base_1_0: bool,
}

/// Which switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum System {
    /// A stack of ICX 6450, FastIron 08.0.30: LAGs have a primary port and are deployed
    #[value(name = "fastiron-8030")]
    #[serde(rename = "fastiron-8030")]
    Old,
    /// A stack of ICX 7150, FastIron 08.0.95: LAGs are interfaces
    #[value(name = "fastiron-8095")]
    #[serde(rename = "fastiron-8095")]
    New,
    /// A fabric of VDX 6740, Network OS 7.2
    #[value(name = "nos")]
    Nos,
}

/// How old its SSH server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Age {
    /// What current servers offer
    Modern,
    /// Group 14 with SHA-1, ssh-rsa, AES in CBC, hmac-sha1
    Legacy,
    /// Group 1 with SHA-1, ssh-rsa, 3DES and AES in CBC, hmac-sha1
    Ancient,
}

/// How `enable` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dialog {
    /// For a password
    Password,
    /// For a user's name and password
    UserName,
    /// Not at all
    Open,
}

/// A switch that runs.
#[derive(Debug, Serialize)]
struct SwitchView {
    os: System,
    addr: SocketAddr,
    fingerprint: String,
    user: &'static str,
    password: &'static str,
    enable_password: &'static str,
}

impl View for SwitchView {
    const SCHEMA: &'static str = "flt.dev-switch/1";

    fn text(&self, _style: &Style) -> String {
        let Self { addr, fingerprint, user, password, enable_password, .. } = self;
        format!(
            "a switch at {addr}, host key {fingerprint}\n\
             user {user}, password {password}, enable password {enable_password}\n\
             next:\n  ssh -p {} {user}@{}\n  flt admin device probe {addr} --user {user}\n",
            addr.port(),
            addr.ip(),
        )
    }
}

/// Runs a switch until ctrl-C.
pub(super) async fn run(args: SwitchArgs, app: &App) -> anyhow::Result<Code> {
    let os = args.os;
    let sim = Sim::start(profile(args)).await.context("cannot start the switch")?;
    let view = SwitchView {
        os,
        addr: sim.addr(),
        fingerprint: sim.fingerprint().to_owned(),
        user: "admin",
        password: "secret",
        enable_password: "enable",
    };
    app.out.view(&view)?;
    app.out.hint("ctrl-C ends it; nothing that is set on it is kept");
    tokio::signal::ctrl_c().await.context("cannot listen for ctrl-C")?;
    Ok(Code::Done)
}

fn profile(args: SwitchArgs) -> Profile {
    let mut profile = match args.os {
        System::Old => Profile::fastiron_8030(),
        System::New => Profile::fastiron_8095(),
        System::Nos => Profile::nos(),
    };
    // The same switch has the same key the next time, so that whoever pinned it need not pin it again.
    let name = args.hostname.unwrap_or_else(|| format!("{:?}", args.os).to_lowercase());
    let seed = blake3::derive_key("flotilla dev switch 1 host key", format!("{:?} {name}", args.os).as_bytes());
    profile = profile
        .hostname(&name)
        .units(args.units)
        .port(args.port)
        .seed(seed)
        .algorithms(match args.algorithms {
            Age::Modern => Algorithms::Modern,
            Age::Legacy => Algorithms::Legacy,
            Age::Ancient => Algorithms::Ancient,
        })
        .enable(match args.enable {
            Dialog::Password => EnableDialog::Password,
            Dialog::UserName => EnableDialog::UserName,
            Dialog::Open => EnableDialog::Open,
        })
        .nasty(nasty(args.nastiness));
    if args.keyboard_interactive {
        profile = profile.auth(Auth::KeyboardInteractive);
    }
    if args.privileged {
        profile = profile.privileged();
    }
    if args.no_netconf {
        profile = profile.without_netconf();
    }
    profile
}

fn nasty(args: Nastiness) -> Nasty {
    let base = if args.nasty { Nasty::everything() } else { Nasty::default() };
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Nasty {
        split_bytes: args.split.map(count).or(base.split_bytes),
        delay: args.delay.map(|ms| Duration::from_millis(ms.into())).or(base.delay),
        banner: args.banner.then(|| NASTY_BANNER.to_owned()).or(base.banner),
        pager: args.pager.map(usize::from).or(base.pager),
        pager_stays: args.pager_stays || base.pager_stays,
        ansi: args.ansi || base.ansi,
        drop_after_commands: args.drop_after.map(count),
        session_limit: args.sessions.map(usize::from).or(base.session_limit),
        busy_flash: args.busy_flash.max(base.busy_flash),
        mute: args.mute,
        silent: base.silent,
        no_echo: args.no_echo || base.no_echo,
        port_names: args.odd_names || base.port_names,
        wrong_encoding: args.wrong_encoding || base.wrong_encoding,
        netconf: NastyNetconf {
            split_bytes: args.split.map(count).or(base.netconf.split_bytes),
            page: args.netconf_page.map(usize::from).or(base.netconf.page),
            base_1_0: args.netconf_base_1_0 || base.netconf.base_1_0,
            ..base.netconf
        },
    }
}

const EXAMPLES: &str = "\
Everybody knows its passwords: it listens on 127.0.0.1 alone.

Examples:
  flt dev switch                                   a stack of ICX 7150
  flt dev switch --os fastiron-8030 --port 2222    an older one, always at the same port
  flt dev switch --os nos --nasty                  a VDX on a bad day
  flt dev switch --algorithms ancient              for clients that say they speak to anything";
