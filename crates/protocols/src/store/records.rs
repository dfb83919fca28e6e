//! Records on disk: one's own, and copies of others'.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{ReadableTable as _, TableDefinition};
use serde::Serialize;

use super::{Store, StoreError, corrupted};
use crate::ids::{Digest, NodeId};
use crate::key::SecretKey;
use crate::record::{
    BadRecord, CLAIMED_VERSION_MAX, KeyVersion, RECORDS_PER_WRITER_MAX, RECORDS_WITH_EMPTY_MAX, SignedRecord,
    VerifiedRecord, records_digest,
};

const RECORDS: TableDefinition<'_, (&[u8; 32], &str), &[u8]> = TableDefinition::new("records");

/// Records by writer and key: for each the highest version seen.
#[derive(Debug)]
pub struct Records {
    store: Arc<Store>,
    index: Mutex<Indexes>,
}

/// What the store holds, by writer; digests are asked for at every heartbeat.
#[derive(Debug)]
struct Indexes {
    /// As of which opening of the database.
    opened: u64,
    writers: HashMap<NodeId, Index>,
    /// Writes since the last durable one.
    undurable: u32,
}

/// What one writer has.
#[derive(Debug, Clone, Default)]
struct Index {
    versions: BTreeMap<String, Kept>,
    digest: Option<Digest>,
}

/// One record that is kept.
#[derive(Debug, Clone, Copy)]
struct Kept {
    version: u64,
    empty: bool,
}

impl Index {
    /// Whether there is room for a record of this key.
    fn has_room(&self, key: &str, empty: bool) -> bool {
        let was = self.versions.get(key);
        let full = self.versions.values().filter(|k| !k.empty).count();
        let total_fits = was.is_some() || self.versions.len() < RECORDS_WITH_EMPTY_MAX;
        total_fits && (empty || was.is_some_and(|k| !k.empty) || full < RECORDS_PER_WRITER_MAX)
    }

    fn insert(&mut self, record: &SignedRecord) {
        let kept = Kept { version: record.version, empty: record.value.is_empty() };
        self.versions.insert(record.key.clone(), kept);
        self.digest = None;
    }
}

/// How many writes in a row may wait for a durable one: until then the database keeps every page they freed.
const UNDURABLE_MAX: u32 = 256;

impl Records {
    /// The records in a store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(store: Arc<Store>) -> Result<Self, StoreError> {
        let index = Mutex::new(load(&store)?);
        Ok(Self { store, index })
    }

    /// The index, read again if the database was opened anew: what was not durable may be gone.
    fn index(&self) -> MutexGuard<'_, Indexes> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if index.opened != self.store.opened()
            && let Ok(fresh) = load(&self.store)
        {
            *index = fresh;
        }
        index
    }

    /// Keeps those that are newer than what is here, and says which. A writer's records beyond
    /// [`RECORDS_PER_WRITER_MAX`] are not kept.
    ///
    /// # Errors
    /// [`StoreError`]; then none was kept.
    pub fn put(&self, records: Vec<VerifiedRecord>, durable: bool) -> Result<Vec<VerifiedRecord>, StoreError> {
        let mut all = self.index();
        // What the writers' indexes will be, so that the bounds hold within one batch too.
        let mut next: HashMap<NodeId, Index> = HashMap::new();
        let mut fresh: Vec<VerifiedRecord> = Vec::new();
        for record in records {
            let r = record.get();
            let index = next.entry(r.writer).or_insert_with(|| all.writers.get(&r.writer).cloned().unwrap_or_default());
            let newer = index.versions.get(&r.key).is_none_or(|kept| r.version > kept.version);
            if newer && index.has_room(&r.key, r.value.is_empty()) {
                index.insert(r);
                fresh.push(record);
            }
        }
        if fresh.is_empty() {
            return Ok(fresh);
        }
        let durable = durable || all.undurable >= UNDURABLE_MAX;
        self.store.write(durable, |write| {
            let mut table = write.open_table(RECORDS)?;
            for record in &fresh {
                let r = record.get();
                let bytes = postcard::to_stdvec(r).map_err(corrupted)?;
                table.insert((r.writer.as_bytes(), r.key.as_str()), bytes.as_slice())?;
            }
            Ok(())
        })?;
        all.undurable = if durable { 0 } else { all.undurable.saturating_add(1) };
        all.writers.extend(next);
        Ok(fresh)
    }

    /// A writer's records whose key begins with `prefix`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn of(&self, writer: NodeId, prefix: &str) -> Result<Vec<SignedRecord>, StoreError> {
        self.store.read(|read| {
            let table = match read.open_table(RECORDS) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                other => other?,
            };
            let mut found = Vec::new();
            for row in table.range((writer.as_bytes(), prefix)..)? {
                let (key, value) = row?;
                let (owner, name) = key.value();
                if owner != writer.as_bytes() || !name.starts_with(prefix) {
                    break;
                }
                found.push(postcard::from_bytes(value.value()).map_err(corrupted)?);
            }
            Ok(found)
        })
    }

    /// A writer's keys and versions.
    pub fn versions(&self, writer: NodeId) -> Vec<KeyVersion> {
        let all = self.index();
        let index = all.writers.get(&writer).map(|i| &i.versions);
        let pair = |(key, kept): (&String, &Kept)| KeyVersion { key: key.clone(), version: kept.version };
        index.into_iter().flatten().map(pair).collect()
    }

    /// The digest of a writer's records.
    pub fn digest(&self, writer: NodeId) -> Digest {
        let mut all = self.index();
        match all.writers.get_mut(&writer) {
            Some(Index { versions, digest }) => {
                *digest.get_or_insert_with(|| records_digest(versions.iter().map(|(k, v)| (k.as_str(), v.version))))
            }
            None => records_digest(std::iter::empty()),
        }
    }

    /// Forgets a writer's records whose keys are not in `keep`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn retain(&self, writer: NodeId, keep: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let mut all = self.index();
        let Some(index) = all.writers.get_mut(&writer) else { return Ok(()) };
        let gone: Vec<String> = index.versions.keys().filter(|key| !keep(key)).cloned().collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.store.write(true, |write| {
            let mut table = write.open_table(RECORDS)?;
            for key in &gone {
                table.remove((writer.as_bytes(), key.as_str()))?;
            }
            Ok(())
        })?;
        for key in &gone {
            index.versions.remove(key);
        }
        index.digest = None;
        Ok(())
    }
}

fn load(store: &Store) -> Result<Indexes, StoreError> {
    let writers = store.read(|read| {
        let mut writers: HashMap<NodeId, Index> = HashMap::new();
        let table = match read.open_table(RECORDS) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(writers),
            other => other?,
        };
        for row in table.iter()? {
            let (key, value) = row?;
            let record: SignedRecord = postcard::from_bytes(value.value()).map_err(corrupted)?;
            writers.entry(NodeId::from_bytes(*key.value().0)).or_default().insert(&record);
        }
        Ok(writers)
    })?;
    Ok(Indexes { opened: store.opened(), writers, undurable: 0 })
}

/// A node's own records: what it says of itself.
#[derive(Debug)]
pub struct RecordBook {
    key: SecretKey,
    records: Records,
}

/// Why an own record was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteRecordError {
    /// Out of bounds.
    #[error(transparent)]
    Bad(#[from] BadRecord),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RecordBook {
    /// The records that `key` writes in a store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(store: Arc<Store>, key: SecretKey) -> Result<Self, StoreError> {
        Ok(Self { key, records: Records::open(store)? })
    }

    /// Writes a record if its value changed: nothing if it did not.
    ///
    /// # Errors
    /// [`WriteRecordError`].
    pub fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<Option<SignedRecord>, WriteRecordError> {
        let old = self.get(name)?;
        let version = old.as_ref().map_or(1, |r| r.version.saturating_add(1));
        let record = SignedRecord::sign(&self.key, name, version, value)?;
        if old.is_some_and(|old| old.value == record.value) {
            return Ok(None);
        }
        self.store(record)
    }

    /// Takes a record back, if there is one: it stays as an empty one, so that copies elsewhere are emptied too.
    ///
    /// # Errors
    /// [`WriteRecordError`].
    pub fn take_back(&self, name: &str) -> Result<Option<SignedRecord>, WriteRecordError> {
        match self.get(name)? {
            Some(old) if !old.value.is_empty() => self.store(SignedRecord::sign_bytes(
                &self.key,
                name,
                old.version.saturating_add(1),
                bytes::Bytes::new(),
            )?),
            _ => Ok(None),
        }
    }

    /// Makes sure that the next versions are above those that a reader has. A node that lost its disk but not its key
    /// would otherwise speak in versions that nobody believes any more.
    ///
    /// # Errors
    /// [`WriteRecordError`].
    pub fn outdo(&self, theirs: &[KeyVersion]) -> Result<(), WriteRecordError> {
        let mut room = (RECORDS_WITH_EMPTY_MAX / 2).saturating_sub(self.records.versions(self.key.id()).len());
        for their in theirs.iter().take(RECORDS_WITH_EMPTY_MAX) {
            let ours = self.get(&their.key)?;
            // The reader's word is not signed: it must neither use up the versions nor the room for records.
            if their.version > CLAIMED_VERSION_MAX || (ours.is_none() && room == 0) {
                continue;
            }
            if ours.as_ref().is_none_or(|r| r.version < their.version) {
                room = room.saturating_sub(usize::from(ours.is_none()));
                let value = ours.map(|r| r.value).unwrap_or_default();
                match SignedRecord::sign_bytes(&self.key, &their.key, their.version.saturating_add(1), value) {
                    Ok(record) => drop(self.store(record)?),
                    // A name that no record has.
                    Err(_) => continue,
                }
            }
        }
        Ok(())
    }

    fn store(&self, record: SignedRecord) -> Result<Option<SignedRecord>, WriteRecordError> {
        let name = record.key.clone();
        match self.records.put(vec![record.verify()?], true)?.into_iter().next() {
            Some(fresh) => Ok(Some(fresh.into_signed())),
            None => Err(BadRecord::Bounds { key: name, why: "a node has at most 128 records" }.into()),
        }
    }

    fn get(&self, name: &str) -> Result<Option<SignedRecord>, StoreError> {
        Ok(self.records.of(self.key.id(), name)?.into_iter().find(|r| r.key == name))
    }

    /// All of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn all(&self) -> Result<Vec<SignedRecord>, StoreError> {
        self.records.of(self.key.id(), "")
    }

    /// Those that a reader with `theirs` is missing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn missing(&self, theirs: &[KeyVersion]) -> Result<Vec<SignedRecord>, StoreError> {
        let has = |r: &SignedRecord| theirs.iter().any(|t| t.key == r.key && t.version >= r.version);
        Ok(self.all()?.into_iter().filter(|r| !has(r)).collect())
    }

    /// The digest of all of them.
    pub fn digest(&self) -> Digest {
        self.records.digest(self.key.id())
    }
}
