//! The prompt of a device: learnt once, and known again only as the whole of an unfinished line.

/// The part of a prompt that stays the same: `SSH@icx`, `sw0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prompt {
    base: String,
}

/// Where a prompt says that the session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Level {
    /// `>`: may look.
    User,
    /// `#`: may do.
    Privileged,
    /// `(config…)#`: what stands between the brackets.
    Config(String),
}

impl Prompt {
    /// Learns from a line that has been shown to be a prompt.
    pub(crate) fn learn(line: &str) -> Option<(Self, Level)> {
        let (inner, level) = split(line)?;
        let base = inner.to_owned();
        let odd = |c: char| c.is_control() || "()".contains(c);
        if base.trim().is_empty() || base.len() > BASE_BYTES_MAX || base.contains(odd) {
            return None;
        }
        Some((Self { base }, level))
    }

    /// Whether an unfinished line is this prompt, and at which level.
    pub(crate) fn level(&self, line: &str) -> Option<Level> {
        let (base, level) = split(line)?;
        (base == self.base).then_some(level)
    }

    /// Whether it is FastIron's: `SSH@…`.
    pub(crate) fn is_fastiron(&self) -> bool {
        self.base.starts_with("SSH@") || self.base.starts_with("telnet@")
    }
}

/// Base and level of what looks like a prompt: no blanks but one at its end.
fn split(line: &str) -> Option<(&str, Level)> {
    let line = line.strip_suffix(' ').unwrap_or(line);
    if line.contains(char::is_whitespace) {
        return None;
    }
    let (head, privileged) = match line.strip_suffix('#') {
        Some(head) => (head, true),
        None => (line.strip_suffix('>')?, false),
    };
    let Some(open) = head.find('(').filter(|_| head.ends_with(')')) else {
        return Some((head, if privileged { Level::Privileged } else { Level::User }));
    };
    let mode = &head[open + 1..head.len() - 1];
    if !privileged || mode.is_empty() {
        return None;
    }
    Some((&head[..open], Level::Config(mode.to_owned())))
}

/// The longest base, in bytes.
const BASE_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_a_whole_line() {
        let (prompt, level) = Prompt::learn("SSH@switch-001/002/003/123#").unwrap();
        assert_eq!(level, Level::Privileged);
        assert_eq!(prompt.level("SSH@switch-001/002/003/123>"), Some(Level::User));
        let config = Level::Config("config-if-e1000-1/1/1".into());
        assert_eq!(prompt.level("SSH@switch-001/002/003/123(config-if-e1000-1/1/1)#"), Some(config));
        for other in
            ["", "#", "x#", "SSH@switch-001#", "  SSH@switch-001/002/003/123#", "SSH@switch-001/002/003/123# x"]
        {
            assert_eq!(prompt.level(other), None, "{other}");
        }
        let (nos, _) = Prompt::learn("sw0# ").unwrap();
        assert_eq!(nos.level("sw0(config-Port-channel-10)# "), Some(Level::Config("config-Port-channel-10".into())));
        for odd in ["", "#", "> ", "a b#", "Serial  #", "(x)#", "x()#", "Welcome"] {
            assert_eq!(Prompt::learn(odd), None, "{odd}");
        }
    }
}
