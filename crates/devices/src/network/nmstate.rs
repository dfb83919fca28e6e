//! A host whose network nmstate sets, over NetworkManager.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use scores::bond::{HostBond, HostLinks, HostNetwork};
use scores::{DeviceError, Topology, durable};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::program::Program;
use super::{blocking, links, program, read, under};

/// A host whose network `nmstatectl` sets. What is on probation is in memory alone, and gone after a boot.
#[derive(Debug, Clone)]
pub struct NmstateHost {
    root: PathBuf,
    control: Program,
    data: PathBuf,
}

/// What was set by declarations: nmstate itself does not tell who has set what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Memory {
    /// What is on probation, and during which boot.
    now: Option<(String, HostBond)>,
    always: Option<HostBond>,
}

/// What was there of a bond and of its members.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    memory: Memory,
    existed: bool,
    members: Option<Vec<String>>,
    interfaces: Vec<Value>,
    routes: Vec<Value>,
}

impl NmstateHost {
    /// `root` stands for `/`, `control` is the program `nmstatectl`, `data` a folder to remember what was set in.
    pub fn new(root: impl Into<PathBuf>, control: impl Into<PathBuf>, data: &Path) -> Self {
        Self { root: root.into(), control: Program::new(control.into()), data: data.join("bonds") }
    }

    /// Has the program run by another one, whose words these are.
    #[must_use]
    pub fn run_by(self, before: &[String]) -> Self {
        Self { control: self.control.run_by(before), ..self }
    }

    async fn show(&self) -> Result<Value, DeviceError> {
        let text = program::run(&self.control, &["show", "--json"], "").await?;
        serde_json::from_str(&text).map_err(|error| DeviceError::permanent("read what nmstatectl shows").because(error))
    }

    async fn apply(&self, state: &Value, lasts: bool) -> Result<(), DeviceError> {
        let args: &[&str] = if lasts { &["apply", "-"] } else { &["apply", "--memory-only", "-"] };
        program::run(&self.control, args, &state.to_string()).await.map(drop)
    }

    fn file(&self, bond: &str) -> PathBuf {
        self.data.join(format!("{bond}.json"))
    }

    async fn recall(&self, bond: &str) -> Result<(Memory, String), DeviceError> {
        let (file, boot) = (self.file(bond), under(&self.root, "proc/sys/kernel/random/boot_id"));
        let read = move || {
            let boot = read(&boot)?.unwrap_or_default().trim().to_owned();
            let memory = match read(&file)? {
                Some(text) => serde_json::from_str(&text).map_err(std::io::Error::other)?,
                None => Memory::default(),
            };
            Ok((memory, boot))
        };
        blocking("read which bonds were set", read).await
    }

    async fn remember(&self, bond: &str, memory: Memory) -> Result<(), DeviceError> {
        let file = self.file(bond);
        let write = move || {
            if memory == Memory::default() {
                return match std::fs::remove_file(&file) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                };
            }
            file.parent().map_or(Ok(()), durable::make_folder)?;
            durable::write(&file, &serde_json::to_vec(&memory).map_err(std::io::Error::other)?)
        };
        blocking("note which bonds were set", write).await
    }
}

impl Topology for NmstateHost {
    fn name(&self) -> &'static str {
        "host"
    }

    async fn ensure_ready(&self) -> Result<(), DeviceError> {
        match self.show().await {
            Ok(_) => Ok(()),
            Err(error) => Err(DeviceError::transient("ask nmstate").because(scores::chain(&error))),
        }
    }
}

impl HostNetwork for NmstateHost {
    async fn look(&self, bond: &str) -> Result<HostLinks, DeviceError> {
        let shown = self.show().await?;
        let (memory, boot) = self.recall(bond).await?;
        let (root, name) = (self.root.clone(), bond.to_owned());
        let read = move || Ok((links::links(&root)?, links::state(&root, &name)?));
        let (links, state) = blocking("look at the interfaces", read).await?;
        let is_there = |declared: &HostBond| interface(&shown, bond).is_some_and(|found| is_as(found, declared));
        let now = memory.now.filter(|(at, _)| *at == boot).map(|(_, bond)| bond);
        let running = now.or_else(|| memory.always.clone()).filter(is_there);
        Ok(HostLinks { links, running, startup: memory.always, foreign: None, state })
    }

    async fn record(&self, bond: &str) -> Result<String, DeviceError> {
        let shown = self.show().await?;
        let (memory, _) = self.recall(bond).await?;
        let (root, name) = (self.root.clone(), bond.to_owned());
        let state = blocking("see how the bond fares", move || links::state(&root, &name)).await?;
        // All of them: which ones the bond will take is not said here.
        let all = shown.get("interfaces").and_then(Value::as_array).cloned().unwrap_or_default();
        let routes = shown.pointer("/routes/config").and_then(Value::as_array).cloned().unwrap_or_default();
        let before = Before {
            memory,
            existed: interface(&shown, bond).is_some(),
            members: state.map(|state| state.members.into_keys().collect()),
            interfaces: all.iter().filter_map(settable).collect(),
            routes,
        };
        serde_json::to_string(&before).map_err(|error| DeviceError::permanent("record what was before").because(error))
    }

    async fn set(&self, bond: &HostBond) -> Result<(), DeviceError> {
        let (memory, boot) = self.recall(&bond.name).await?;
        self.remember(&bond.name, Memory { now: Some((boot, bond.clone())), ..memory }).await?;
        self.apply(&desired(bond), false).await
    }

    async fn keep(&self, bond: &HostBond) -> Result<(), DeviceError> {
        self.apply(&desired(bond), true).await?;
        self.remember(&bond.name, Memory { now: None, always: Some(bond.clone()) }).await
    }

    async fn put_back(&self, bond: &str, record: &str) -> Result<(), DeviceError> {
        let before: Before = serde_json::from_str(record)
            .map_err(|error| DeviceError::permanent("read what was before").because(error))?;
        let (memory, _) = self.recall(bond).await?;
        let set = [memory.now.as_ref().map(|(_, bond)| bond), memory.always.as_ref()];
        let mut touched: BTreeSet<&str> =
            set.into_iter().flatten().flat_map(|bond| &bond.nics).map(String::as_str).collect();
        touched.insert(bond);
        let of = |value: &Value, key: &str| {
            value.get(key).and_then(Value::as_str).is_some_and(|name| touched.contains(name))
        };
        let mut interfaces: Vec<Value> =
            before.interfaces.iter().filter(|interface| of(interface, "name")).cloned().collect();
        if !before.existed {
            interfaces.insert(0, json!({ "name": bond, "type": "bond", "state": "absent" }));
        }
        let routes: Vec<&Value> = before.routes.iter().filter(|route| of(route, "next-hop-interface")).collect();
        if memory != before.memory {
            // For good: it may have been interrupted when it was made so.
            self.apply(&json!({ "interfaces": interfaces, "routes": { "config": routes } }), true).await?;
            self.remember(bond, before.memory).await?;
        }
        self.is_back(bond, before.existed, before.members).await
    }
}

impl NmstateHost {
    async fn is_back(&self, bond: &str, existed: bool, before: Option<Vec<String>>) -> Result<(), DeviceError> {
        let until = Instant::now() + BACK_WITHIN;
        loop {
            let (root, name) = (self.root.clone(), bond.to_owned());
            let look = move || Ok((links::state(&root, &name)?, links::exists(&root, &name)));
            let (state, exists) = blocking("see how the bond fares", look).await?;
            let members = state.map(|state| state.members.into_keys().collect::<Vec<_>>());
            if if existed { members == before } else { !exists } {
                return Ok(());
            }
            if Instant::now() >= until {
                let within = BACK_WITHIN.as_secs();
                return Err(DeviceError::transient(format!("see {bond} as it was within {within} seconds")));
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}

/// What nmstate is asked for.
fn desired(bond: &HostBond) -> Value {
    let members = bond.nics.iter().map(|nic| {
        let off = json!({ "enabled": false });
        json!({ "name": nic, "type": "ethernet", "state": "up", "ipv4": off, "ipv6": off })
    });
    let family = |v6: bool| {
        let own = bond.addresses.iter().filter_map(|address| address.split_once('/'));
        let own = own.filter(|(address, _)| address.contains(':') == v6);
        let address: Vec<Value> = own
            .filter_map(|(ip, length)| Some(json!({ "ip": ip, "prefix-length": length.parse::<u8>().ok()? })))
            .collect();
        let enabled = bond.dhcp || !address.is_empty();
        let mut ip = Map::from_iter([("enabled".to_owned(), json!(enabled))]);
        if enabled {
            ip.insert("dhcp".into(), json!(bond.dhcp));
            ip.insert("address".into(), json!(address));
            if v6 {
                ip.insert("autoconf".into(), json!(bond.dhcp));
            }
        }
        Value::Object(ip)
    };
    let mut interface = json!({
        "name": bond.name,
        "type": "bond",
        "state": "up",
        "ipv4": family(false),
        "ipv6": family(true),
        "link-aggregation": {
            "mode": "802.3ad",
            "options": { "miimon": "100", "lacp_rate": "fast", "xmit_hash_policy": "layer3+4" },
            "port": bond.nics,
        },
    });
    if let (Some(first), Some(fields)) = (bond.nics.first(), interface.as_object_mut()) {
        // Written only: what is shown has the address itself.
        fields.insert("copy-mac-from".into(), json!(first));
    }
    let routes = bond.gateways.iter().map(|gateway| {
        let all = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        json!({ "destination": all, "next-hop-address": gateway, "next-hop-interface": bond.name })
    });
    let routes: Vec<Value> = routes.collect();
    let interfaces: Vec<Value> = members.chain([interface]).collect();
    json!({ "interfaces": interfaces, "routes": { "config": routes } })
}

fn interface<'a>(shown: &'a Value, name: &str) -> Option<&'a Value> {
    let all = shown.get("interfaces")?.as_array()?;
    all.iter().find(|interface| interface.get("name").and_then(Value::as_str) == Some(name))
}

/// Whether an interface that is shown is the bond that was declared.
fn is_as(shown: &Value, bond: &HostBond) -> bool {
    let aggregation = shown.get("link-aggregation");
    let ports = aggregation.and_then(|found| found.get("port").or_else(|| found.get("ports")));
    let ports: BTreeSet<&str> =
        ports.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mode = aggregation.and_then(|found| found.get("mode")).and_then(Value::as_str);
    let has = |address: &String| {
        let (ip, length) = address.split_once('/').unwrap_or((address, ""));
        let length = length.parse::<u64>();
        ["/ipv4/address", "/ipv6/address"].iter().any(|path| {
            shown.pointer(path).and_then(Value::as_array).into_iter().flatten().any(|found| {
                found.get("ip").and_then(Value::as_str) == Some(ip)
                    && found.get("prefix-length").and_then(Value::as_u64).is_some_and(|found| Ok(found) == length)
            })
        })
    };
    matches!(mode, Some("802.3ad" | "4"))
        && ports.into_iter().eq(bond.nics.iter().map(String::as_str))
        && bond.addresses.iter().all(has)
}

/// The part of an interface that was shown which can be asked for again.
fn settable(shown: &Value) -> Option<Value> {
    let fields = ["name", "type", "state", "mtu", "ipv4", "ipv6", "link-aggregation"];
    let fields = fields.iter().filter_map(|field| Some(((*field).to_owned(), shown.get(*field)?.clone())));
    let kept: Map<String, Value> = fields.collect();
    kept.contains_key("name").then_some(Value::Object(kept))
}

/// How long nmstate has to bring back what was.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// The pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
