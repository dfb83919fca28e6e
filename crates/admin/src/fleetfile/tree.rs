//! A parsed file as a tree of values, each with its place in the text, whether it was TOML or JSON.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// The deepest nesting that is read.
const DEPTH_MAX: usize = 48;

/// A value and where it begins, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) value: Value,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// A number, as JSON writes it.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Field>),
}

/// A key, where it begins, and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) key: String,
    pub(super) at: usize,
    pub(super) node: Node,
}

impl Node {
    pub(super) const fn new(at: usize, value: Value) -> Self {
        Self { at, value }
    }

    pub(super) fn field(&self, key: &str) -> Option<&Field> {
        match &self.value {
            Value::Table(fields) => fields.iter().find(|field| field.key == key),
            _ => None,
        }
    }

    /// The value as JSON with sorted keys: equal values give equal text.
    pub(super) fn to_json(&self) -> String {
        let mut text = String::new();
        self.write_json(&mut text);
        text
    }

    fn write_json(&self, out: &mut String) {
        match &self.value {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Number(text) => out.push_str(text),
            Value::Text(text) => out.push_str(&quote(text)),
            Value::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Value::Table(fields) => {
                let mut sorted: Vec<&Field> = fields.iter().collect();
                sorted.sort_by(|a, b| a.key.cmp(&b.key));
                out.push('{');
                for (i, field) in sorted.into_iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    out.push_str(&quote(&field.key));
                    out.push(':');
                    field.node.write_json(out);
                }
                out.push('}');
            }
        }
    }

    /// Where a path like `entries."app.conf".mode` or `checks[0].type` leads: as far as it can be followed.
    pub(super) fn locate(&self, path: &str) -> &Self {
        let mut node = self;
        let mut rest = path;
        loop {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let next = match &node.value {
                Value::List(items) => rest
                    .strip_prefix('[')
                    .and_then(|r| r.split_once(']'))
                    .and_then(|(i, after)| Some((items.get(i.parse::<usize>().ok()?)?, after))),
                Value::Table(fields) => fields
                    .iter()
                    .filter_map(|field| Some((field, after_key(rest, &field.key)?)))
                    .max_by_key(|(field, _)| field.key.len())
                    .map(|(field, after)| (&field.node, after)),
                _ => None,
            };
            match next {
                Some((found, after)) => (node, rest) = (found, after),
                None => return node,
            }
        }
    }
}

fn after_key<'a>(path: &'a str, key: &str) -> Option<&'a str> {
    let quoted = format!("\"{}\"", key.escape_default());
    let after = path.strip_prefix(&quoted).or_else(|| path.strip_prefix(key))?;
    (after.is_empty() || after.starts_with(['.', '['])).then_some(after)
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Reads TOML.
pub(super) fn from_toml(text: &str) -> Result<Node, Problem> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Problem::at(text, at, error.message().trim().replace('\n', ", "))
    })?;
    let at = table.span().start;
    Ok(Node::new(at, from_de_table(text, table.into_inner(), 0)?))
}

fn from_de_table(text: &str, table: DeTable<'_>, depth: usize) -> Result<Value, Problem> {
    let mut fields = Vec::with_capacity(table.len());
    for (key, value) in table {
        let at = key.span().start;
        let node = from_de_value(text, value, depth + 1)?;
        fields.push(Field { key: key.into_inner().into_owned(), at, node });
    }
    Ok(Value::Table(fields))
}

fn from_de_value(text: &str, value: Spanned<DeValue<'_>>, depth: usize) -> Result<Node, Problem> {
    let at = value.span().start;
    if depth > DEPTH_MAX {
        return Err(Problem::at(text, at, format!("values are nested more than {DEPTH_MAX} deep")));
    }
    let value = match value.into_inner() {
        DeValue::String(string) => Value::Text(string.into_owned()),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => Value::Number(number.to_string()),
            Err(_) => return Err(Problem::at(text, at, format!("`{integer}` is too large a number"))),
        },
        DeValue::Float(float) => match float.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => Value::Number(serde_json::Value::from(number).to_string()),
            _ => return Err(Problem::at(text, at, format!("`{}` has no meaning in a score", float.as_str()))),
        },
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(moment) => Value::Text(moment.to_string()),
        DeValue::Array(array) => {
            let items: Result<Vec<Node>, Problem> =
                array.into_iter().map(|item| from_de_value(text, item, depth + 1)).collect();
            Value::List(items?)
        }
        DeValue::Table(table) => from_de_table(text, table, depth)?,
    };
    Ok(Node::new(at, value))
}

/// Reads JSON.
pub(super) fn from_json(text: &str) -> Result<Node, Problem> {
    let raw: &serde_json::value::RawValue =
        serde_json::from_str(text).map_err(|error| Problem::of_json(text, 0, &error))?;
    from_raw(text, raw, 0)
}

fn from_raw(text: &str, raw: &serde_json::value::RawValue, depth: usize) -> Result<Node, Problem> {
    let part = raw.get();
    // The parser hands out slices of the text it was given, so the distance of their beginnings is the place.
    let at = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    if depth > DEPTH_MAX {
        return Err(Problem::at(text, at, format!("values are nested more than {DEPTH_MAX} deep")));
    }
    let wrong = |error: serde_json::Error| Problem::of_json(text, at, &error);
    let value = match part.as_bytes().first() {
        Some(b'{') => {
            let pairs: Pairs<'_> = serde_json::from_str(part).map_err(wrong)?;
            let mut fields: Vec<Field> = Vec::with_capacity(pairs.0.len());
            for (key, raw) in pairs.0 {
                let node = from_raw(text, raw, depth + 1)?;
                fields.push(Field { key, at: node.at, node });
            }
            let mut keys: Vec<(&str, usize)> = fields.iter().map(|f| (f.key.as_str(), f.at)).collect();
            keys.sort_unstable();
            if let Some(twice) = keys.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(Problem::at(text, twice[1].1, format!("`{}` is here twice", twice[1].0)));
            }
            Value::Table(fields)
        }
        Some(b'[') => {
            let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(part).map_err(wrong)?;
            let items: Result<Vec<Node>, Problem> =
                items.into_iter().map(|raw| from_raw(text, raw, depth + 1)).collect();
            Value::List(items?)
        }
        Some(b'"') => Value::Text(serde_json::from_str(part).map_err(wrong)?),
        Some(b't' | b'f') => Value::Bool(serde_json::from_str(part).map_err(wrong)?),
        Some(b'n') => Value::Null,
        _ => Value::Number(serde_json::from_str::<serde_json::Number>(part).map_err(wrong)?.to_string()),
    };
    Ok(Node::new(at, value))
}

/// An object's pairs in order, also when a key is there twice.
struct Pairs<'a>(Vec<(String, &'a serde_json::value::RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Vec<(String, &'de serde_json::value::RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: serde::de::MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }

        deserializer.deserialize_map(Visitor).map(Pairs)
    }
}
