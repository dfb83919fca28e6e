//! Every key there is: its name, what it may hold, its default, and what it is for.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use toml::Value;

use super::Env;

/// Whose configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Role {
    /// The agent's.
    Agent,
    /// The coordinator's.
    Coordinator,
    /// The admin's.
    Admin,
}

impl Role {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Agent, Self::Coordinator, Self::Admin];

    /// Its name, which is also the name of its section.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Coordinator => "coordinator",
            Self::Admin => "admin",
        }
    }

    /// Its keys.
    pub(crate) const fn keys(self) -> &'static [Key] {
        match self {
            Self::Agent => AGENT,
            Self::Coordinator => COORDINATOR,
            Self::Admin => ADMIN,
        }
    }

    /// The key of this name.
    pub(super) fn key(self, name: &str) -> Option<&'static Key> {
        self.keys().iter().find(|key| key.name == name)
    }

    /// What its variables begin with.
    pub(super) const fn variables(self) -> &'static str {
        match self {
            Self::Agent => "FLT_AGENT_",
            Self::Coordinator => "FLT_COORDINATOR_",
            Self::Admin => "FLT_ADMIN_",
        }
    }

    /// Where its data is kept if nobody says: below `/var/lib` for daemons of root, in the home otherwise.
    fn data(self, env: &Env) -> Option<Value> {
        let base = if env.root && self != Self::Admin { Some("/var/lib/flotilla".into()) } else { env.user_data() };
        Some(path_value(&base?.join(self.name())))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name; `relay.listen` is `listen` in the table `[relay]`.
    pub(crate) name: &'static str,
    /// What it may hold.
    pub(super) kind: Kind,
    /// What holds if nobody says.
    pub(super) default: fn(&Env) -> Option<Value>,
}

impl Key {
    /// The name of its variable.
    pub(crate) fn variable(&self, role: Role) -> String {
        let name = self.name.to_ascii_uppercase().replace(['-', '.'], "_");
        format!("{}{name}", role.variables())
    }
}

/// What a key may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A path; in a file, a relative one is meant from the file's folder.
    Path,
    /// A [`protocols::Name`].
    Name,
    /// A user of this machine, by name or number.
    Account,
    /// `true` or `false`.
    Bool,
    /// A socket address.
    Addr,
    /// A socket address, or `off`.
    AddrOrOff,
    /// Some socket addresses.
    Addrs,
    /// A number in a range, ends included.
    Number(i64, i64),
    /// A URL with `http` or `https`.
    Url,
    /// What to log.
    Filter,
    /// One of some words.
    OneOf(&'static [&'static str]),
    /// A table whose presence alone says something.
    Table,
    /// Tables of devices, by their names.
    Devices,
    /// Tables of groups of devices, by their names.
    DeviceGroups,
}

impl Kind {
    /// Whether the value is of this kind.
    pub(super) fn check(self, value: &Value) -> Result<(), String> {
        let expected = |what: &str| Err(format!("should be {what}, and is {}", shown(value)));
        match (self, value) {
            (Self::Path, Value::String(text)) if !text.is_empty() && !text.contains('\0') => Ok(()),
            (Self::Path, _) => expected("a path"),
            (Self::Name, Value::String(text)) => {
                text.parse::<protocols::Name>().map(drop).map_err(|error| error.to_string())
            }
            (Self::Name, _) => expected("a name"),
            (Self::Account, Value::String(text)) if is_account(text) => Ok(()),
            (Self::Account, _) => expected("a user of this machine, by name or number"),
            (Self::Bool, Value::Boolean(_)) | (Self::Table, Value::Table(_)) => Ok(()),
            (Self::Bool, _) => expected("true or false"),
            (Self::AddrOrOff, Value::String(text)) if text == "off" => Ok(()),
            (Self::Addr | Self::AddrOrOff, Value::String(text)) if text.parse::<SocketAddr>().is_ok() => Ok(()),
            (Self::Addr, _) => expected("an address with a port, such as \"0.0.0.0:4433\" or \"[::]:4433\""),
            (Self::AddrOrOff, _) => expected("an address with a port, such as \"127.0.0.1:9478\", or \"off\""),
            (Self::Addrs, Value::Array(items)) if items.len() > ADDRS_MAX => {
                Err(format!("has {} addresses, and may have {ADDRS_MAX}", items.len()))
            }
            (Self::Addrs, Value::Array(items)) => items.iter().try_for_each(|item| Self::Addr.check(item)),
            (Self::Addrs, _) => expected("a list of addresses, such as [\"0.0.0.0:4433\"]"),
            (Self::Number(least, most), Value::Integer(number)) if (least..=most).contains(number) => Ok(()),
            (Self::Number(least, most), _) => expected(&format!("a number from {least} to {most}")),
            (Self::Url, Value::String(text)) if is_url(text) => Ok(()),
            (Self::Url, _) => expected("a URL, such as \"https://relay.example:4443\""),
            (Self::Filter, Value::String(text)) if tracing_subscriber::EnvFilter::try_new(text).is_ok() => Ok(()),
            (Self::Filter, _) => expected("a log filter, such as \"info\" or \"info,mesh=debug\""),
            (Self::OneOf(words), Value::String(text)) if words.contains(&text.as_str()) => Ok(()),
            (Self::OneOf(words), _) => expected(&format!("one of \"{}\"", words.join("\", \""))),
            (Self::Table, _) => expected("a table"),
            (Self::Devices, value) => super::devices::check(value),
            (Self::DeviceGroups, value) => super::groups::check(value),
        }
    }

    /// A value as it stands in a variable.
    pub(super) fn parse(self, text: &str) -> Value {
        let string = || Value::String(text.to_owned());
        match self {
            Self::Bool => text.parse().map_or_else(|_| string(), Value::Boolean),
            Self::Number(..) => text.parse().map_or_else(|_| string(), Value::Integer),
            Self::Addrs => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
            _ => string(),
        }
    }
}

/// A path as a value. Keys hold text, and paths of ours are text.
pub(crate) fn path_value(path: &Path) -> Value {
    Value::String(path.to_string_lossy().into_owned())
}

/// Some texts as a list; nothing if there are none, as with a flag that was not given.
pub(crate) fn list_value(items: &[String]) -> Option<Value> {
    (!items.is_empty()).then(|| Value::Array(items.iter().cloned().map(Value::String).collect()))
}

fn is_account(text: &str) -> bool {
    let odd = |c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c));
    !text.is_empty() && text.len() <= ACCOUNT_BYTES_MAX && !text.starts_with('-') && !text.contains(odd)
}

/// Beside the agent's own folder, which is another user's.
fn hands_data(env: &Env) -> Option<std::path::PathBuf> {
    let base = if env.root { Some("/var/lib/flotilla".into()) } else { env.user_data() };
    Some(base?.join("hands"))
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with(['/', ':']) && rest.chars().all(|c| c.is_ascii_graphic())
    })
}

fn shown(value: &Value) -> String {
    let text: String = value.to_string().chars().take(SHOWN_MAX).collect();
    if text.is_empty() { "empty".into() } else { text }
}

fn none(_: &Env) -> Option<Value> {
    None
}

fn text(text: &str) -> Option<Value> {
    Some(Value::String(text.to_owned()))
}

fn list(items: &[&str]) -> Option<Value> {
    Some(Value::Array(items.iter().map(|item| Value::String((*item).to_owned())).collect()))
}

const fn key(name: &'static str, kind: Kind, default: fn(&Env) -> Option<Value>) -> Key {
    Key { name, kind, default }
}

const AGENT: &[Key] = &[
    key("data", Kind::Path, |env| Role::Agent.data(env)),
    key("key-file", Kind::Path, none),
    key("ticket-file", Kind::Path, none),
    key("name", Kind::Name, none),
    key("listen", Kind::Addrs, |_| list(&["0.0.0.0:0"])),
    key("mdns", Kind::Bool, |_| Some(Value::Boolean(false))),
    key("metrics", Kind::AddrOrOff, |_| text("127.0.0.1:9478")),
    key("log", Kind::Filter, |_| text("info")),
    key("heartbeat-seconds", Kind::Number(1, 3600), |_| Some(Value::Integer(10))),
    key("files-root", Kind::Path, |_| text("/")),
    key("hands", Kind::Path, none),
    key("hands-data", Kind::Path, |env| Some(path_value(&hands_data(env)?))),
    key("hands-user", Kind::Account, |_| text("flotilla")),
    key("devices", Kind::Devices, none),
    key("device-groups", Kind::DeviceGroups, none),
    key("device-facts-seconds", Kind::Number(1, 86_400), |_| Some(Value::Integer(300))),
];

const COORDINATOR: &[Key] = &[
    key("data", Kind::Path, |env| Role::Coordinator.data(env)),
    key("key-file", Kind::Path, none),
    key("genesis", Kind::Path, none),
    key("ticket-file", Kind::Path, none),
    key("listen", Kind::Addrs, |_| list(&["0.0.0.0:4433"])),
    key("advertise", Kind::Addrs, |_| list(&[])),
    key("mdns", Kind::Bool, |_| Some(Value::Boolean(false))),
    key("metrics", Kind::AddrOrOff, |_| text("127.0.0.1:9479")),
    key("log", Kind::Filter, |_| text("info")),
    key("relay", Kind::Table, none),
    key("relay.listen", Kind::Addr, |_| text("0.0.0.0:4443")),
    key("relay.url", Kind::Url, none),
    key("relay.tls", Kind::OneOf(&["self-signed", "files", "none"]), |_| text("self-signed")),
    key("relay.cert-file", Kind::Path, none),
    key("relay.key-file", Kind::Path, none),
    key("relay.quic-listen", Kind::Addr, none),
];

const ADMIN: &[Key] = &[
    key("data", Kind::Path, |env| Role::Admin.data(env)),
    key("key-file", Kind::Path, none),
    key("ticket-file", Kind::Path, none),
];

/// The longest name of a user, in bytes.
const ACCOUNT_BYTES_MAX: usize = 64;
/// The most addresses in one list.
const ADDRS_MAX: usize = 16;
/// The most of a bad value that is shown, in characters.
const SHOWN_MAX: usize = 80;
