//! What the demo tells: facts that were observed, as lines for people and as JSON for programs.

use admin::view::LogRow;
use protocols::{FleetId, Name, NodeId, Outcome};
use serde::Serialize;

use crate::output::{Style, View, format};

/// One line of the story.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    /// The step that it belongs to, from 1; 0 before the first.
    pub(super) step: u32,
    /// What happened.
    #[serde(flatten)]
    pub(super) told: Told,
}

/// Something that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Told {
    /// It begins.
    Begun {
        /// Where everything is kept.
        dir: String,
    },
    /// A step begins.
    Step {
        /// What is done in it.
        title: &'static str,
    },
    /// A fleet was founded, and its coordinator runs.
    Founded {
        /// Its name.
        fleet: Name,
        /// Its id.
        fleet_id: FleetId,
        /// The coordinator.
        coordinator: NodeId,
        /// Where its relay listens.
        relay: String,
        /// What the coordinator said to a hello.
        head: u64,
    },
    /// An invite was entered.
    Invited {
        /// In which entry.
        entry: u64,
        /// For how many nodes.
        uses: u32,
    },
    /// A node became a member.
    Joined {
        /// Its name.
        node: Name,
        /// Its key.
        id: NodeId,
        /// In which entry.
        entry: u64,
        /// How long that took.
        millis: u64,
    },
    /// The invite's uses that are left, as the ledger counts them.
    InviteLeft {
        /// How many.
        uses_left: u32,
    },
    /// A declaration was signed and entered.
    Published {
        /// Its name.
        name: String,
        /// In which entry.
        generation: u64,
        /// What it says.
        content: &'static str,
    },
    /// A node had its last word on a declaration.
    Settled {
        /// The node.
        node: Name,
        /// How long after the publication, or the node's start.
        millis: u64,
        /// Its word, which it signed.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// What a file holds.
    File {
        /// On which node.
        node: Name,
        /// Its path there.
        path: &'static str,
        /// Its content; nothing if there is no such file.
        content: Option<String>,
    },
    /// A node was taken down.
    Stopped {
        /// Which.
        node: Name,
    },
    /// A node was started.
    Started {
        /// Which.
        node: Name,
        /// The newest entry that it knew of when it went.
        knew: u64,
    },
    /// A node that came back passed over what it had missed.
    Straight {
        /// Which.
        node: Name,
        /// How many declarations it has played since it came back.
        plays: u64,
        /// The generations that it spoke of since.
        spoke_of: Vec<u64>,
        /// The generation that it never played.
        skipped: u64,
    },
    /// An entry of the exported ledger.
    Entry(LogRow),
    /// The exported ledger was verified.
    Verified {
        /// The file.
        file: String,
        /// How many entries it has.
        entries: u64,
        /// The hash of the last one.
        head: String,
        /// The digest of what they amount to.
        state: String,
        /// Nodes whose own verified copy amounts to the same.
        agree: Vec<Name>,
    },
    /// The same file with one byte changed was not believed.
    Forged {
        /// The entry that was changed.
        entry: u64,
        /// What was said about it.
        refused: String,
    },
    /// It is over.
    Ended {
        /// How long it took.
        millis: u64,
        /// Where everything is, if it was kept.
        kept: Option<String>,
        /// What to try next.
        next: Vec<String>,
    },
}

impl View for Line {
    const SCHEMA: &'static str = "flt.demo/1";

    fn text(&self, _style: &Style) -> String {
        let after = |millis: &u64| format::took(std::time::Duration::from_millis(*millis));
        match &self.told {
            Told::Begun { dir } => {
                wrapped("", "A whole fleet in this process, over loopback. Its files are in") + &format!("{dir}\n")
            }
            Told::Step { title } => format!("\n{}. {title}\n", self.step),
            Told::Founded { fleet, fleet_id, coordinator, relay, head } => {
                format!("   fleet {fleet}, id\n   {fleet_id}\n")
                    + &said(&format!("coordinator {} answers, at entry {head}", coordinator.short()))
                    + &said(&format!("its relay is {relay}"))
            }
            Told::Invited { entry, uses } => said(&format!("entry {entry}: an invite for {uses} nodes")),
            Told::Joined { node, id, entry, millis } => {
                said(&format!("entry {entry}: {node} joined as {} after {}", id.short(), after(millis)))
            }
            Told::InviteLeft { uses_left } => said(&format!("the invite has {uses_left} uses left")),
            Told::Published { name, generation, content } => {
                said(&format!("entry {generation}: {name} says `{content}`"))
            }
            Told::Settled { node, millis, outcome } => {
                let mut text = said(&format!("{node}: {} {} after {}", outcome.name, outcome.verdict, after(millis)));
                if !outcome.message.is_empty() {
                    text.push_str(&wrapped("     ", &outcome.message));
                }
                text
            }
            Told::File { node, path, content } => said(&match content {
                Some(content) => format!("{node}: {path} reads `{}`", content.trim_end()),
                None => format!("{node}: {path} does not exist"),
            }),
            Told::Stopped { node } => said(&format!("{node} is down")),
            Told::Started { node, knew } => said(&format!("{node} starts; it knows the ledger up to entry {knew}")),
            Told::Straight { node, plays, spoke_of, skipped } => {
                let spoke_of: Vec<String> = spoke_of.iter().map(ToString::to_string).collect();
                let spoke_of = spoke_of.join(", ");
                said(&format!("{node} played {plays}, of entry {spoke_of}; never that of entry {skipped}"))
            }
            Told::Entry(row) => {
                let line = format!("{:>3}  {:<14} {} {}", row.seq, row.author, row.verb, row.what);
                said(&protocols::outcome::shorten(&line, COLUMNS - 4))
            }
            Told::Verified { entries, head, agree, .. } => {
                let agree: Vec<String> = agree.iter().map(ToString::to_string).collect();
                said(&format!("{entries} entries verified from the export with the fleet id alone"))
                    + &said(&format!("head {}..", head.get(..16).unwrap_or(head)))
                    + &said(&format!("the copies of {} amount to the same", agree.join(", ")))
            }
            Told::Forged { entry, refused } => {
                said(&format!("one byte of entry {entry} changed, and it is refused:")) + &wrapped("     ", refused)
            }
            Told::Ended { millis, kept, next } => {
                let mut text = format!("\nAll of it came out as told, in {}.\n", after(millis));
                if let Some(dir) = kept {
                    text.push_str(&format!("The files stay in {dir}\n"));
                }
                text.push_str("\nnext:\n");
                next.iter().for_each(|command| text.push_str(&format!("  {command}\n")));
                text
            }
        }
    }
}

fn said(text: &str) -> String {
    wrapped("   ", text)
}

/// Text in lines of less than 80 columns, where it can be broken, without anything that moves a cursor.
fn wrapped(indent: &str, text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    // Only the first line keeps the spaces between its words: tables are made of them.
    if indent.chars().count() + text.chars().count() < COLUMNS {
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        return format!("{indent}{}\n", clean.trim_end());
    }
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        let width = indent.chars().count() + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && width >= COLUMNS {
            lines.push_str(&format!("{indent}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines + &format!("{indent}{line}\n")
}

/// Lines are shorter than this, in characters.
const COLUMNS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_short_and_lose_nothing() {
        let text = "word ".repeat(60) + "\u{1b}[2Jlast";
        let wrapped = wrapped("     ", &text);
        assert!(wrapped.lines().all(|line| line.chars().count() < COLUMNS && line.starts_with("     ")), "{wrapped}");
        assert_eq!(wrapped.matches("word").count(), 60);
        assert!(wrapped.ends_with("[2Jlast\n") && !wrapped.contains('\u{1b}'));
        assert_eq!(super::wrapped("  ", "a   b"), "  a   b\n");
    }

    #[test]
    fn json_names_schema_step_and_event() {
        let told = Told::File { node: "edge-1".parse().unwrap(), path: "/etc/x", content: None };
        let json = crate::output::json(&Line { step: 4, told }, false).unwrap();
        let expected =
            r#"{"schema":"flt.demo/1","step":4,"event":"file","node":"edge-1","path":"/etc/x","content":null}"#;
        assert_eq!(json, expected);
    }
}
