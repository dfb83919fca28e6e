//! Records on disk: one's own, and copies of others'.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{ReadableTable as _, TableDefinition};
use serde::Serialize;

use super::{Store, StoreError, corrupted};
use crate::ids::{Digest, NodeId};
use crate::key::SecretKey;
use crate::record::{BadRecord, KeyVersion, RECORDS_PER_WRITER_MAX, SignedRecord, VerifiedRecord, records_digest};

const RECORDS: TableDefinition<'_, (&[u8; 32], &str), &[u8]> = TableDefinition::new("records");

/// Records by writer and key: for each the highest version seen.
#[derive(Debug)]
pub struct Records {
    store: Arc<Store>,
    /// What is on disk, by writer; digests are asked for at every heartbeat.
    versions: Mutex<HashMap<NodeId, Index>>,
}

#[derive(Debug, Clone, Default)]
struct Index {
    versions: BTreeMap<String, u64>,
    digest: Option<Digest>,
}

impl Records {
    /// The records in a store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(store: Arc<Store>) -> Result<Self, StoreError> {
        let mut versions: HashMap<NodeId, Index> = HashMap::new();
        store.read(|read| {
            let table = match read.open_table(RECORDS) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
                other => other?,
            };
            for row in table.iter()? {
                let (key, value) = row?;
                let (writer, name) = key.value();
                let record: SignedRecord = postcard::from_bytes(value.value()).map_err(corrupted)?;
                let index = versions.entry(NodeId::from_bytes(*writer)).or_default();
                index.versions.insert(name.to_owned(), record.version);
            }
            Ok(())
        })?;
        Ok(Self { store, versions: Mutex::new(versions) })
    }

    /// Keeps those that are newer than what is here, and says which. A writer's records beyond
    /// [`RECORDS_PER_WRITER_MAX`] are not kept.
    ///
    /// # Errors
    /// [`StoreError`]; then none was kept.
    pub fn put(&self, records: Vec<VerifiedRecord>, durable: bool) -> Result<Vec<VerifiedRecord>, StoreError> {
        let mut all = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh: Vec<VerifiedRecord> = Vec::new();
        for record in records {
            let r = record.get();
            let pending = fresh.iter().filter(|f| f.get().writer == r.writer && f.get().key == r.key);
            let newest_pending = pending.map(|f| f.get().version).max();
            let index = all.get(&r.writer);
            let kept = index.and_then(|i| i.versions.get(&r.key).copied());
            let room = kept.is_some() || index.map_or(0, |i| i.versions.len()) < RECORDS_PER_WRITER_MAX;
            if room && kept.max(newest_pending).is_none_or(|have| r.version > have) {
                fresh.push(record);
            }
        }
        if fresh.is_empty() {
            return Ok(fresh);
        }
        self.store.write(durable, |write| {
            let mut table = write.open_table(RECORDS)?;
            for record in &fresh {
                let r = record.get();
                let bytes = postcard::to_stdvec(r).map_err(corrupted)?;
                table.insert((r.writer.as_bytes(), r.key.as_str()), bytes.as_slice())?;
            }
            Ok(())
        })?;
        for record in &fresh {
            let r = record.get();
            let index = all.entry(r.writer).or_default();
            index.versions.insert(r.key.clone(), r.version);
            index.digest = None;
        }
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
        let all = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let index = all.get(&writer).map(|i| &i.versions);
        let pair = |(key, version): (&String, &u64)| KeyVersion { key: key.clone(), version: *version };
        index.into_iter().flatten().map(pair).collect()
    }

    /// The digest of a writer's records.
    pub fn digest(&self, writer: NodeId) -> Digest {
        let mut all = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&writer) {
            Some(index) => {
                let versions = &index.versions;
                *index.digest.get_or_insert_with(|| records_digest(versions.iter().map(|(k, v)| (k.as_str(), *v))))
            }
            None => records_digest(std::iter::empty()),
        }
    }

    /// Forgets a writer's records whose keys are not in `keep`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn retain(&self, writer: NodeId, keep: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let mut all = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = all.get_mut(&writer) else { return Ok(()) };
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
        let version = old.as_ref().map_or(1, |r| r.version + 1);
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
            Some(old) if !old.value.is_empty() => {
                self.store(SignedRecord::sign_bytes(&self.key, name, old.version + 1, bytes::Bytes::new())?)
            }
            _ => Ok(None),
        }
    }

    /// Makes sure that the next versions are above those that a reader has. A node that lost its disk but not its key
    /// would otherwise speak in versions that nobody believes any more.
    ///
    /// # Errors
    /// [`WriteRecordError`].
    pub fn outdo(&self, theirs: &[KeyVersion]) -> Result<(), WriteRecordError> {
        for their in theirs.iter().take(RECORDS_PER_WRITER_MAX) {
            let ours = self.get(&their.key)?;
            if ours.as_ref().is_none_or(|r| r.version < their.version) {
                let value = ours.map(|r| r.value).unwrap_or_default();
                let version = their.version.saturating_add(1);
                self.store(SignedRecord::sign_bytes(&self.key, &their.key, version, value)?)?;
            }
        }
        Ok(())
    }

    fn store(&self, record: SignedRecord) -> Result<Option<SignedRecord>, WriteRecordError> {
        let fresh = self.records.put(vec![record.verify()?], true)?;
        Ok(fresh.into_iter().next().map(VerifiedRecord::into_signed))
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
