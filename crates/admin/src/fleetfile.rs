//! `fleet.toml`: what an admin writes down, read strictly and with the place of everything that is wrong.
//!
//! ```toml
//! version = 1                    # optional
//! fleet = "acme"                 # optional: refused when applied to another fleet
//!
//! [group.edge]
//! on = "role=edge,!edge-7"
//!
//! [group.edge.score.motd]
//! kind = "files/1"
//! spec = { root = "/etc", entries = { motd = { file = "motd.txt", mode = "0644" } } }
//! policy = { checks = [{ type = "exec", command = ["test", "-s", "/etc/motd"] }] }
//!
//! [group.edge.score.system]
//! kind = "nixos/1"
//! spec = { toplevel-link = "./result" }
//! ```
//!
//! A score `motd` of the group `edge` is the declaration `edge/motd`. JSON of the same shape is read too.
//!
//! Two things in a spec stand for something on this machine. `file = "path"`, in a table anywhere in a spec, becomes
//! `content` (text) or `base64` (other bytes) if the file is small, else `blob`: its hash and size, and the file is
//! uploaded. In a `nixos/1` spec `toplevel-link = "path"` becomes the store path that it links to, and a `toplevel`
//! without a `manifest` is published from the local store. Relative paths start at the folder of the fleet file.
//!
//! `secret = "name"` stands for a secret that is not in the file at all: it is sealed to the nodes' keys, see
//! [`crate::secrets`].

mod problem;
mod resolve;
mod secret;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use protocols::{DeclarationName, Kind, Name, Policy, Selector};
use scores::Catalogue;
use serde::de::DeserializeOwned;

pub use problem::{BadFile, Problem};
pub use resolve::{
    Closure, Content, INLINE_BYTES_MAX, INLINE_TOTAL_BYTES_MAX, LocalFiles, Resolve, ResolveError, Resolved, Source,
    Toplevel, Upload,
};
use tree::{Field, Node, Value};

use crate::nearest::nearest;

/// The largest fleet file, in bytes.
pub const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most declarations of one fleet file.
pub const DECLARATIONS_MAX: usize = 4096;

/// The fields of a score.
const SCORE_FIELDS: [&str; 4] = ["kind", "spec", "policy", "note"];

/// How a fleet file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML.
    Toml,
    /// JSON.
    Json,
}

/// A fleet file as it was read. Its specs are not resolved yet: see [`FleetFile::resolve`].
#[derive(Debug, Clone)]
pub struct FleetFile {
    file: String,
    text: String,
    fleet: Option<(Name, usize)>,
    groups: BTreeSet<Name>,
    declared: Vec<Declared>,
}

/// One declaration, unresolved.
#[derive(Debug, Clone)]
struct Declared {
    name: DeclarationName,
    at: usize,
    on: Selector,
    kind: Kind,
    policy: Policy,
    note: Option<String>,
    spec: Node,
}

impl Format {
    /// JSON if the name ends in `.json` or, where the name does not say, the text begins with a brace.
    pub fn guess(file: &str, text: &str) -> Self {
        let named = file.rsplit_once('.').map(|(_, ending)| ending);
        match named {
            Some("json") => Self::Json,
            Some("toml") => Self::Toml,
            _ if text.trim_start().starts_with('{') => Self::Json,
            _ => Self::Toml,
        }
    }
}

impl FleetFile {
    /// Reads a text. `file` is its name, for messages.
    ///
    /// # Errors
    /// [`BadFile`] with everything that is wrong, each with line and column.
    pub fn read(file: &str, text: &str, format: Format, catalogue: &Catalogue) -> Result<Self, BadFile> {
        let bad = |problem| BadFile { file: file.to_owned(), problems: vec![problem] };
        if text.len() > FILE_BYTES_MAX {
            let what = format!("the file has {} bytes and may have at most {FILE_BYTES_MAX}", text.len());
            return Err(bad(Problem::at(text, 0, what)));
        }
        let root = match format {
            Format::Toml => tree::from_toml(text),
            Format::Json => tree::from_json(text),
        };
        let root = root.map_err(bad)?;
        let mut reader = Reader { text, catalogue, problems: Vec::new() };
        let read = reader.file(&root);
        if !reader.problems.is_empty() {
            let mut problems = reader.problems;
            problems.sort_by_key(|problem| (problem.line, problem.column));
            return Err(BadFile { file: file.to_owned(), problems });
        }
        let (fleet, groups, declared) = read;
        Ok(Self { file: file.to_owned(), text: text.to_owned(), fleet, groups, declared })
    }

    /// The file's name, for messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The names of its declarations.
    pub fn names(&self) -> impl Iterator<Item = &DeclarationName> {
        self.declared.iter().map(|declared| &declared.name)
    }

    /// Its groups, also those without a score.
    pub const fn groups(&self) -> &BTreeSet<Name> {
        &self.groups
    }

    /// Checks that it is meant for the fleet of this name.
    ///
    /// # Errors
    /// If it says that it is for another.
    pub fn check_fleet(&self, fleet: &Name) -> Result<(), BadFile> {
        match &self.fleet {
            Some((name, at)) if name != fleet => {
                let what = format!("the file is for the fleet `{name}`, and this is the fleet `{fleet}`");
                let hint = "choose the other fleet's data folder with --data, or correct the file";
                let problem = Problem::at(&self.text, *at, what).hint(hint);
                Err(BadFile { file: self.file.clone(), problems: vec![problem] })
            }
            _ => Ok(()),
        }
    }
}

type Read = (Option<(Name, usize)>, BTreeSet<Name>, Vec<Declared>);

struct Reader<'a> {
    text: &'a str,
    catalogue: &'a Catalogue,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn file(&mut self, root: &Node) -> Read {
        self.known_fields(root, "a fleet file", &["version", "fleet", "group"]);
        if let Some(version) = root.field("version")
            && version.node.value != Value::Number("1".into())
        {
            let problem = Problem::at(self.text, version.node.at, "the version is not 1, the only one that there is");
            self.problems.push(problem.hint("a newer flt may read this file"));
        }
        let fleet = root.field("fleet").and_then(|field| Some((self.parsed(&field.node)?, field.node.at)));
        let (mut groups, mut declared) = (BTreeSet::new(), Vec::new());
        for field in root.field("group").map(|g| self.fields(&g.node, "group")).unwrap_or_default() {
            if let Some(name) = self.parse::<Name>(&field.key, field.at) {
                groups.insert(name);
                self.group(field, &mut declared);
            }
        }
        if declared.len() > DECLARATIONS_MAX {
            let what = format!("the file declares {} scores and may declare {DECLARATIONS_MAX}", declared.len());
            self.problems.push(Problem::at(self.text, 0, what));
        }
        (fleet, groups, declared)
    }

    fn group(&mut self, group: &Field, declared: &mut Vec<Declared>) {
        self.known_fields(&group.node, "a group", &["on", "score"]);
        let on = match group.node.field("on") {
            Some(field) => self.parsed::<Selector>(&field.node),
            None => {
                let what = format!("the group `{}` does not say which nodes it is for", group.key);
                let hint = r#"add `on = "*"` for all nodes, or a selector like `on = "role=web,!web-3"`"#;
                self.problems.push(Problem::at(self.text, group.at, what).hint(hint));
                None
            }
        };
        for field in group.node.field("score").map(|s| self.fields(&s.node, "score")).unwrap_or_default() {
            if let Some(score) = self.score(&group.key, on.as_ref(), field) {
                declared.push(score);
            }
        }
    }

    fn score(&mut self, group: &str, on: Option<&Selector>, field: &Field) -> Option<Declared> {
        self.known_fields(&field.node, "a score", &SCORE_FIELDS);
        self.parse::<Name>(&field.key, field.at)?;
        let name = self.parse(&format!("{group}/{}", field.key), field.at);
        let kind = self.required(field, "kind", r#"add one, like `kind = "files/1"`"#);
        let kind = kind.and_then(|node| self.kind(node));
        let policy = match field.node.field("policy") {
            Some(policy) => self.policy(&policy.node),
            None => Some(Policy::default()),
        };
        let note = field.node.field("note").map(|note| self.note(&note.node));
        let spec = self.required(field, "spec", "add the score's fields in a table `spec`").cloned();
        Some(Declared {
            name: name?,
            at: field.at,
            on: on?.clone(),
            kind: kind?,
            policy: policy?,
            note: note.unwrap_or_default(),
            spec: spec?,
        })
    }

    fn required<'n>(&mut self, of: &'n Field, key: &str, hint: &str) -> Option<&'n Node> {
        let found = of.node.field(key);
        if let (None, Value::Table(fields)) = (found, &of.node.value)
            // A mistyped one is reported as such.
            && !fields.iter().any(|field| !SCORE_FIELDS.contains(&field.key.as_str()) && nearest(&field.key, [key]).is_some())
        {
            self.problems.push(Problem::at(self.text, of.at, format!("`{}` has no `{key}`", of.key)).hint(hint));
        }
        found.map(|field| &field.node)
    }

    fn kind(&mut self, node: &Node) -> Option<Kind> {
        let kind: Kind = self.parsed(node)?;
        if self.catalogue.kinds().any(|known| *known == kind) {
            return Some(kind);
        }
        let known: Vec<&str> = self.catalogue.kinds().map(Kind::as_str).collect();
        let hint = match nearest(kind.as_str(), known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are {}", known.join(", ")),
        };
        self.problems.push(Problem::at(self.text, node.at, format!("`{kind}` is not a kind of score")).hint(hint));
        None
    }

    fn policy(&mut self, node: &Node) -> Option<Policy> {
        let policy: Policy = match read_as(node) {
            Ok(policy) => policy,
            Err((path, why)) => {
                self.problems.push(spec_problem(self.text, node, &path, &why));
                return None;
            }
        };
        if let Err(bad) = policy.check() {
            self.problems.push(Problem::at(self.text, node.at, bad.to_string()));
            return None;
        }
        Some(policy)
    }

    fn note(&mut self, node: &Node) -> Option<String> {
        let Value::Text(text) = &node.value else {
            self.problems.push(Problem::at(self.text, node.at, "the note should be a text"));
            return None;
        };
        let most = protocols::entry::body::NOTE_BYTES_MAX;
        if text.len() > most || text.contains(char::is_control) {
            let what = format!("the note may have {most} bytes and no control characters");
            self.problems.push(Problem::at(self.text, node.at, what));
        }
        Some(text.clone())
    }

    /// The fields of a table; a problem if it is something else.
    fn fields<'n>(&mut self, node: &'n Node, what: &str) -> Vec<&'n Field> {
        match &node.value {
            Value::Table(fields) => fields.iter().collect(),
            _ => {
                let what = format!("`{what}` should be a table of names");
                self.problems.push(Problem::at(self.text, node.at, what));
                Vec::new()
            }
        }
    }

    fn known_fields(&mut self, node: &Node, what: &str, known: &[&str]) {
        let Value::Table(fields) = &node.value else {
            self.problems.push(Problem::at(self.text, node.at, format!("{what} should be a table")));
            return;
        };
        for field in fields.iter().filter(|field| !known.contains(&field.key.as_str())) {
            let hint = match nearest(&field.key, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("{what} has {}", known.join(", ")),
            };
            self.problems.push(Problem::at(self.text, field.at, format!("unknown field `{}`", field.key)).hint(hint));
        }
    }

    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&mut self, node: &Node) -> Option<T> {
        match &node.value {
            Value::Text(text) => self.parse(text, node.at),
            _ => {
                self.problems.push(Problem::at(self.text, node.at, "this should be a text"));
                None
            }
        }
    }

    fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(&mut self, text: &str, at: usize) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(why) => {
                self.problems.push(Problem::at(self.text, at, why.to_string()));
                None
            }
        }
    }
}

/// Reads a value through its JSON; what is wrong comes with its path.
fn read_as<T: DeserializeOwned>(node: &Node) -> Result<T, (String, String)> {
    let json = node.to_json();
    let mut from = serde_json::Deserializer::from_str(&json);
    serde_path_to_error::deserialize(&mut from)
        .map_err(|error| (error.path().to_string(), problem::without_place(&error.into_inner().to_string())))
}

/// A problem at a path in a part of the file: at the unknown field itself where the message names one.
fn spec_problem(text: &str, node: &Node, path: &str, why: &str) -> Problem {
    let place = node.locate(path);
    let why = problem::without_place(why);
    let Some(rest) = why.strip_prefix("unknown field `") else {
        let path = path.trim_start_matches('.');
        let what = if path.is_empty() { why } else { format!("`{path}`: {why}") };
        return Problem::at(text, place.at, what);
    };
    let (unknown, known) = rest.split_once('`').unwrap_or((rest, ""));
    // The path may lead to the field itself or to the table that holds it.
    let at = place.field(unknown).map_or_else(|| key_place(node, place, unknown), |field| field.at);
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let hint = match nearest(unknown, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("there are {}", known.join(", ")),
    };
    Problem::at(text, at, format!("unknown field `{unknown}`")).hint(hint)
}

/// Where the key of `found` stands below `node`, if `found` is the value of a field of that name.
fn key_place(node: &Node, found: &Node, key: &str) -> usize {
    fn search(node: &Node, found: &Node, key: &str) -> Option<usize> {
        match &node.value {
            Value::Table(fields) => fields.iter().find_map(|field| {
                if std::ptr::eq(&raw const field.node, found) && field.key == key {
                    return Some(field.at);
                }
                search(&field.node, found, key)
            }),
            Value::List(items) => items.iter().find_map(|item| search(item, found, key)),
            _ => None,
        }
    }
    search(node, found, key).unwrap_or(found.at)
}
