//! One configuration file: read, its keys checked, and every value with its line.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::keys::{Kind, Role};
use super::layers::Setting;
use super::problems::Problem;
use super::suggest::nearest;
use super::{Origin, keys};

/// Which keys stand at the top of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The roles' sections, as in the files that all roles share.
    Sections,
    /// The role's own keys; or sections, if it has one.
    Either,
}

/// Reads a file. Nothing if it does not exist and need not.
pub(super) fn read(path: &Path, required: bool) -> Result<Option<String>, Problem> {
    let cannot = |error: std::io::Error| Problem::at(path.display(), format!("cannot read the file: {error}"));
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory && !required => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Problem::at(path.display(), format!("is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(Some(text))
}

/// The role's values in a file's text, and all that is wrong with the file.
pub(super) fn parse(path: &Path, text: &str, role: Role, shape: Shape) -> (Vec<Setting>, Vec<Problem>) {
    let reader = Reader { path, text };
    let spanned = match DeTable::parse(text) {
        Ok(spanned) => spanned,
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            return (Vec::new(), vec![reader.problem(at, error.message().trim().replace('\n', ", "))]);
        }
    };
    let Ok(values) = toml::from_str::<Table>(text) else {
        return (Vec::new(), vec![reader.problem(0, "is not TOML")]);
    };
    let (mut settings, mut problems) = (Vec::new(), Vec::new());
    let top = spanned.get_ref();
    let is_section = |name: &str| Role::ALL.iter().any(|role| role.name() == name);
    let sections = shape == Shape::Sections || top.keys().any(|key| is_section(key.get_ref()));
    if !sections {
        reader.walk(top, &values, role, "", &mut settings, &mut problems);
        return (settings, problems);
    }
    for (key, value) in top {
        let name: &str = key.get_ref();
        let Some(section) = Role::ALL.into_iter().find(|role| role.name() == name) else {
            problems.push(reader.problem(key.span().start, no_section(name)));
            continue;
        };
        match (value.get_ref(), values.get(name)) {
            (DeValue::Table(spans), Some(Value::Table(table))) => {
                let mut found = Vec::new();
                reader.walk(spans, table, section, "", &mut found, &mut problems);
                if section == role {
                    settings = found;
                }
            }
            _ => problems.push(reader.problem(value.span().start, format!("`{name}` should be a section: [{name}]"))),
        }
    }
    (settings, problems)
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn walk(
        &self,
        spans: &DeTable<'_>,
        values: &Table,
        role: Role,
        prefix: &str,
        settings: &mut Vec<Setting>,
        problems: &mut Vec<Problem>,
    ) {
        for (spanned, value_span) in spans {
            let name = format!("{prefix}{}", spanned.get_ref());
            let Some(value) = values.get(&**spanned.get_ref()) else { continue };
            let Some(key) = role.key(&name) else {
                problems.push(self.problem(spanned.span().start, unknown(role, &name)));
                continue;
            };
            let origin = Origin::File(self.path.to_owned(), self.place(spanned.span().start).0);
            if let Err(why) = key.kind.check(value) {
                problems.push(self.problem(value_span.span().start, format!("`{name}` {why}")));
                continue;
            }
            let value = match (key.kind, value_span.get_ref(), value) {
                (Kind::Table, DeValue::Table(inner), Value::Table(table)) => {
                    self.walk(inner, table, role, &format!("{name}."), settings, problems);
                    Value::Table(Table::new())
                }
                (Kind::Devices, ..) => super::devices::absolute(value, |path| self.absolute(path)),
                (Kind::Path, _, Value::String(path)) => keys::path_value(&self.absolute(path)),
                _ => value.clone(),
            };
            settings.push(Setting { key: key.name, value, origin });
        }
    }

    /// A path as it is meant: from the file's folder.
    fn absolute(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or_else(|| Path::new("")).join(path)
    }

    fn problem(&self, at: usize, what: impl Into<String>) -> Problem {
        Problem::in_file(self.path.to_owned(), self.place(at), what)
    }

    /// Line and column of a byte, both from one.
    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

fn unknown(role: Role, name: &str) -> String {
    let known = || role.keys().iter().map(|key| key.name);
    if let Some(near) = nearest(name, known()) {
        return format!("the {role} has no key `{name}`; did you mean `{near}`?");
    }
    let known: Vec<&str> = known().filter(|name| !name.contains('.')).collect();
    format!("the {role} has no key `{name}`; it has {}", known.join(", "))
}

fn no_section(name: &str) -> String {
    let names = || Role::ALL.iter().map(|role| role.name());
    match nearest(name, names()) {
        Some(near) => format!("there is no section `{name}`; did you mean `{near}`?"),
        None => format!("`{name}` is not in a section: this file has [agent], [coordinator] and [admin]"),
    }
}

/// The largest configuration file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
