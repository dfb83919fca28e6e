//! Who receives although it is no candidate any more: a connection outlives what allowed it.

use scores::DeviceError;

use super::super::config::ROLE;
use super::super::sql::{QUICK, Session, literal};
use super::Instance;

impl Instance {
    /// Ends the connections of standbys whose certificate is no candidate's. They cannot come back: `pg_ident.conf` does
    /// not know them.
    pub(super) async fn part_from_strangers(&self, session: &Session) -> Result<(), DeviceError> {
        let setup = self.setup();
        let known: Vec<String> = setup.others().keys().map(|name| literal(&format!("CN={name}"))).collect();
        let known = if known.is_empty() { "NULL".to_owned() } else { known.join(", ") };
        let sql = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) \
             WHERE usename = '{ROLE}' AND NOT EXISTS (SELECT FROM unnest(string_to_array(client_dn, '/')) AS part \
             WHERE part IN ({known}))"
        );
        let ended = session.value(&sql, QUICK).await?;
        if let Some(count) = ended.filter(|count| count != "0") {
            tracing::warn!(cluster = %setup.score.name, count, "ended connections of standbys that are no candidates");
        }
        Ok(())
    }
}
