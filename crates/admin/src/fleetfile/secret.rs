//! `secret = "name"` in a spec: replaced by the sealed form, for which the score must say first what it governs.

use std::collections::BTreeSet;

use protocols::secret::{Place, SealedText};
use protocols::{Name, SecretKey, SecretValue, Subject};
use scores::Catalogue;

use super::problem::Problem;
use super::resolve::Resolve;
use super::tree::{Field, Node, Value};
use super::{Declared, FleetFile, spec_problem};
use crate::secrets::{Named, SecretUse, Wanted};

impl FleetFile {
    /// The secrets that it names; those with names that are none are left out, and are an error when it is resolved.
    pub fn secrets(&self) -> Vec<Named> {
        let mut found = Vec::new();
        for declared in &self.declared {
            let mut names = BTreeSet::new();
            // What is replaced is thrown away; only the names matter.
            let walked = replace(&declared.spec, &mut |field, name| {
                names.extend(name.parse::<Name>().ok());
                Ok::<_, Problem>(field.node.clone())
            });
            drop(walked);
            found.extend(names.into_iter().map(|secret| Named {
                declaration: declared.name.clone(),
                on: declared.on.clone(),
                secret,
            }));
        }
        found
    }
}

/// Fills in the secrets of a spec in which everything else is there.
pub(super) fn fill(
    text: &str,
    catalogue: &Catalogue,
    declared: &Declared,
    spec: Node,
    with: &mut dyn Resolve,
) -> Result<(Node, Vec<SecretUse>), Problem> {
    let mut names = 0;
    let pretended = replace(&spec, &mut |field, name| {
        names += 1;
        let name = parse(text, field, name)?;
        Ok(Node::new(field.node.at, sealed(&stand_in(&name), field.node.at)))
    })?;
    if names == 0 {
        return Ok((spec, Vec::new()));
    }
    // A secret is bound to what its score governs, and that is for the score to say.
    let subject: Subject = catalogue
        .validate(&declared.kind, &pretended.to_json())
        .map_err(|invalid| spec_problem(text, &pretended, &invalid.path, &invalid.why))?;
    let mut uses: Vec<SecretUse> = Vec::new();
    let filled = replace(&spec, &mut |field, name| {
        let secret = parse(text, field, name)?;
        let wanted = Wanted {
            declaration: &declared.name,
            on: &declared.on,
            kind: &declared.kind,
            subject: &subject,
            secret: &secret,
        };
        let (form, used) = with.secret(wanted).map_err(|error| {
            let problem = Problem::at(text, field.node.at, error.what);
            match error.hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            }
        })?;
        if !uses.contains(&used) {
            uses.push(used);
        }
        Ok(Node::new(field.node.at, sealed(&form, field.node.at)))
    })?;
    Ok((filled, uses))
}

/// What to do about a score that is too large because of its secrets.
pub(super) fn too_large(keys: usize) -> String {
    format!(
        "each secret takes about {SEALED_BYTES_PER_KEY} bytes for each of the {keys} keys that it is sealed to; put fewer secrets into one score, \
         or split the group"
    )
}

/// Base64 characters in a score for each key that a secret is sealed to.
const SEALED_BYTES_PER_KEY: usize = 147;

/// Copies a value; each `secret` in a table that is a text becomes what the function makes of it.
fn replace<E>(node: &Node, with: &mut dyn FnMut(&Field, &str) -> Result<Node, E>) -> Result<Node, E> {
    let value = match &node.value {
        Value::List(items) => Value::List(items.iter().map(|item| replace(item, with)).collect::<Result<_, _>>()?),
        Value::Table(fields) => {
            let copy = |field: &Field, with: &mut dyn FnMut(&Field, &str) -> Result<Node, E>| {
                let node = match &field.node.value {
                    Value::Text(name) if field.key == "secret" => with(field, name)?,
                    _ => replace(&field.node, with)?,
                };
                Ok(Field { key: field.key.clone(), at: field.at, node })
            };
            Value::Table(fields.iter().map(|field| copy(field, with)).collect::<Result<_, _>>()?)
        }
        other => other.clone(),
    };
    Ok(Node::new(node.at, value))
}

fn parse(text: &str, field: &Field, name: &str) -> Result<Name, Problem> {
    name.parse().map_err(|error: protocols::ids::BadId| {
        let hint = "a secret has a name here, and its value comes from --secret-file, the ledger or a prompt";
        Problem::at(text, field.node.at, error.to_string()).hint(hint)
    })
}

/// Something of the right form, sealed to nobody that exists.
fn stand_in(name: &Name) -> SealedText {
    let kind = protocols::Kind::from_static("none/1");
    let subject: Subject = "none".parse().unwrap_or_else(|_| unreachable!("it is a subject"));
    let nobody = BTreeSet::from([SecretKey::from_seed(&[0x5e; 32]).id()]);
    let nothing = SecretValue::from(Vec::new());
    SealedText::seal(name.clone(), Place { kind: &kind, subject: &subject }, &nothing, &nobody)
        .unwrap_or_else(|_| unreachable!("nothing can be sealed to one key"))
}

fn sealed(form: &SealedText, at: usize) -> Value {
    let field = |key: &str, text: String| Field { key: key.into(), at, node: Node::new(at, Value::Text(text)) };
    Value::Table(vec![field("age", data_encoding::BASE64.encode(form.file())), field("name", form.name().to_string())])
}
