//! `flt admin where`: which switch ports lead to an address or a node, from what switches have told their agents.

mod trace;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use protocols::record::FACTS_STABLE;
use protocols::{Mac, Millis, Name, NodeId};
use serde::Serialize;

use self::trace::{Nic, Place, Table as Learnt, Told};
use super::context::{Admin, Online, told};
use super::nodes::find;
use crate::compose;
use crate::output::{Style, Table, View, format};
use crate::report::{Advise as _, Code};

/// `flt admin where`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct WhereArgs {
    /// A hardware address in any spelling, or a node's name for all its interfaces
    #[arg(value_name = "ADDRESS|NODE")]
    target: String,
}

/// Where an address was seen.
#[derive(Debug, Serialize)]
struct WhereView {
    target: String,
    /// The ports, the edge first.
    ports: Vec<Place>,
    /// Interfaces that no switch has seen.
    unseen: Vec<Nic>,
    /// What was asked: every switch that is told of.
    devices: Vec<Source>,
}

/// A switch, and how old what it has told is.
#[derive(Debug, Clone, Serialize)]
struct Source {
    device: Name,
    /// The node that manages it.
    agent: Name,
    /// Seconds since its facts were last seen as they are told; nothing if they never were.
    seen_seconds: Option<u64>,
    /// Why it could not be seen since.
    failed: Option<String>,
    /// Addresses that did not fit into its facts, by port.
    left_out: BTreeMap<String, u32>,
}

pub(super) async fn run(args: WhereArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let online = admin.online().await?;
    let view = look(&args.target, &online).await;
    online.close().await;
    let view = view?;
    for source in view.devices.iter().filter(|source| !source.left_out.is_empty()) {
        let ports: Vec<String> = source.left_out.iter().map(|(port, count)| format!("{count} behind {port}")).collect();
        let ports = ports.join(", ");
        admin.out.warning(format!("`{}` has more addresses than its facts hold: {ports} are left out", source.device));
    }
    admin.out.view(&view)?;
    Ok(Code::Done)
}

async fn look(target: &str, online: &Online<'_>) -> anyhow::Result<WhereView> {
    let state = online.state()?;
    let now = compose::now();
    let name = |id: NodeId| state.members().get(&id).map(|member| member.name.clone());
    let stable = told(online.session.reports(&[], FACTS_STABLE).await)?;
    let reports = told(online.session.reports(&[], DEVICE_RECORDS).await)?;
    let mut all = Told::default();
    for report in &stable {
        if let (Some(node), Some(facts)) = (name(report.node), &report.stable) {
            all.host(&node, facts);
        }
    }
    let mut sources = Vec::new();
    for report in reports {
        let Some(agent) = name(report.node) else { continue };
        for problem in &report.problems {
            online.admin.out.warning(format!("`{agent}`: {problem}"));
        }
        let looks = report.looks.unwrap_or_default();
        if looks.left_out > 0 {
            let text = format!("`{agent}` manages {} more devices than it tells of", looks.left_out);
            online.admin.out.warning(text);
        }
        for (device, look) in &looks.devices {
            let seen = look.seen.map(|at| seconds(at, now));
            let facts = report.devices.get(device);
            sources.push(Source {
                device: device.clone(),
                agent: agent.clone(),
                seen_seconds: seen,
                failed: look.why.clone(),
                left_out: facts.map(|facts| facts.left_out.addresses.clone()).unwrap_or_default(),
            });
            if let Some(facts) = facts {
                all.switch(Learnt {
                    device: device.clone(),
                    agent: agent.clone(),
                    age_seconds: seen,
                    facts: facts.clone(),
                });
            }
        }
    }
    let nics = match target.parse::<Mac>() {
        Ok(mac) => vec![all.nic_of(mac)],
        Err(why) => {
            let node = find(&state, target).map_err(|error| {
                let address = target.contains([':', '.']) || target.matches('-').count() == 5;
                if address { anyhow!(why) } else { error }
            })?;
            let node = name(node).ok_or_else(|| anyhow!("`{target}` left the fleet just now"))?;
            let nics = all.nics_of(&node);
            if nics.is_empty() {
                return Err(anyhow!("`{node}` has not told which network interfaces it has"));
            }
            nics
        }
    };
    let (mut ports, mut unseen) = (Vec::new(), Vec::new());
    for nic in nics {
        let places = all.places(&nic);
        if places.is_empty() {
            unseen.push(nic);
        } else {
            ports.extend(places);
        }
    }
    if ports.is_empty() {
        return Err(anyhow!("no switch has seen {target}{}", asked(&sources))).hint(
            "a switch forgets an address that has been silent for some minutes; let it say something, and look again",
        );
    }
    ports.sort_by(|one, two| (&one.node, &one.nic, one.mac, one.how).cmp(&(&two.node, &two.nic, two.mac, two.how)));
    Ok(WhereView { target: target.to_owned(), ports, unseen, devices: sources })
}

/// Which switches were asked, and when they were looked at.
fn asked(sources: &[Source]) -> String {
    if sources.is_empty() {
        return ": no agent of this fleet tells of a switch; [devices.NAME] in an agent's configuration makes it manage one".into();
    }
    let each = sources.iter().map(|source| {
        let seen = match source.seen_seconds {
            Some(seconds) => format!("looked at {} ago", format::age(Duration::from_secs(seconds))),
            None => "never seen".into(),
        };
        let failed = source.failed.as_ref().map_or_else(String::new, |why| format!(", and not since then: {why}"));
        format!("`{}` by `{}`, {seen}{failed}", source.device, source.agent)
    });
    format!("; these have told what they see: {}", each.collect::<Vec<_>>().join("; "))
}

fn seconds(at: Millis, now: Millis) -> u64 {
    now.0.saturating_sub(at.0) / 1000
}

impl View for WhereView {
    const SCHEMA: &'static str = "flt.where/1";

    fn text(&self, style: &Style) -> String {
        let mut table =
            Table::new(&["ADDRESS", "NIC", "SWITCH", "PORT", "MEMBERS", "HOW", "NEIGHBOUR", "BEHIND", "AGE"]);
        for place in &self.ports {
            let age = place.age_seconds.map(|seconds| format::age(Duration::from_secs(seconds)));
            table.row([
                place.mac.to_string(),
                [place.node.as_ref().map(ToString::to_string), place.nic.clone()]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(" "),
                place.device.to_string(),
                place.port.clone(),
                place.members.join(" "),
                place.how.to_string(),
                place.neighbour.clone().unwrap_or_default(),
                place.addresses.to_string(),
                age.unwrap_or_default(),
            ]);
        }
        let mut text = table.text(style);
        for nic in &self.unseen {
            text.push_str(&format!("not seen by any switch: {nic}\n"));
        }
        text
    }
}

/// What the keys begin with of both when devices were looked at and what they told.
const DEVICE_RECORDS: &str = "device";

const EXAMPLES: &str = "\
The answer comes from what switches told the agents that manage them. An address is seen on every switch on the way to
it: `edge` is the port that leads to it and to no other switch, `through` one that leads there by way of others,
`unclear` one of which that cannot be told.

Examples:
  flt admin where aa:bb:cc:dd:ee:ff
  flt admin where aabb.ccdd.eeff
  flt admin where edge-7";
