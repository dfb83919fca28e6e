//! One login: in which mode it is, and what a command answers.

use crate::device::Device;
use crate::ports::PortId;

/// Where in the tree of modes a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    User,
    Enable,
    Config,
    Vlan(u16),
    Ports(Vec<PortId>),
    /// The virtual interface of a LAG, or `interface Port-channel`.
    LagInterface(u16),
    Lag(u16),
    /// `protocol lldp` of Network OS.
    Lldp,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) mode: Mode,
    pub(crate) paging: bool,
    pub(crate) user_name: Option<String>,
}

/// `exit` in a mode of configuration: one mode up.
pub(crate) fn up(context: &mut Context<'_>, _: &[String]) -> Reply {
    context.shell.mode = if context.shell.mode == Mode::Config { Mode::Enable } else { Mode::Config };
    Reply::silence()
}

/// `end`: out of every mode of configuration.
pub(crate) fn end(context: &mut Context<'_>, _: &[String]) -> Reply {
    context.shell.mode = Mode::Enable;
    Reply::silence()
}

/// What a command may touch.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) device: &'a mut Device,
    pub(crate) shell: &'a mut Shell,
}

/// A command: what it does with the words that stood for names.
pub(crate) type Act = fn(&mut Context<'_>, &[String]) -> Reply;

/// Patterns and what they do.
pub(crate) type Table = &'static [(&'static str, Act)];

/// What a command answers.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) text: String,
    pub(crate) then: Then,
}

/// What follows an answer.
#[derive(Debug)]
pub(crate) enum Then {
    Prompt,
    Ask(Question),
    Close,
}

/// Something that is asked back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    EnableUser,
    EnablePassword,
    SaveConfiguration,
    Reload,
}

impl Question {
    /// What is printed.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::EnableUser => "User Name:",
            Self::EnablePassword => "Password:",
            Self::SaveConfiguration => {
                "This operation will modify your startup configuration. Do you want to continue? [y/n]:"
            }
            Self::Reload => "Are you sure? (enter 'y' or 'n'): ",
        }
    }

    /// Whether what is typed is shown.
    pub(crate) fn shown(self) -> bool {
        self != Self::EnablePassword
    }
}

impl Reply {
    /// Nothing said: success.
    pub(crate) fn silence() -> Self {
        Self::said("")
    }

    /// Something said, then the prompt.
    pub(crate) fn said(text: impl Into<String>) -> Self {
        Self { text: text.into(), then: Then::Prompt }
    }

    /// A question.
    pub(crate) fn ask(question: Question) -> Self {
        Self { text: String::new(), then: Then::Ask(question) }
    }

    /// The session ends.
    pub(crate) fn close() -> Self {
        Self { text: String::new(), then: Then::Close }
    }
}

/// `show … | include x` and its relatives: what comes after the bar is applied to the text.
pub(crate) fn filter(text: &str, pipe: &str) -> Option<String> {
    let pipe = pipe.trim();
    if pipe == "nomore" {
        return Some(text.to_owned());
    }
    let (verb, pattern) = pipe.split_once(' ')?;
    let pattern = pattern.trim().trim_matches('"');
    let keep: Vec<&str> = if verb.is_empty() {
        return None;
    } else if "include".starts_with(verb) {
        text.lines().filter(|line| line.contains(pattern)).collect()
    } else if "exclude".starts_with(verb) {
        text.lines().filter(|line| !line.contains(pattern)).collect()
    } else if "begin".starts_with(verb) {
        text.lines().skip_while(|line| !line.contains(pattern)).collect()
    } else {
        return None;
    };
    Some(keep.join("\n"))
}
