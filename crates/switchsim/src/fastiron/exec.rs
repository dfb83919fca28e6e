//! FastIron: what is not configuration: `enable`, leaving, paging, saving.

use crate::profile::EnableDialog;
use crate::shell::{Context, Mode, Question, Reply, Table, Then, end, up};

pub(crate) const USER: Table =
    &[("enable", enable), ("exit", leave), ("quit", leave), ("logout", leave), ("stop", leave)];

pub(crate) const ENABLE: Table = &[
    ("configure terminal", configure),
    ("disable", |context, _| {
        context.shell.mode = Mode::User;
        Reply::silence()
    }),
    ("enable", |_, _| Reply::silence()),
    ("exit", leave),
    ("quit", leave),
    ("logout", leave),
    ("skip-page-display", |context, _| page(context, false)),
    ("page-display", |context, _| page(context, true)),
    ("terminal monitor", |_, _| Reply::said("Syslog trace was turned ON\n")),
    ("terminal length <rows>", |_, _| Reply::silence()),
    ("clear mac-address", |_, _| Reply::silence()),
    ("write memory", write),
    ("write terminal", |context, _| Reply::said(context.device.render(&context.device.running))),
    ("reload", |_, _| Reply::ask(Question::Reload)),
];

/// What goes in every mode of configuration.
pub(crate) const EVERYWHERE: Table = &[
    ("exit", up),
    ("end", end),
    ("quit", end),
    ("write memory", write),
    ("write terminal", |context, _| Reply::said(context.device.render(&context.device.running))),
];

/// Takes an answer to what `enable` asked.
pub(crate) fn answer(context: &mut Context<'_>, question: Question, answer: &str) -> Reply {
    if question == Question::EnableUser {
        context.shell.user_name = Some(answer.trim().to_owned());
        return Reply::ask(Question::EnablePassword);
    }
    let device = &*context.device;
    let right = match context.shell.user_name.take() {
        Some(user) => user == device.user && answer == device.enable_password,
        None => answer == device.enable_password,
    };
    if !right {
        return Reply::said("Error - Incorrect username or password.\n");
    }
    context.shell.mode = Mode::Enable;
    Reply::silence()
}

fn enable(context: &mut Context<'_>, _: &[String]) -> Reply {
    match context.device.enable {
        EnableDialog::Password => Reply::ask(Question::EnablePassword),
        EnableDialog::UserName => Reply::ask(Question::EnableUser),
        EnableDialog::Open => {
            context.shell.mode = Mode::Enable;
            Reply::said("No password has been assigned yet...\n")
        }
    }
}

fn configure(context: &mut Context<'_>, _: &[String]) -> Reply {
    context.shell.mode = Mode::Config;
    Reply::silence()
}

fn leave(_: &mut Context<'_>, _: &[String]) -> Reply {
    Reply { text: String::new(), then: Then::Close }
}

fn page(context: &mut Context<'_>, on: bool) -> Reply {
    if on {
        context.shell.paging = true;
        return Reply::said("Enable page display mode\n");
    }
    if context.device.pager_stays {
        return Reply::said("Command authorization failed\n");
    }
    context.shell.paging = false;
    Reply::said("Disable page display mode\n")
}

fn write(context: &mut Context<'_>, _: &[String]) -> Reply {
    if context.device.flash_busy() {
        return Reply::said("Flash access in progress. Please try later\n");
    }
    context.device.startup = context.device.running.clone();
    Reply::said("Flash Memory Write (8192 bytes per dot) \n.\nWrite startup-config done.\n")
}
