//! How devices say no: texts at the start of a line, never somewhere in it.

/// What a device answered that it did not do as told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// For good.
    No(String),
    /// For now: the flash is busy, somebody else configures.
    Later(String),
}

/// Looks for a refusal among the lines that a command was answered with.
pub(crate) fn refusal(lines: &[String]) -> Option<Refusal> {
    lines.iter().find_map(|line| of_line(line))
}

/// Looks for a refusal where data was asked for: only the first line that says something can be one.
pub(crate) fn refusal_of_show(lines: &[String]) -> Option<Refusal> {
    let says = |line: &&String| !line.trim_matches([' ', '^', '-']).is_empty();
    lines.iter().find(says).and_then(|line| of_line(line))
}

fn of_line(line: &str) -> Option<Refusal> {
    let text = line.trim();
    let begins = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
    if begins(LATER) {
        return Some(Refusal::Later(text.to_owned()));
    }
    if begins(FINE) || !begins(NO) {
        return None;
    }
    Some(Refusal::No(text.to_owned()))
}

const LATER: &[&str] = &[
    "Flash access in progress",
    "Already a ",
    "Error: Another ",
    "Error - Another ",
    "%Error: Another ",
    "% Error: Another ",
    "% Error: Database is locked",
    "Error: database is locked",
];
const FINE: &[&str] = &["% Informational", "%Informational", "% Info", "%Info", "% Warning", "%Warning"];
const NO: &[&str] = &[
    "Invalid input",
    "Ambiguous input",
    "Incomplete command",
    "Unrecognized command",
    "Error - ",
    "Error: ",
    "Error:",
    "ERROR: ",
    "error - ",
    "error: ",
    "syntax error",
    "Command authorization failed",
    "Not authorized",
    "IP/Port: Errno(",
    "%Error",
    "% Error",
    "% ",
    "%%",
    "Aborted: ",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn only_the_start_of_a_line_counts() {
        for no in [
            "Invalid input -> foo\nType ? for a list",
            "Ambiguous input -> s",
            "Incomplete command.",
            "Error - invalid interface 1/1",
            "Error: vlan ID value 0 not allowed.",
            "IP/Port: Errno(6) Duplicate ip address",
            "error - please configure ip address first",
            "Command authorization failed",
            "             ^\n% Invalid input detected at '^' marker.",
            "syntax error: unknown argument.",
            "%Error: no such thing",
        ] {
            assert!(matches!(refusal(&lines(no)), Some(Refusal::No(_))), "{no}");
            assert!(refusal_of_show(&lines(no)).is_some(), "{no}");
        }
        for yes in [
            "",
            "Warning: this may disrupt traffic",
            "% Informational: it was there",
            "added untagged port ethe 7 to port-vlan 10",
            " port-name failed to boot: error: Error - none",
        ] {
            assert_eq!(refusal(&lines(yes)), None, "{yes}");
        }
        let busy = "Flash access in progress. Please try later";
        assert_eq!(refusal(&lines(busy)), Some(Refusal::Later(busy.into())));
        assert_eq!(refusal_of_show(&lines("interface x\nError - none")), None);
    }
}
