//! Network OS: which commands there are in which mode, how its prompt looks and how it refuses.

pub(crate) mod config;
pub(crate) mod exec;
pub(crate) mod render;
pub(crate) mod show;

use crate::device::Device;
use crate::ports::PortId;
use crate::shell::{Act, Context, Mode, Reply, Shell, Table};
use crate::words::{self, Fault};

/// `sw0(config)# `, with an escape sequence before it and a blank behind it.
pub(crate) fn prompt(device: &Device, shell: &Shell) -> String {
    let host = &device.running.hostname;
    let inner = match &shell.mode {
        Mode::User | Mode::Enable => String::new(),
        Mode::Config | Mode::Lag(_) => "(config)".to_owned(),
        Mode::Vlan(id) => format!("(config-Vlan-{id})"),
        Mode::Ports(ports) => match ports.first() {
            Some(port) => format!("(conf-if-te-{port})"),
            None => "(config)".to_owned(),
        },
        Mode::LagInterface(id) => format!("(config-Port-channel-{id})"),
        Mode::Lldp => "(conf-lldp)".to_owned(),
    };
    format!("\u{1b}[?7h{host}{inner}# ")
}

/// Does what a line says, or refuses as the real one does.
pub(crate) fn execute(context: &mut Context<'_>, line: &str) -> Reply {
    let configuring = !matches!(context.shell.mode, Mode::Enable | Mode::User);
    if configuring && let Some(show) = line.strip_prefix("do ") {
        return run(context, &[show::TABLE, exec::ENABLE], show);
    }
    run(context, &tables(&context.shell.mode), line)
}

fn run(context: &mut Context<'_>, tables: &[Table], line: &str) -> Reply {
    let table: Vec<(&'static str, Act)> = tables.iter().copied().flatten().copied().collect();
    match words::find(&table, line) {
        Ok((act, names)) => act(context, &names),
        Err(Fault::Incomplete) => Reply::said(format!("{}^\nsyntax error: incomplete path\n", "-".repeat(line.len()))),
        Err(Fault::Invalid(at) | Fault::Ambiguous(at)) => Reply::said(unknown(at)),
    }
}

/// How an unknown word is refused: a line points at it.
pub(crate) fn unknown(at: usize) -> String {
    format!("{}^\nsyntax error: unknown argument.\n", "-".repeat(at))
}

/// What `?` shows.
pub(crate) fn help(shell: &Shell, line: &str) -> String {
    let mut found: Vec<String> = tables(&shell.mode).iter().flat_map(|table| words::next(table, line)).collect();
    found.sort();
    found.dedup();
    format!("Possible completions:\n  {}\n", found.join("\n  "))
}

/// `Te 1/0/3`
pub(crate) fn short(port: PortId) -> String {
    format!("Te {port}")
}

fn tables(mode: &Mode) -> Vec<Table> {
    let mut tables: Vec<Table> = match mode {
        Mode::User | Mode::Enable => return vec![show::TABLE, exec::ENABLE],
        Mode::Config | Mode::Lag(_) => Vec::new(),
        Mode::Vlan(_) => vec![config::VLAN],
        Mode::Ports(_) => vec![config::INTERFACE, config::PORT],
        Mode::LagInterface(_) => vec![config::INTERFACE, config::CHANNEL],
        Mode::Lldp => vec![config::LLDP],
    };
    tables.extend([config::GLOBAL, exec::EVERYWHERE]);
    tables
}

#[cfg(test)]
mod tests;
