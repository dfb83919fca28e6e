//! What a device asks in the middle of a command, and how its pages are known.

use protocols::SecretValue;

/// What to answer when the device asks.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretValue>,
    pub(super) yes: bool,
}

/// What an unfinished line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    User,
    Password,
    Sure,
}

pub(super) fn question(last: &str) -> Option<Question> {
    let text = last.trim_end();
    let lower = text.to_ascii_lowercase();
    if lower == "password:" || lower == "enable password:" {
        return Some(Question::Password);
    }
    if ["user name:", "username:", "login:", "login name:"].contains(&lower.as_str()) {
        return Some(Question::User);
    }
    let sure = ["[y/n]:", "[y/n]", "(y/n)", "(y/n):", "[y/n]?", "(enter 'y' or 'n'):"];
    sure.iter().any(|end| lower.ends_with(end)).then_some(Question::Sure)
}

pub(super) fn is_pager(last: &str) -> bool {
    last.trim_start().starts_with("--More--")
}

/// Whether it is a pager for certain, and not the start of a line of output.
pub(super) fn is_whole_pager(last: &str, fastiron: bool) -> bool {
    let end = if fastiron { "Control-c" } else { "--More--" };
    is_pager(last) && last.trim_end().ends_with(end)
}
