//! What kind of switch is simulated, how it lets people in, and how nasty it is.

use std::time::Duration;

use crate::ports::PortId;

/// Which operating system speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Os {
    /// FastIron 08.0.30 on an ICX 6450: LAGs have a primary port and are deployed.
    FastIronOld,
    /// FastIron 08.0.95 on an ICX 7150: LAGs are interfaces; `primary-port` and `deploy` are refused.
    FastIronNew,
    /// Network OS 7.2 on a VDX 6740.
    Nos,
}

/// How `enable` asks. Network OS has no `enable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnableDialog {
    /// For the enable password alone.
    Password,
    /// For a user's name and password, as with RADIUS or TACACS.
    UserName,
    /// Not at all: `No password has been assigned yet...`
    Open,
}

/// How a client proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// By SSH's `password`.
    Password,
    /// By SSH's `keyboard-interactive`; `password` is not offered.
    KeyboardInteractive,
    /// By a key: its public half as a line of `authorized_keys`.
    PublicKey(String),
}

/// What the SSH server offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Algorithms {
    /// What a current server offers, with an Ed25519 host key.
    Modern,
    /// What switches of 2015 know: group 14 with SHA-1, `ssh-rsa`, CBC, `hmac-sha1`.
    Legacy,
    /// What switches of 2010 know: group 1 with SHA-1, `ssh-rsa`, 3DES and AES-128 in CBC, `hmac-sha1`.
    Ancient,
    /// These names alone; an RSA host key if a host key's name has `rsa` in it, otherwise an Ed25519 one.
    Named {
        /// Key exchange.
        kex: Vec<String>,
        /// Host keys.
        key: Vec<String>,
        /// Ciphers.
        cipher: Vec<String>,
        /// Message authentication.
        mac: Vec<String>,
    },
}

/// How unpleasant a switch is. The default is as pleasant as a real one gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nasty {
    /// Every write of the command line is cut into packets of this many bytes.
    pub split_bytes: Option<usize>,
    /// Printed before the first prompt.
    pub banner: Option<String>,
    /// Pages have this many rows, whatever the terminal says.
    pub pager: Option<usize>,
    /// Paging cannot be turned off: the command is refused.
    pub pager_stays: bool,
    /// Escape sequences before every prompt and in the output.
    pub ansi: bool,
    /// Between two packets.
    pub delay: Option<Duration>,
    /// See [`Sim::drop_after`](crate::Sim::drop_after).
    pub drop_after_commands: Option<usize>,
    /// More logins at a time than this are refused.
    pub session_limit: Option<usize>,
    /// So many times saving answers that the flash is busy.
    pub busy_flash: u32,
    /// Commands that begin with one of these are never answered.
    pub mute: Vec<String>,
    /// A login is followed by nothing: no banner, no prompt.
    pub silent: bool,
    /// What is typed is not echoed.
    pub no_echo: bool,
    /// Ports get names that look like prompts, errors and pagers.
    pub port_names: bool,
    /// Output is in Latin-1 and has bytes that are no text at all.
    pub wrong_encoding: bool,
    /// What is unpleasant about its NETCONF.
    pub netconf: NastyNetconf,
}

/// How unpleasant NETCONF is. Requests are commands too: `netconf get-config` can be muted, and a connection that is lost
/// after one is lost in the middle of the reply. `netconf hello` can be muted as well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NastyNetconf {
    /// Every write is cut into packets of this many bytes.
    pub split_bytes: Option<usize>,
    /// Said in place of its hello.
    pub hello: Option<String>,
    /// It knows base:1.0 alone: no chunks.
    pub base_1_0: bool,
    /// So many entries come at once.
    pub page: Option<usize>,
    /// Chunks have so many bytes.
    pub chunk: Option<usize>,
    /// Elements that nobody knows, and interfaces that nobody asked for.
    pub extra: bool,
    /// Requests of these names are answered so; `{id}` stands for the number of the message.
    pub answers: Vec<(String, String)>,
    /// The answer to this request never ends.
    pub endless: Option<String>,
}

impl Nasty {
    /// All that does not keep a good client from its work.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            split_bytes: Some(1),
            banner: Some(NASTY_BANNER.to_owned()),
            pager: Some(24),
            pager_stays: true,
            ansi: true,
            delay: None,
            drop_after_commands: None,
            session_limit: Some(1),
            busy_flash: 1,
            mute: Vec::new(),
            silent: false,
            no_echo: false,
            port_names: true,
            wrong_encoding: true,
            netconf: NastyNetconf {
                split_bytes: Some(50),
                page: Some(20),
                chunk: Some(100),
                extra: true,
                ..NastyNetconf::default()
            },
        }
    }
}

/// A banner that looks like prompts, questions and pagers.
pub const NASTY_BANNER: &str = "##########################################\n# rack-3> is watched. # Password: no >\nSSH@other#\n--More--, next page: Space\n###>";

/// A switch to be.
#[derive(Clone, Debug)]
pub struct Profile {
    pub(crate) os: Os,
    pub(crate) hostname: String,
    pub(crate) units: u16,
    pub(crate) nasty: Nasty,
    pub(crate) algorithms: Algorithms,
    pub(crate) auth: Auth,
    pub(crate) enable: EnableDialog,
    pub(crate) privileged: bool,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) enable_password: String,
    pub(crate) partners: bool,
    pub(crate) seed: Option<[u8; 32]>,
    pub(crate) port: u16,
    pub(crate) plugged: Vec<(PortId, [u8; 6], String)>,
    pub(crate) netconf: bool,
    pub(crate) version: Option<String>,
    pub(crate) show_version: Option<String>,
}

impl Profile {
    /// A stack of two ICX 6450 with FastIron 08.0.30.
    #[must_use]
    pub fn fastiron_8030() -> Self {
        Self::new(Os::FastIronOld, "icx-old")
    }

    /// A stack of two ICX 7150 with FastIron 08.0.95.
    #[must_use]
    pub fn fastiron_8095() -> Self {
        Self::new(Os::FastIronNew, "icx-new")
    }

    /// A fabric of two VDX 6740 with Network OS 7.2.
    #[must_use]
    pub fn nos() -> Self {
        Self::new(Os::Nos, "sw0")
    }

    fn new(os: Os, hostname: &str) -> Self {
        Self {
            os,
            hostname: hostname.to_owned(),
            units: 2,
            nasty: Nasty::default(),
            algorithms: Algorithms::Modern,
            auth: Auth::Password,
            enable: EnableDialog::Password,
            privileged: false,
            user: "admin".to_owned(),
            password: "secret".to_owned(),
            enable_password: "enable".to_owned(),
            partners: true,
            seed: None,
            port: 0,
            plugged: Vec::new(),
            netconf: os == Os::Nos,
            version: None,
            show_version: None,
        }
    }

    /// How unpleasant it is.
    #[must_use]
    pub fn nasty(mut self, nasty: Nasty) -> Self {
        self.nasty = nasty;
        self
    }

    /// What its SSH server offers.
    #[must_use]
    pub fn algorithms(mut self, algorithms: Algorithms) -> Self {
        self.algorithms = algorithms;
        self
    }

    /// How clients prove who they are.
    #[must_use]
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// How `enable` asks.
    #[must_use]
    pub fn enable(mut self, enable: EnableDialog) -> Self {
        self.enable = enable;
        self
    }

    /// A login lands at the privileged prompt at once.
    #[must_use]
    pub fn privileged(mut self) -> Self {
        self.privileged = true;
        self
    }

    /// Its name, which is in its prompt.
    #[must_use]
    pub fn hostname(mut self, hostname: &str) -> Self {
        hostname.clone_into(&mut self.hostname);
        self
    }

    /// How many units the stack or fabric has, one to eight.
    #[must_use]
    pub fn units(mut self, units: u16) -> Self {
        self.units = units.clamp(1, 8);
        self
    }

    /// Nobody speaks LACP at the other ends of the cables.
    #[must_use]
    pub fn without_partners(mut self) -> Self {
        self.partners = false;
        self
    }

    /// The host key comes from this seed, so that a switch that is started again is the same.
    #[must_use]
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The TCP port to listen on; 0 is any.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Its SSH server has no NETCONF.
    #[must_use]
    pub fn without_netconf(mut self) -> Self {
        self.netconf = false;
        self
    }

    /// The version that FastIron says it is of, whatever it does.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = Some(version.to_owned());
        self
    }

    /// What `show version` prints, all of it: for systems that nobody knows.
    #[must_use]
    pub fn show_version(mut self, text: &str) -> Self {
        self.show_version = Some(text.to_owned());
        self
    }

    /// Plugs a host's NIC with this address and name into a port.
    #[must_use]
    pub fn plug(mut self, port: PortId, mac: [u8; 6], name: &str) -> Self {
        self.plugged.push((port, mac, name.to_owned()));
        self
    }
}
