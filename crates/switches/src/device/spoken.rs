//! Whether a device is read by NETCONF: as declared, and else where it can be opened.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Netconf;
use crate::netconf::{Client, NetconfError};
use crate::parse::System;
use crate::parse::netconf::{INTERFACES, LAGS};
use crate::session::{Session, SessionError};

/// How a device is read.
pub(super) enum Spoken {
    /// By NETCONF, beside the command line.
    Netconf(Box<Client>),
    /// By the command line alone, and why.
    Lines(String),
}

impl Spoken {
    /// The client, if there is one.
    pub(super) fn client(&mut self) -> Option<&mut Client> {
        match self {
            Self::Netconf(client) => Some(client),
            Self::Lines(_) => None,
        }
    }
}

/// What was tried and did not work: it is not tried again for a while, where the declaration leaves it open.
#[derive(Debug, Default)]
pub(super) struct Shunned(Mutex<Option<(Instant, String)>>);

impl Shunned {
    /// Opens NETCONF where that is declared and possible.
    pub(super) async fn open(
        &self,
        declared: Netconf,
        system: System,
        session: &Session,
    ) -> Result<Spoken, SessionError> {
        match (declared, system) {
            (Netconf::Off, _) => return Ok(Spoken::Lines("its declaration says so".into())),
            (Netconf::On, System::FastIron) => {
                return Err(NetconfError::Absent("FastIron has none, and `netconf` is declared as on".into()).into());
            }
            (Netconf::Auto, System::FastIron) => return Ok(Spoken::Lines("FastIron has no NETCONF".into())),
            (Netconf::Auto | Netconf::On, System::NetworkOs) => {}
        }
        if let Some(why) = self.why().filter(|_| declared == Netconf::Auto) {
            return Ok(Spoken::Lines(why));
        }
        let opened = session.netconf().await.and_then(|client| match missing(&client) {
            None => Ok(client),
            Some(module) => Err(NetconfError::Absent(format!("the device does not know `{module}`"))),
        });
        match opened {
            Ok(client) => Ok(Spoken::Netconf(Box::new(client))),
            Err(error) if declared == Netconf::On => Err(error.into()),
            Err(error) => {
                let why = error.to_string();
                tracing::info!(why, "reading by the command line alone");
                let mut shunned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                *shunned = Some((Instant::now(), why.clone()));
                Ok(Spoken::Lines(why))
            }
        }
    }

    fn why(&self) -> Option<String> {
        let shunned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shunned.as_ref().filter(|(since, _)| since.elapsed() < SHUN).map(|(_, why)| why.clone())
    }
}

/// A module that reading needs and that it does not announce.
fn missing(client: &Client) -> Option<&'static str> {
    [INTERFACES, LAGS].into_iter().find(|module| !client.hello().knows(module))
}

/// How long NETCONF is not tried again after it could not be opened.
const SHUN: Duration = Duration::from_secs(600);
