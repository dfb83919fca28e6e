//! FastIron: which commands there are in which mode, how its prompt looks and how it refuses.

pub(crate) mod config;
pub(crate) mod exec;
pub(crate) mod lag;
pub(crate) mod render;
pub(crate) mod show;
pub(crate) mod vlan;

use crate::device::Device;
use crate::profile::Os;
use crate::shell::{Act, Context, Mode, Reply, Shell, Table};
use crate::words::{self, Fault};

/// `SSH@name(config-vlan-10)#`, without a blank behind it.
pub(crate) fn prompt(device: &Device, shell: &Shell) -> String {
    let host = format!("SSH@{}", device.running.hostname);
    let inner = match &shell.mode {
        Mode::User => return format!("{host}>"),
        Mode::Enable => return format!("{host}#"),
        Mode::Config | Mode::Lldp => "config".to_owned(),
        Mode::Vlan(id) => format!("config-vlan-{id}"),
        Mode::Ports(ports) => match ports.as_slice() {
            [port] => {
                let ten = device.running.ports.get(port).is_some_and(|p| p.speed >= 10_000);
                format!("config-if-e{}-{port}", if ten { "10000" } else { "1000" })
            }
            [first, .., last] => format!("config-mif-{first}-{last}"),
            [] => "config-mif".to_owned(),
        },
        Mode::LagInterface(id) => format!("config-lag-if-lg{id}"),
        Mode::Lag(id) => match device.running.lags.get(id) {
            Some(lag) => format!("config-lag-{}", lag.name),
            None => "config-lag".to_owned(),
        },
    };
    format!("{host}({inner})#")
}

/// Does what a line says, or refuses as the real one does.
pub(crate) fn execute(context: &mut Context<'_>, line: &str) -> Reply {
    let table = commands(context.device.os, &context.shell.mode);
    let text = match words::find(&table, line) {
        Ok((act, names)) => return act(context, &names),
        Err(Fault::Invalid(at)) => format!("Invalid input -> {}\nType ? for a list\n", &line[at..]),
        Err(Fault::Ambiguous(at)) => format!("Ambiguous input -> {}\nType ? for a list\n", &line[at..]),
        Err(Fault::Incomplete) => "Incomplete command.\n".to_owned(),
    };
    Reply::said(text)
}

/// What `?` shows.
pub(crate) fn help(os: Os, shell: &Shell, line: &str) -> String {
    let found = words::next(&commands(os, &shell.mode), line);
    if found.is_empty() { "Unrecognized command\n".to_owned() } else { format!("  {}\n", found.join("\n  ")) }
}

/// All that may be typed in a mode; what the mode has itself comes first.
fn commands(os: Os, mode: &Mode) -> Vec<(&'static str, Act)> {
    tables(os, mode).into_iter().flatten().copied().collect()
}

fn tables(os: Os, mode: &Mode) -> Vec<Table> {
    let old = os == Os::FastIronOld;
    let global: [Table; 2] = [config::GLOBAL, lag::GLOBAL];
    let inner: &[Table] = match mode {
        Mode::User => return [show::tables(old), vec![exec::USER]].concat(),
        Mode::Enable => return [show::tables(old), vec![exec::ENABLE]].concat(),
        Mode::Config | Mode::Lldp => &[],
        Mode::Vlan(_) => &[vlan::TABLE],
        Mode::Ports(_) if old => &[config::INTERFACE, config::INTERFACE_OLD],
        Mode::Ports(_) | Mode::LagInterface(_) => &[config::INTERFACE],
        Mode::Lag(_) if old => &[lag::TABLE, lag::TABLE_OLD],
        Mode::Lag(_) => &[lag::TABLE],
    };
    let mut tables = inner.to_vec();
    tables.extend(global);
    tables.extend(show::tables(old));
    tables.push(exec::EVERYWHERE);
    tables
}

/// An act that changes nothing and says nothing.
pub(crate) const ACCEPT: Act = |_, _| Reply::silence();

#[cfg(test)]
mod tests;
