//! From a fleet file to what can be signed: local files and closures become content and hashes.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use protocols::entry::{Payload, Publish, body};
use protocols::{BlobHash, BlobRef, DeclarationName, Kind, Policy, SealedText, Selector, Subject};
use scores::Catalogue;
use scores::files::BLOB_BYTES_MAX;

use super::problem::Problem;
use super::tree::{Field, Node, Value};
use super::{BadFile, FleetFile, secret, spec_problem};
use crate::secrets::{SecretUse, Wanted};

/// Files up to this size travel within their score, in bytes.
pub const INLINE_BYTES_MAX: u64 = 16 * 1024;
/// Once a score holds this many bytes of files, its other files become blobs.
pub const INLINE_TOTAL_BYTES_MAX: u64 = 128 * 1024;

/// A declaration with everything in it that will be signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// Its name.
    pub name: DeclarationName,
    /// For which nodes.
    pub on: Selector,
    /// The score's language.
    pub kind: Kind,
    /// What it governs.
    pub subject: Subject,
    /// How it is applied.
    pub policy: Policy,
    /// The score's JSON, with sorted keys.
    pub payload: Payload,
    /// The blobs that it names.
    pub artifacts: Vec<BlobRef>,
    /// A word for the record.
    pub note: Option<String>,
    /// What must be with a coordinator before it is published.
    pub uploads: Vec<Upload>,
    /// The secrets that it names.
    pub secrets: Vec<SecretUse>,
}

impl Resolved {
    /// The entry that publishes it.
    pub fn publish(&self) -> Publish {
        Publish {
            name: self.name.clone(),
            on: self.on.clone(),
            kind: self.kind.clone(),
            subject: self.subject.clone(),
            policy: self.policy.clone(),
            payload: self.payload.clone(),
            artifacts: self.artifacts.clone(),
            note: self.note.clone(),
        }
    }
}

/// A blob that is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its hash and size.
    pub blob: BlobRef,
    /// Where it is.
    pub source: Source,
}

/// Where a blob's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// In memory.
    Bytes(Bytes),
}

/// Gives what a fleet file only names. It may block.
pub trait Resolve {
    /// The content of a file.
    ///
    /// # Errors
    /// [`ResolveError`] for the person who wrote the file.
    fn file(&mut self, path: &str, inline: bool) -> Result<Content, ResolveError>;

    /// A system's closure, published from the local store.
    ///
    /// # Errors
    /// [`ResolveError`] for the person who wrote the file.
    fn closure(&mut self, toplevel: Toplevel<'_>) -> Result<Closure, ResolveError>;

    /// A secret, sealed.
    ///
    /// # Errors
    /// [`ResolveError`] for the person who wrote the file.
    fn secret(&mut self, wanted: Wanted<'_>) -> Result<(SealedText, SecretUse), ResolveError> {
        let what = format!("the secret `{}` can be sealed by `flt admin` alone", wanted.secret);
        Err(ResolveError::new(what))
    }
}

/// A file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// To travel within the score.
    Inline(Vec<u8>),
    /// To travel as a blob.
    Blob(Upload),
}

/// How a fleet file names a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toplevel<'a> {
    /// By store path.
    Path(&'a str),
    /// By a link to one, like the `result` that a build leaves.
    Link(&'a str),
}

/// A published closure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closure {
    /// The system's store path.
    pub toplevel: String,
    /// The closure's manifest.
    pub manifest: BlobRef,
    /// The manifest and everything that it names.
    pub uploads: Vec<Upload>,
}

/// Why something that a fleet file names is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ResolveError {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ResolveError {
    /// An error that says all in one line.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None }
    }
}

/// Reads files below a folder, and knows of no closures.
#[derive(Debug, Clone)]
pub struct LocalFiles {
    base: PathBuf,
}

impl LocalFiles {
    /// Relative paths start at `base`.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into() }
    }

    /// The path that a fleet file means.
    pub fn path(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }

    fn read(path: &Path, inline: bool) -> std::io::Result<Result<Content, String>> {
        let file = std::fs::File::open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Ok(Err("is not a regular file".into()));
        }
        if meta.len() > BLOB_BYTES_MAX {
            return Ok(Err(format!("has {} bytes and may have at most {BLOB_BYTES_MAX}", meta.len())));
        }
        if inline && meta.len() <= INLINE_BYTES_MAX {
            let mut bytes = Vec::new();
            file.take(INLINE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > INLINE_BYTES_MAX {
                return Ok(Err("grew while it was read; try again".into()));
            }
            return Ok(Ok(Content::Inline(bytes)));
        }
        let mut hasher = blake3::Hasher::new();
        let mut counted = Counted { file, size: 0 };
        hasher.update_reader(&mut counted)?;
        let blob = BlobRef { hash: BlobHash::from_bytes(*hasher.finalize().as_bytes()), size: counted.size };
        Ok(Ok(Content::Blob(Upload { blob, source: Source::File(path.to_owned()) })))
    }
}

struct Counted {
    file: std::fs::File,
    size: u64,
}

impl std::io::Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.size += read as u64;
        Ok(read)
    }
}

impl Resolve for LocalFiles {
    fn file(&mut self, path: &str, inline: bool) -> Result<Content, ResolveError> {
        let path = self.path(path);
        let path = std::path::absolute(&path).unwrap_or(path);
        match Self::read(&path, inline) {
            Ok(Ok(content)) => Ok(content),
            Ok(Err(why)) => Err(ResolveError::new(format!("{} {why}", path.display()))),
            Err(error) => Err(ResolveError::new(format!("cannot read {}: {error}", path.display()))),
        }
    }

    fn closure(&mut self, _toplevel: Toplevel<'_>) -> Result<Closure, ResolveError> {
        Err(ResolveError::new("closures are published by `flt admin` on a machine with Nix"))
    }
}

impl FleetFile {
    /// Fills in what the file names, and checks every score.
    ///
    /// # Errors
    /// [`BadFile`] with everything that is wrong, each with line and column.
    pub fn resolve(&self, catalogue: &Catalogue, with: &mut dyn Resolve) -> Result<Vec<Resolved>, BadFile> {
        let mut problems = Vec::new();
        let mut resolved = Vec::new();
        for declared in &self.declared {
            let mut work = Work { text: &self.text, with: &mut *with, uploads: Vec::new(), inlined: 0 };
            let spec = match work.spec(&declared.kind, &declared.spec) {
                Ok(spec) => spec,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            let uploads = work.uploads;
            let sealed = secret::fill(&self.text, catalogue, declared, spec, with);
            match sealed.and_then(|(spec, secrets)| self.check(catalogue, declared, &spec, uploads, secrets)) {
                Ok(one) => resolved.push(one),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            return Ok(resolved);
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(BadFile { file: self.file.clone(), problems })
    }

    fn check(
        &self,
        catalogue: &Catalogue,
        declared: &super::Declared,
        spec: &Node,
        uploads: Vec<Upload>,
        secrets: Vec<SecretUse>,
    ) -> Result<Resolved, Problem> {
        let json = spec.to_json();
        if json.len() > body::PAYLOAD_BYTES_MAX {
            let most = body::PAYLOAD_BYTES_MAX;
            let what = format!("the spec of `{}` has {} bytes and may have {most}", declared.name, json.len());
            let keys = secrets.iter().map(|one| one.recipients).max();
            let hint = keys.map_or_else(
                || "name larger content with `file`, so that it travels beside the score".into(),
                secret::too_large,
            );
            return Err(Problem::at(&self.text, declared.at, what).hint(hint));
        }
        let wrong = |invalid: scores::Invalid| spec_problem(&self.text, spec, &invalid.path, &invalid.why);
        let subject = catalogue.validate(&declared.kind, &json).map_err(wrong)?;
        let artifacts = catalogue.artifacts(&declared.kind, &json).map_err(wrong)?;
        if artifacts.len() > body::ARTIFACTS_MAX {
            let most = body::ARTIFACTS_MAX;
            let what = format!("`{}` names {} blobs and may name {most}", declared.name, artifacts.len());
            return Err(Problem::at(&self.text, declared.at, what));
        }
        let payload = Payload::from_json(json).map_err(|e| Problem::at(&self.text, declared.at, e.to_string()))?;
        Ok(Resolved {
            name: declared.name.clone(),
            on: declared.on.clone(),
            kind: declared.kind.clone(),
            subject,
            policy: declared.policy.clone(),
            payload,
            artifacts,
            note: declared.note.clone(),
            uploads,
            secrets,
        })
    }
}

/// One spec on its way.
struct Work<'a> {
    text: &'a str,
    with: &'a mut dyn Resolve,
    uploads: Vec<Upload>,
    inlined: u64,
}

impl Work<'_> {
    fn spec(&mut self, kind: &Kind, spec: &Node) -> Result<Node, Problem> {
        if kind.as_str() == "nixos/1" { self.system(spec) } else { self.files(spec) }
    }

    /// Copies a value; each `file` in a table becomes content.
    fn files(&mut self, node: &Node) -> Result<Node, Problem> {
        let value = match &node.value {
            Value::List(items) => Value::List(items.iter().map(|item| self.files(item)).collect::<Result<_, _>>()?),
            Value::Table(fields) => {
                let mut copies = Vec::with_capacity(fields.len());
                for field in fields {
                    match &field.node.value {
                        Value::Text(path) if field.key == "file" => copies.push(self.file(node, field, path)?),
                        _ => {
                            let copy = self.files(&field.node)?;
                            copies.push(Field { key: field.key.clone(), at: field.at, node: copy });
                        }
                    }
                }
                Value::Table(copies)
            }
            other => other.clone(),
        };
        Ok(Node::new(node.at, value))
    }

    fn file(&mut self, table: &Node, field: &Field, path: &str) -> Result<Field, Problem> {
        if let Some(other) = ["content", "base64", "blob", "secret"].into_iter().find_map(|key| table.field(key)) {
            let what = format!("`file` and `{}` cannot stand together", other.key);
            return Err(Problem::at(self.text, field.at, what));
        }
        let inline = self.inlined + INLINE_BYTES_MAX <= INLINE_TOTAL_BYTES_MAX;
        let content = self.with.file(path, inline).map_err(|error| self.problem(field.node.at, error))?;
        let at = field.node.at;
        let (key, value) = match content {
            Content::Inline(bytes) => {
                self.inlined += bytes.len() as u64;
                match String::from_utf8(bytes) {
                    Ok(text) if !text.contains('\0') => ("content", Value::Text(text)),
                    Ok(text) => ("base64", base64(text.as_bytes())),
                    Err(error) => ("base64", base64(error.as_bytes())),
                }
            }
            Content::Blob(upload) => {
                let value = blob(at, upload.blob);
                self.uploads.push(upload);
                ("blob", value)
            }
        };
        Ok(Field { key: key.into(), at: field.at, node: Node::new(at, value) })
    }

    /// Copies the spec of a system and publishes its closure, unless it names a manifest already.
    fn system(&mut self, spec: &Node) -> Result<Node, Problem> {
        let Value::Table(fields) = &spec.value else { return Ok(spec.clone()) };
        if spec.field("manifest").is_some() {
            return Ok(spec.clone());
        }
        let (place, toplevel) = match (spec.field("toplevel"), spec.field("toplevel-link")) {
            (Some(_), Some(link)) => {
                let what = "`toplevel` and `toplevel-link` cannot stand together";
                return Err(Problem::at(self.text, link.at, what));
            }
            (Some(field), None) => (field, text(field).map(Toplevel::Path)),
            (None, Some(field)) => (field, text(field).map(Toplevel::Link)),
            (None, None) => {
                let problem = Problem::at(self.text, spec.at, "the spec names no system");
                let hint = r#"add `toplevel = "/nix/store/…"` or `toplevel-link = "./result"`"#;
                return Err(problem.hint(hint));
            }
        };
        let Some(toplevel) = toplevel else {
            return Err(Problem::at(self.text, place.node.at, format!("`{}` should be a text", place.key)));
        };
        let closure = self.with.closure(toplevel).map_err(|error| self.problem(place.node.at, error))?;
        self.uploads.extend(closure.uploads);
        let kept = fields.iter().filter(|field| !matches!(field.key.as_str(), "toplevel" | "toplevel-link"));
        let mut copies: Vec<Field> = kept.cloned().collect();
        let add = |key: &str, value| Field { key: key.into(), at: place.at, node: Node::new(place.node.at, value) };
        copies.push(add("toplevel", Value::Text(closure.toplevel)));
        copies.push(add("manifest", blob(place.node.at, closure.manifest)));
        Ok(Node::new(spec.at, Value::Table(copies)))
    }

    fn problem(&self, at: usize, error: ResolveError) -> Problem {
        let problem = Problem::at(self.text, at, error.what);
        match error.hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

fn text(field: &Field) -> Option<&str> {
    match &field.node.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn base64(bytes: &[u8]) -> Value {
    Value::Text(data_encoding::BASE64.encode(bytes))
}

fn blob(at: usize, blob: BlobRef) -> Value {
    let field = |key: &str, value| Field { key: key.into(), at, node: Node::new(at, value) };
    Value::Table(vec![
        field("hash", Value::Text(blob.hash.to_string())),
        field("size", Value::Number(blob.size.to_string())),
    ])
}
