//! Network OS: what is not configuration: leaving, paging, saving.

use crate::shell::{Context, Mode, Question, Reply, Table, end, up};

pub(crate) const ENABLE: Table = &[
    ("configure terminal", |context, _| {
        context.shell.mode = Mode::Config;
        Reply::said("Entering configuration mode terminal\n")
    }),
    ("terminal length <rows>", |context, words| {
        if context.device.pager_stays {
            return Reply::said("%Error: Command authorization failed\n");
        }
        context.shell.paging = words[0] != "0";
        Reply::silence()
    }),
    ("terminal width <columns>", |_, _| Reply::silence()),
    ("terminal no monitor", |_, _| Reply::silence()),
    ("terminal timeout <minutes>", |_, _| Reply::silence()),
    ("copy running-config startup-config", |_, _| Reply::ask(Question::SaveConfiguration)),
    ("clear mac-address-table dynamic", |_, _| Reply::silence()),
    ("exit", |_, _| Reply::close()),
    ("logout", |_, _| Reply::close()),
    ("quit", |_, _| Reply::close()),
    ("reload", |_, _| Reply::ask(Question::Reload)),
];

/// What goes in every mode of configuration.
pub(crate) const EVERYWHERE: Table = &[
    ("exit", up),
    ("end", end),
    ("top", |context, _| {
        context.shell.mode = Mode::Config;
        Reply::silence()
    }),
];

/// The answer to whether the startup configuration may be changed.
pub(crate) fn save(context: &mut Context<'_>, answer: &str) -> Reply {
    if !matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Reply::silence();
    }
    if context.device.flash_busy() {
        return Reply::said("%Error: Another copy operation is in progress. Please try later\n");
    }
    context.device.startup = context.device.running.clone();
    Reply::silence()
}
