//! Small values of a role's own, by name: what it must remember across restarts.

use std::sync::Arc;

use redb::TableDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Store, StoreError, corrupted};

const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");

/// Values as JSON, by name. Every write is on the disk when it returns.
#[derive(Debug, Clone)]
pub struct Values(Arc<Store>);

impl Values {
    /// The values in a store.
    pub const fn new(store: Arc<Store>) -> Self {
        Self(store)
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`StoreError`], also if it is not of this type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        self.0.read(|read| {
            let table = match read.open_table(VALUES) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                other => other?,
            };
            let value = table.get(name)?;
            value.map(|v| serde_json::from_slice(v.value()).map_err(corrupted)).transpose()
        })
    }

    /// Writes one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StoreError> {
        self.0.write(true, |write| {
            let json = serde_json::to_vec(value).map_err(corrupted)?;
            write.open_table(VALUES)?.insert(name, json.as_slice())?;
            Ok(())
        })
    }

    /// Removes one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.0.write(true, |write| {
            write.open_table(VALUES)?.remove(name)?;
            Ok(())
        })
    }

    /// All whose name begins with `prefix`.
    ///
    /// # Errors
    /// [`StoreError`], also if one is not of this type.
    pub fn with_prefix<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>, StoreError> {
        self.0.read(|read| {
            let table = match read.open_table(VALUES) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                other => other?,
            };
            let mut found = Vec::new();
            for row in table.range(prefix..)? {
                let (name, value) = row?;
                if !name.value().starts_with(prefix) {
                    break;
                }
                found.push((name.value().to_owned(), serde_json::from_slice(value.value()).map_err(corrupted)?));
            }
            Ok(found)
        })
    }
}
