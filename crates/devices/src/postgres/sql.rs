//! Sessions with the local PostgreSQL, over its socket, as the superuser that the agent's account is mapped to.
//!
//! `tokio-postgres` speaks the protocol in this process: a health check each second would otherwise start a program each
//! second, and text for people would have to be read. Other nodes are only spoken to by PostgreSQL's own programs, which
//! have the TLS for it.

use std::path::Path;
use std::time::Duration;

use scores::DeviceError;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// A session. Dropping it ends it.
pub(super) struct Session {
    client: Client,
    driver: JoinHandle<()>,
}

/// One row of text.
pub(super) type Row = Vec<Option<String>>;

impl Session {
    /// Connects.
    pub(super) async fn open(socket: &Path, port: u16) -> Result<Self, DeviceError> {
        let mut config = Config::new();
        config.host_path(socket).port(port).user("postgres").dbname("postgres").application_name("flotilla");
        config.connect_timeout(CONNECT);
        let doing = "connect to PostgreSQL";
        let connected = tokio::time::timeout(CONNECT, config.connect(NoTls)).await;
        let (client, connection) = connected
            .map_err(|_| DeviceError::transient(doing).because("it did not answer"))?
            .map_err(|error| DeviceError::transient(doing).because(error))?;
        let driver = tokio::spawn(async move {
            // What goes wrong is told by the query that it hits.
            drop(connection.await);
        });
        Ok(Self { client, driver })
    }

    /// Runs statements, and gives the rows of all of them.
    pub(super) async fn rows(&self, sql: &str, within: Duration) -> Result<Vec<Row>, DeviceError> {
        let doing = || format!("ask PostgreSQL `{}`", sql.chars().take(SHOWN_CHARS).collect::<String>());
        let answer = tokio::time::timeout(within, self.client.simple_query(sql)).await;
        let messages = answer
            .map_err(|_| DeviceError::transient(doing()).because(format!("no answer within {within:?}")))?
            .map_err(|error| DeviceError::transient(doing()).because(error))?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// The one value of the one row; none if it is null or there is no row.
    pub(super) async fn value(&self, sql: &str, within: Duration) -> Result<Option<String>, DeviceError> {
        Ok(self.rows(sql, within).await?.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Text as a literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a question that waits for nothing may take.
pub(super) const QUICK: Duration = Duration::from_secs(5);
/// How much of a statement is shown, in characters.
const SHOWN_CHARS: usize = 60;
