//! A simulated switch without its network: what it is, what it is set to, and what a line typed at it does.

use std::collections::BTreeMap;

use crate::model::{DEFAULT_VLAN, Learnt, Model, Neighbour, Port, Settings, Switchport, Vlan};
use crate::ports::PortId;
use crate::profile::{EnableDialog, Nasty, Os, Profile};
use crate::shell::{Context, Mode, Question, Reply, Shell, filter};
use crate::{fastiron, nos};

/// The switch.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) os: Os,
    pub(crate) units: u16,
    /// What its serial numbers have in common, four digits.
    pub(crate) serial: String,
    pub(crate) running: Model,
    pub(crate) startup: Model,
    pub(crate) neighbours: BTreeMap<PortId, Neighbour>,
    pub(crate) learnt: Vec<Learnt>,
    pub(crate) partners: bool,
    pub(crate) privileged: bool,
    pub(crate) enable: EnableDialog,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) enable_password: String,
    pub(crate) busy: u32,
    pub(crate) pager_stays: bool,
    pub(crate) version: Option<String>,
    pub(crate) show_version: Option<String>,
}

impl Device {
    pub(crate) fn new(profile: &Profile) -> Self {
        let mut running = Model {
            hostname: profile.hostname.clone(),
            ports: ports(profile.os, profile.units),
            lags: BTreeMap::new(),
            vlans: BTreeMap::new(),
            snmp: Vec::new(),
            lldp: true,
        };
        let default = Vlan { name: Some("DEFAULT-VLAN".to_owned()), ..Vlan::default() };
        running.vlans.insert(DEFAULT_VLAN, default);
        let mut neighbours = BTreeMap::new();
        let mut learnt = Vec::new();
        for (index, port) in running.ports.keys().copied().filter(|id| id.port <= PLUGGED).enumerate() {
            let low = u8::try_from(index % 256).unwrap_or_default();
            let mac = [0x52, 0x54, 0x00, 0xaa, 0x00, low];
            neighbours.insert(port, Neighbour { mac, port: "eth0".to_owned(), name: format!("host-{index}") });
        }
        for (port, mac, name) in &profile.plugged {
            neighbours.insert(*port, Neighbour { mac: *mac, port: "eth0".to_owned(), name: name.clone() });
        }
        for (port, neighbour) in &neighbours {
            if let Some(port) = running.ports.get_mut(port) {
                port.link = true;
            }
            learnt.push(Learnt { mac: neighbour.mac, port: *port, vlan: DEFAULT_VLAN });
        }
        if profile.nasty.port_names {
            for (port, name) in running.ports.values_mut().skip(9).zip(NASTY_NAMES) {
                port.settings.name = Some((*name).to_owned());
            }
        }
        Self {
            os: profile.os,
            units: profile.units,
            serial: serial(profile),
            startup: running.clone(),
            running,
            neighbours,
            learnt,
            partners: profile.partners,
            privileged: profile.privileged,
            enable: profile.enable,
            user: profile.user.clone(),
            password: profile.password.clone(),
            enable_password: profile.enable_password.clone(),
            busy: profile.nasty.busy_flash,
            pager_stays: profile.nasty.pager_stays,
            version: profile.version.clone(),
            show_version: profile.show_version.clone(),
        }
    }

    /// A session as it is after login.
    pub(crate) fn login(&self) -> Shell {
        let mode = if self.os == Os::Nos || self.privileged { Mode::Enable } else { Mode::User };
        Shell { mode, paging: true, user_name: None }
    }

    /// The prompt of a session.
    pub(crate) fn prompt(&self, shell: &Shell) -> String {
        match self.os {
            Os::Nos => nos::prompt(self, shell),
            Os::FastIronOld | Os::FastIronNew => fastiron::prompt(self, shell),
        }
    }

    /// Does what a line says.
    pub(crate) fn execute(&mut self, shell: &mut Shell, line: &str) -> Reply {
        let line = line.trim();
        if line.is_empty() {
            return Reply::silence();
        }
        let (command, pipe) = match line.split_once(" | ") {
            Some((command, pipe)) if command.starts_with("sh") || command.starts_with("do sh") => (command, Some(pipe)),
            _ => (line, None),
        };
        let os = self.os;
        let mut context = Context { device: self, shell };
        let mut reply = match os {
            Os::Nos => nos::execute(&mut context, command),
            Os::FastIronOld | Os::FastIronNew => fastiron::execute(&mut context, command),
        };
        if let Some(pipe) = pipe {
            match filter(&reply.text, pipe) {
                Some(text) => reply.text = text,
                None => reply.text = self.invalid(pipe),
            }
        }
        reply
    }

    /// Takes the answer to a question.
    pub(crate) fn answer(&mut self, shell: &mut Shell, question: Question, answer: &str) -> Reply {
        let mut context = Context { device: self, shell };
        match question {
            Question::EnableUser | Question::EnablePassword => fastiron::exec::answer(&mut context, question, answer),
            Question::SaveConfiguration => nos::exec::save(&mut context, answer),
            Question::Reload => {
                if answer.eq_ignore_ascii_case("y") {
                    context.device.running = context.device.startup.clone();
                    return Reply::close();
                }
                Reply::silence()
            }
        }
    }

    /// What `?` shows.
    pub(crate) fn help(&self, shell: &Shell, line: &str) -> String {
        match self.os {
            Os::Nos => nos::help(shell, line),
            Os::FastIronOld | Os::FastIronNew => fastiron::help(self.os, shell, line),
        }
    }

    pub(crate) fn render(&self, model: &Model) -> String {
        match self.os {
            Os::Nos => nos::render::configuration(self, model),
            Os::FastIronOld | Os::FastIronNew => fastiron::render::configuration(self, model),
        }
    }

    /// Whether the flash is busy, this time.
    pub(crate) fn flash_busy(&mut self) -> bool {
        let busy = self.busy > 0;
        self.busy = self.busy.saturating_sub(1);
        busy
    }

    fn invalid(&self, rest: &str) -> String {
        match self.os {
            Os::Nos => nos::unknown(0),
            Os::FastIronOld | Os::FastIronNew => format!("Invalid input -> {rest}\nType ? for a list\n"),
        }
    }
}

/// Whether paging may be turned off, and a new setting of nastiness.
impl Device {
    pub(crate) fn set_nasty(&mut self, nasty: &Nasty) {
        self.busy = nasty.busy_flash;
        self.pager_stays = nasty.pager_stays;
    }
}

/// Switches with different keys or names are different ones.
fn serial(profile: &Profile) -> String {
    let seed = profile.seed.iter().flatten().copied();
    let sum = profile.hostname.bytes().chain(seed).fold(7_u32, |sum, byte| (sum * 31 + u32::from(byte)) % 10_000);
    format!("{sum:04}")
}

fn ports(os: Os, units: u16) -> BTreeMap<PortId, Port> {
    // slot, how many ports, megabits a second
    let slots: &[(u16, u16, u32)] = match os {
        Os::FastIronOld => &[(1, 24, 1000), (2, 4, 10_000)],
        Os::FastIronNew => &[(1, 24, 1000), (3, 4, 10_000)],
        Os::Nos => &[(0, 48, 10_000)],
    };
    let mut ports = BTreeMap::new();
    for unit in 1..=units {
        for (slot, count, speed) in slots {
            for port in 1..=*count {
                let switchport = None::<Switchport>;
                let settings = Settings { switchport, disabled: os == Os::Nos, ..Settings::default() };
                let id = PortId { unit, slot: *slot, port };
                ports.insert(id, Port { speed: *speed, link: false, settings, group: None });
            }
        }
    }
    ports
}

/// In every slot, so many ports have something plugged in.
const PLUGGED: u16 = 8;

/// Names that mislead whoever looks for prompts, errors and pagers anywhere in the output.
const NASTY_NAMES: &[&str] = &[
    "10G to XI #1",
    "SSH@core-1#",
    "failed to boot",
    "a > b",
    "Error - none",
    "--More--, next",
    "caf\u{e9} \u{fc}ber",
    "(config)#",
];
