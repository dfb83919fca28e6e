//! SSH to a device: connected, the host key known, logged in. Nothing secret is sent to a stranger.

mod algorithms;
pub(crate) mod host_key;
pub(crate) mod login;

use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Handle};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

pub(crate) use algorithms::check_legacy;
pub use algorithms::known_legacy;

use self::algorithms::Ladder;
use self::host_key::Witness;
use crate::session::SessionError;
use crate::{Declaration, HostKey, Patience};

/// A connection to a device that has let us in.
pub(crate) struct Connection {
    pub(crate) handle: Handle<Witness>,
    /// The names of what was agreed on: key exchange, host key, cipher, MAC.
    pub(crate) agreed: Vec<String>,
    /// The fingerprint of the host key.
    pub(crate) host_key: String,
}

/// Connects and logs in.
pub(crate) async fn connect(declaration: &Declaration, patience: Patience) -> Result<Connection, SessionError> {
    let (mut handle, agreed, host_key) = shake_hands(declaration, Some(&declaration.host_key), patience).await?;
    let late = |_| SessionError::Late { doing: "log in".into(), after: patience.login, last: String::new() };
    timeout_at(Instant::now() + patience.login, login::login(&mut handle, declaration)).await.map_err(late)??;
    Ok(Connection { handle, agreed, host_key })
}

/// Finds out the fingerprint of a device's host key and what it agrees on, without logging in or sending anything secret.
///
/// # Errors
/// [`SessionError`], without the host key being judged.
pub async fn look_at_key(declaration: &Declaration) -> Result<(String, Vec<String>), SessionError> {
    let patience = Patience::default();
    let (handle, agreed, host_key) = shake_hands(declaration, None, patience).await?;
    leave(&handle, patience).await;
    Ok((host_key, agreed))
}

/// Says goodbye, and does not wait for long.
pub(crate) async fn leave(handle: &Handle<Witness>, patience: Patience) {
    let bye = handle.disconnect(russh::Disconnect::ByApplication, "", "");
    let _gone = timeout_at(Instant::now() + patience.check, bye).await;
}

async fn shake_hands(
    declaration: &Declaration,
    known: Option<&HostKey>,
    patience: Patience,
) -> Result<(Handle<Witness>, Vec<String>, String), SessionError> {
    let address = declaration.address();
    let mut ladder = Ladder::new(&declaration.legacy);
    loop {
        let until = Instant::now() + patience.connect;
        let late =
            |doing: &str| SessionError::Late { doing: doing.into(), after: patience.connect, last: String::new() };
        let connecting = TcpStream::connect((declaration.host.as_str(), declaration.port));
        let stream = timeout_at(until, connecting).await.map_err(|_| late(&format!("connect to {address}")))?;
        let stream = stream.map_err(|source| SessionError::Unreachable { address: address.clone(), source })?;
        let _slower = stream.set_nodelay(true);
        let config = client::Config {
            preferred: ladder.preferred(),
            gex: ladder.groups(),
            keepalive_interval: Some(KEEPALIVE),
            keepalive_max: 3,
            nodelay: true,
            ..client::Config::default()
        };
        let (witness, told) = Witness::new(declaration.host.clone(), declaration.port, known.cloned());
        let shaken = timeout_at(until, client::connect_stream(Arc::new(config), stream, witness)).await;
        let shaken = shaken.map_err(|_| late(&format!("agree with {address} on keys")))?;
        match shaken {
            Ok(handle) => {
                let told = told.take();
                return Ok((handle, told.agreed, told.fingerprint));
            }
            Err(russh::Error::NoCommonAlgo { kind, theirs, .. }) => {
                // Each rung is one of what the device itself offers.
                ladder.climb(&kind, &theirs).map_err(|hint| SessionError::NoCommonAlgorithm {
                    address: address.clone(),
                    kind: algorithms::purpose(&kind),
                    theirs,
                    hint,
                })?;
            }
            Err(russh::Error::UnknownKey) => {
                return Err(told.take().objection.unwrap_or_else(|| SessionError::HostKey {
                    address,
                    found: "of an unknown form".into(),
                    expected: "it was refused".into(),
                }));
            }
            Err(source) => {
                let doing = format!("agree with {address} on keys");
                return Err(SessionError::Ssh { doing, source: Box::new(source) });
            }
        }
    }
}

/// How long a connection may be silent before it is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);
