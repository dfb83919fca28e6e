//! The layers, laid over each other: who speaks first, holds.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::file::{self, Shape};
use super::keys::{Key, Kind, Role};
use super::problems::{ConfigError, Problem};
use super::suggest::nearest;
use super::{Env, Flag, Origin};

/// One value and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    /// The key; `relay.listen` is `listen` in `[relay]`.
    pub(crate) key: &'static str,
    /// Its value.
    pub(crate) value: Value,
    /// Who says so.
    pub(crate) origin: Origin,
}

/// A role's configuration, value by value.
#[derive(Debug, Clone)]
pub(crate) struct Layered {
    role: Role,
    settings: BTreeMap<&'static str, Setting>,
}

impl Layered {
    /// The values in the order of the keys.
    pub(crate) fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.role.keys().iter().filter_map(|key| self.settings.get(key.name))
    }

    /// As one table.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        for Setting { key, value, .. } in self.settings() {
            match key.split_once('.') {
                None => {
                    table.insert((*key).to_owned(), value.clone());
                }
                Some((outer, inner)) => {
                    let outer = table.entry(outer).or_insert_with(|| Value::Table(Table::new()));
                    if let Value::Table(outer) = outer {
                        outer.insert(inner.to_owned(), value.clone());
                    }
                }
            }
        }
        table
    }

    /// The problem, with the place where the bad value was given.
    pub(super) fn locate(&self, problem: Problem) -> Problem {
        match problem.key().and_then(|key| self.settings.get(key)) {
            Some(setting) => problem.from(&setting.origin),
            None => problem,
        }
    }

    fn add(&mut self, setting: Setting) {
        self.settings.entry(setting.key).or_insert(setting);
    }
}

pub(super) fn load(role: Role, explicit: Option<&Path>, flags: Vec<Flag>, env: &Env) -> Result<Layered, ConfigError> {
    let mut layered = Layered { role, settings: BTreeMap::new() };
    let mut problems = Vec::new();
    let found = flags.into_iter().filter_map(|(flag, name, value)| from_flag(role, flag, name, value, &mut problems));
    found.collect::<Vec<_>>().into_iter().for_each(|setting| layered.add(setting));
    variables(role, env, &mut problems).into_iter().for_each(|setting| layered.add(setting));
    let files = [
        (explicit.map(Path::to_owned), Shape::Either, true),
        (env.user_file(), Shape::Sections, false),
        (Some(env.machine_file.clone()), Shape::Sections, false),
    ];
    for (path, shape, required) in files {
        let Some(path) = path else { continue };
        match file::read(&path, required) {
            Ok(None) => {}
            Ok(Some(text)) => {
                let (settings, found) = file::parse(&path, &text, role, shape);
                settings.into_iter().for_each(|setting| layered.add(setting));
                problems.extend(found);
            }
            Err(problem) => problems.push(problem),
        }
    }
    defaults(role, env, &mut layered);
    if !layered.settings.contains_key("data") {
        problems.push(Problem::with("data", "no folder is known: set HOME, or `data`"));
    }
    if problems.is_empty() { Ok(layered) } else { Err(ConfigError::new(role, problems)) }
}

fn from_flag(
    role: Role,
    flag: &'static str,
    name: &'static str,
    value: Value,
    problems: &mut Vec<Problem>,
) -> Option<Setting> {
    let key = role.key(name)?;
    if let Err(why) = key.kind.check(&value) {
        problems.push(Problem::at(flag, why));
        return None;
    }
    Some(Setting { key: key.name, value, origin: Origin::Flag(flag.to_owned()) })
}

fn variables(role: Role, env: &Env, problems: &mut Vec<Problem>) -> Vec<Setting> {
    let settable = |key: &&Key| !matches!(key.kind, Kind::Table | Kind::Devices);
    let mut settings = Vec::new();
    for (variable, text) in env.starting(role.variables()) {
        let Some(key) = role.keys().iter().filter(settable).find(|key| key.variable(role) == variable) else {
            let names: Vec<String> = role.keys().iter().filter(settable).map(|key| key.variable(role)).collect();
            let near = nearest(variable, names.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            problems.push(Problem::at(variable, format!("the {role} knows no such variable{near}")));
            continue;
        };
        let value = key.kind.parse(text);
        match key.kind.check(&value) {
            Ok(()) => {
                settings.push(Setting { key: key.name, value, origin: Origin::Variable(variable.to_owned()) });
            }
            Err(why) => problems.push(Problem::at(variable, why)),
        }
    }
    settings
}

/// What nobody said. The keys of a table that is not there have no defaults.
fn defaults(role: Role, env: &Env, layered: &mut Layered) {
    for key in role.keys() {
        if let Some((outer, _)) = key.name.split_once('.') {
            let dotted = format!("{outer}.");
            if !layered.settings.keys().any(|name| *name == outer || name.starts_with(&dotted)) {
                continue;
            }
        }
        if let Some(value) = (key.default)(env) {
            layered.add(Setting { key: key.name, value, origin: Origin::Default });
        }
    }
}
