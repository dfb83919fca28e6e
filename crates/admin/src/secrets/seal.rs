//! Sealing what a fleet file names: the value that was given, or the one that is published, to all who shall have it now.

use std::collections::{BTreeMap, BTreeSet};

use protocols::entry::{Payload, Publish};
use protocols::secret::{SealTextError, Tags};
use protocols::state::Declaration;
use protocols::{
    DeclarationName, FleetState, Kind, Name, NodeId, SealedText, SecretKey, SecretValue, Selector, Subject,
};
use scores::Catalogue;
use serde_json::Value;

use super::{Named, News, SecretUse, Spot, present, published, recipients};
use crate::fleetfile::ResolveError;

/// A secret that is to be sealed.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The declaration that holds it.
    pub declaration: &'a DeclarationName,
    /// For which nodes.
    pub on: &'a Selector,
    /// The score's language.
    pub kind: &'a Kind,
    /// What the score governs.
    pub subject: &'a Subject,
    /// The secret.
    pub secret: &'a Name,
}

/// Why a secret could not be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Nobody said what it is, and it is not published where this admin could read it.
    #[error("{}", unknown(name, by.as_ref()))]
    Unknown {
        /// The secret.
        name: Name,
        /// Who published it, where somebody did.
        by: Option<String>,
    },
    /// It cannot be sealed to these keys.
    #[error(transparent)]
    Seal(#[from] SealTextError),
}

impl SealError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { name, .. } => {
                format!(
                    "give it with --secret-file {name}=PATH, where PATH is a file or `-` for stdin; or run this on a terminal"
                )
            }
            Self::Seal(SealTextError::TooManyRecipients { .. }) => {
                "split the group: several groups may hold the same score for a part of the nodes each".into()
            }
            Self::Seal(_) => "see the nodes that it is for: flt admin node list".into(),
        }
    }
}

impl From<SealError> for ResolveError {
    fn from(error: SealError) -> Self {
        Self { what: error.to_string(), hint: Some(error.hint()) }
    }
}

/// Seals secrets for the nodes that a declaration means now, and leaves those alone that need nothing.
#[derive(Debug)]
pub struct Sealer<'a> {
    state: &'a FleetState,
    id: NodeId,
    keys: Vec<&'a SecretKey>,
    catalogue: &'a Catalogue,
    given: BTreeMap<Name, SecretValue>,
    pretends: bool,
    insists: bool,
    done: BTreeMap<(DeclarationName, Name), (SealedText, News)>,
}

impl<'a> Sealer<'a> {
    /// Seals as the admin with this id, for the fleet as it is in `state`. With a key that is elsewhere, as in an
    /// ssh-agent, nothing that is published can be opened.
    pub fn new(state: &'a FleetState, id: NodeId, key: Option<&'a SecretKey>, catalogue: &'a Catalogue) -> Self {
        Self {
            state,
            id,
            keys: key.into_iter().collect(),
            catalogue,
            given: BTreeMap::new(),
            pretends: false,
            insists: false,
            done: BTreeMap::new(),
        }
    }

    /// Opens what is published with this key too: a former one of this admin, or a recovery key.
    pub fn open_with(&mut self, key: &'a SecretKey) {
        self.keys.push(key);
    }

    /// From now on a secret that is sealed to other keys than today's is an error where it cannot be sealed again. Else
    /// what we cannot open stays as long as every node can open it, and if only its publisher's own key is another one now.
    pub const fn insist(&mut self) {
        self.insists = true;
    }

    /// What a secret shall be, whatever is published.
    pub fn give(&mut self, name: Name, value: SecretValue) {
        self.given.insert(name, value);
    }

    /// From now on a secret that nobody knows is no error: something else is sealed in its place, for a plan that is only
    /// looked at.
    pub const fn pretend(&mut self) {
        self.pretends = true;
    }

    /// The secrets among these whose value neither was given nor can be read, each once, in order.
    pub fn unknown(&self, named: &[Named]) -> Vec<Name> {
        let mut found = BTreeSet::new();
        for Named { declaration, on, secret } in named {
            let stays = || {
                let old = self.state.declarations().get(declaration)?;
                let text = published(self.catalogue, old).into_iter().find(|text| text.name() == secret)?;
                Some(self.is_as_it_should_be(&text, on) || self.may_stay(&text, on, old))
            };
            let known = self.given.contains_key(secret) || stays() == Some(true) || self.elsewhere(secret).is_some();
            if !known {
                found.insert(secret.clone());
            }
        }
        found.into_iter().collect()
    }

    /// The sealed form that is to be published, and what is new about it.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&mut self, wanted: Wanted<'_>) -> Result<(SealedText, SecretUse), SealError> {
        let once = (wanted.declaration.clone(), wanted.secret.clone());
        let (text, news) = match self.done.get(&once) {
            Some((text, news)) if text.is_for(spot(wanted).place()) => (text.clone(), *news),
            _ => {
                let sealed = self.seal_anew(wanted)?;
                self.done.insert(once, sealed.clone());
                sealed
            }
        };
        let recipients = text.recipients().len();
        Ok((text, SecretUse { name: wanted.secret.clone(), news, recipients }))
    }

    fn seal_anew(&self, wanted: Wanted<'_>) -> Result<(SealedText, News), SealError> {
        let place = spot(wanted).place();
        let declared = self.state.declarations().get(wanted.declaration);
        let old = declared.and_then(|old| {
            let text = published(self.catalogue, old).into_iter().find(|text| text.name() == wanted.secret)?;
            Some((old, text))
        });
        let in_place = old.as_ref().filter(|(_, text)| text.is_for(place));
        let fits = in_place.is_some_and(|(_, text)| self.is_as_it_should_be(text, wanted.on));
        let may_stay = fits || in_place.is_some_and(|(old, text)| self.may_stay(text, wanted.on, old));
        let opened = old.as_ref().and_then(|(old, text)| self.open(old, text));
        let (value, news) = match (self.given.get(wanted.secret), old, opened) {
            (None, Some((_, text)), Some(_)) if fits => return Ok((text, News::Unchanged)),
            (None, Some((_, text)), None) if may_stay => return Ok((text, News::Unchanged)),
            (Some(given), Some((_, text)), Some(opened)) if opened.is(given) => {
                if fits {
                    return Ok((text, News::Unchanged));
                }
                (given.clone(), News::Resealed)
            }
            (Some(given), Some(_), _) => (given.clone(), News::Changed),
            (Some(given), None, _) => (given.clone(), News::New),
            (None, Some(_), Some(opened)) => (opened, News::Resealed),
            (None, old, _) => match self.elsewhere(wanted.secret) {
                Some(value) => (value, if old.is_some() { News::Changed } else { News::New }),
                None if self.pretends => (SecretValue::from(Vec::new()), News::Unknown),
                None => {
                    let by = old.map(|(old, _)| crate::race::who(old.author, self.state));
                    return Err(SealError::Unknown { name: wanted.secret.clone(), by });
                }
            },
        };
        let to = recipients(self.state, wanted.on, &[], Some(self.id));
        Ok((SealedText::seal(wanted.secret.clone(), place, &value, &to)?, news))
    }

    /// Seals the secrets of an older publication to the keys of today, their values as they were then. Gives the names of
    /// those that we cannot read and that stay as they are.
    ///
    /// # Errors
    /// [`SealError::Seal`].
    pub fn renew(&self, publish: &mut Publish) -> Result<Vec<Name>, SealError> {
        let place = Spot { kind: &publish.kind, subject: &publish.subject }.place();
        let (mut kept, mut replaced) = (BTreeSet::new(), Vec::new());
        for old in self.catalogue.secrets(&publish.kind, publish.payload.get()).unwrap_or_default() {
            if self.is_as_it_should_be(&old, &publish.on) || replaced.iter().any(|(known, _)| *known == old) {
                continue;
            }
            let Some(value) = self.keys.iter().find_map(|key| old.open(place, key).ok()) else {
                kept.insert(old.name().clone());
                continue;
            };
            let to = recipients(self.state, &publish.on, &[], Some(self.id));
            let new = SealedText::seal(old.name().clone(), place, &value, &to)?;
            replaced.push((old, new));
        }
        if let Some(payload) = replace(publish.payload.get(), &replaced).filter(|_| !replaced.is_empty()) {
            publish.payload = payload;
        }
        Ok(kept.into_iter().collect())
    }

    /// Whether a published form is sealed to exactly the nodes and recovery keys of today and to one admin of today.
    fn is_as_it_should_be(&self, text: &SealedText, on: &Selector) -> bool {
        let found = text.recipients();
        let nobody = recipients(self.state, on, &[], None);
        // One key more than these, and whose that is is looked up rather than tried.
        if found.len() > nobody.len() + 1 {
            return false;
        }
        let admins = self.state.admins().keys().copied().chain([self.id]).filter(|id| found.has(*id));
        let with = |admin: NodeId| found == Tags::of(nobody.iter().copied().chain([admin]).collect::<BTreeSet<_>>());
        admins.into_iter().any(with)
    }

    /// Whether a published form that we cannot open is good enough: sealed to all who shall have it, and to the key that
    /// its publisher had.
    fn may_stay(&self, text: &SealedText, on: &Selector, old: &Declaration) -> bool {
        let with = |publisher| text.recipients() == Tags::of(recipients(self.state, on, &[], publisher));
        !self.insists && (with(Some(old.author)) || with(present(self.state, old.author)))
    }

    fn open(&self, declaration: &Declaration, text: &SealedText) -> Option<SecretValue> {
        let place = Spot { kind: &declaration.kind, subject: &declaration.subject }.place();
        self.keys.iter().find_map(|key| text.open(place, key).ok())
    }

    /// The newest published value under this name that we can open, in whatever declaration.
    fn elsewhere(&self, name: &Name) -> Option<SecretValue> {
        let mut declarations: Vec<&Declaration> =
            self.state.declarations().values().map(std::sync::Arc::as_ref).collect();
        declarations.sort_by_key(|declaration| std::cmp::Reverse(declaration.generation));
        declarations.into_iter().find_map(|declaration| {
            let texts = published(self.catalogue, declaration).into_iter().filter(|text| text.name() == name);
            texts.into_iter().find_map(|text| self.open(declaration, &text))
        })
    }

    /// A declaration in force with its secrets sealed as they should be now; nothing if they are. Only those that are
    /// named, if any are.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn reseal(
        &mut self,
        declaration: &Declaration,
        only: Option<&Name>,
    ) -> Result<Option<(Publish, Vec<SecretUse>)>, SealError> {
        let Declaration { name, on, kind, subject, .. } = declaration;
        let mut uses = Vec::new();
        let mut replaced: Vec<(SealedText, SealedText)> = Vec::new();
        for old in published(self.catalogue, declaration) {
            if only.is_some_and(|only| only != old.name()) || replaced.iter().any(|(known, _)| *known == old) {
                continue;
            }
            let wanted = Wanted { declaration: name, on, kind, subject, secret: old.name() };
            let (text, used) = self.seal(wanted)?;
            if text != old {
                uses.push(used);
                replaced.push((old, text));
            }
        }
        if replaced.is_empty() {
            return Ok(None);
        }
        let Some(payload) = replace(declaration.payload.get(), &replaced) else { return Ok(None) };
        let publish = Publish {
            name: name.clone(),
            on: on.clone(),
            kind: kind.clone(),
            subject: subject.clone(),
            policy: declaration.policy.clone(),
            payload,
            artifacts: declaration.artifacts.clone(),
            note: declaration.note.clone(),
        };
        Ok(Some((publish, uses)))
    }
}

fn spot(wanted: Wanted<'_>) -> Spot<'_> {
    Spot { kind: wanted.kind, subject: wanted.subject }
}

/// The payload with some sealed forms in the place of others.
fn replace(payload: &str, replaced: &[(SealedText, SealedText)]) -> Option<Payload> {
    fn walk(value: &mut Value, replaced: &[(Value, Value)]) {
        if let Some((_, new)) = replaced.iter().find(|(old, _)| old == value) {
            *value = new.clone();
            return;
        }
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| walk(item, replaced)),
            Value::Object(fields) => fields.values_mut().for_each(|field| walk(field, replaced)),
            _ => {}
        }
    }
    let json = |text: &SealedText| serde_json::to_value(text).ok();
    let pairs = replaced.iter().map(|(old, new)| Some((json(old)?, json(new)?)));
    let pairs: Vec<(Value, Value)> = pairs.collect::<Option<_>>()?;
    let mut value: Value = serde_json::from_str(payload).ok()?;
    walk(&mut value, &pairs);
    Payload::from_json(value.to_string()).ok()
}

fn unknown(name: &Name, by: Option<&String>) -> String {
    match by {
        Some(by) => format!(
            "the secret `{name}` must be sealed again, and only `{by}`, who published it, and the nodes can read it"
        ),
        None => format!("it is not known what the secret `{name}` is"),
    }
}
