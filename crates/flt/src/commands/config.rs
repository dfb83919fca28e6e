//! `flt config`: the configuration that holds, value by value.

use clap::Subcommand;
use serde::Serialize;
use toml::Value;

use crate::app::App;
use crate::config::{self, Role};
use crate::output::{Style, Table, View};
use crate::report::Code;

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show each value that holds, and where it comes from
    #[command(after_long_help = EXAMPLES)]
    Show {
        /// Show this role's alone
        role: Option<Role>,
    },
}

/// Runs it.
pub(crate) fn run(command: ConfigCommand, app: &App) -> anyhow::Result<Code> {
    let ConfigCommand::Show { role } = command;
    let roles = role.map_or_else(|| Role::ALL.to_vec(), |role| vec![role]);
    let mut values = Vec::new();
    for role in roles {
        let layered = config::load(role, app.config_file(), Vec::new(), &app.env)?;
        values.extend(
            layered.settings().filter(|setting| setting.value.as_table().is_none_or(|table| !table.is_empty())).map(
                |setting| Row {
                    key: format!("{role}.{}", setting.key),
                    value: setting.value.clone(),
                    origin: setting.origin.to_string(),
                },
            ),
        );
    }
    app.out.view(&Shown { values })?;
    Ok(Code::Done)
}

#[derive(Serialize)]
struct Shown {
    values: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    key: String,
    value: Value,
    origin: String,
}

impl View for Shown {
    const SCHEMA: &'static str = "flt.config/1";

    fn text(&self, style: &Style) -> String {
        let mut table = Table::new(&["NAME", "VALUE", "ORIGIN"]);
        for row in &self.values {
            table.row([row.key.clone(), row.value.to_string(), row.origin.clone()]);
        }
        table.text(style)
    }
}

const EXAMPLES: &str = "\
A flag comes before the environment, that before the file given with --config, that before the user's file, that \
before the machine's. A variable is named for role and key: FLT_AGENT_KEY_FILE.

Examples:
  flt config show
  flt config show agent --config /etc/flotilla/agent.toml --json";
