//! Logging in: by key, by password, by what the device asks for. A wrong password is sent once.

use std::path::Path;
use std::sync::Arc;

use protocols::SecretValue;
use russh::MethodKind;
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{PrivateKeyWithHashAlg, load_secret_key};
use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

use super::host_key::Witness;
use crate::Declaration;
use crate::session::SessionError;

pub(super) async fn login(handle: &mut Handle<Witness>, declaration: &Declaration) -> Result<(), SessionError> {
    let user = declaration.user.as_str();
    let refused = |why: String| SessionError::Login { user: user.into(), why };
    let failed = |source: russh::Error| match source {
        russh::Error::Disconnect | russh::Error::HUP | russh::Error::SendError | russh::Error::RecvError => {
            SessionError::Closed { doing: format!("log in as {user:?}") }
        }
        source => SessionError::Ssh { doing: format!("log in as {user:?}"), source: Box::new(source) },
    };
    let mut remaining = None;
    if let Some(path) = &declaration.key_file {
        let file = path.clone();
        let read = tokio::task::spawn_blocking(move || load_secret_key(&file, None)).await;
        let shown = path.display().to_string();
        let key = match read {
            Ok(key) => key.map_err(|source| SessionError::PrivateKey { path: shown, source: Box::new(source) })?,
            Err(_) => return Err(refused("the private key could not be read".into())),
        };
        let hash = handle.best_supported_rsa_hash().await.map_err(failed)?.flatten();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        match handle.authenticate_publickey(user, key).await.map_err(failed)? {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure { remaining_methods, .. } => remaining = Some(remaining_methods),
        }
    }
    let listed = |methods: &russh::MethodSet| methods.iter().map(String::from).collect::<Vec<String>>().join(", ");
    let Some(path) = &declaration.password_file else {
        let methods = remaining.map(|methods| listed(&methods)).unwrap_or_default();
        return Err(refused(format!("it does not accept the key; it would accept: {methods}")));
    };
    let password = read_secret("the password", path).await?;
    let text = text_of(&password, "the password", path)?;
    if remaining.as_ref().is_none_or(|methods| methods.contains(&MethodKind::Password)) {
        match handle.authenticate_password(user, text.as_str()).await.map_err(failed)? {
            AuthResult::Success => return Ok(()),
            // It took the method and not the password: a second try would only count as one more.
            AuthResult::Failure { remaining_methods, .. } if remaining_methods.contains(&MethodKind::Password) => {
                return Err(refused("it does not accept the password".into()));
            }
            AuthResult::Failure { remaining_methods, .. } => remaining = Some(remaining_methods),
        }
    }
    if !remaining.as_ref().is_some_and(|methods| methods.contains(&MethodKind::KeyboardInteractive)) {
        let methods = remaining.map(|methods| listed(&methods)).unwrap_or_default();
        return Err(refused(format!("it does not accept the password; it would accept: {methods}")));
    }
    let mut said = handle.authenticate_keyboard_interactive_start(user, None).await.map_err(failed)?;
    let mut given = false;
    for _ in 0..ROUNDS_MAX {
        let answers = match said {
            KeyboardInteractiveAuthResponse::Success => return Ok(()),
            KeyboardInteractiveAuthResponse::Failure { .. } => {
                return Err(refused("it does not accept the answers to its questions".into()));
            }
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                let mut answers = Vec::new();
                for prompt in prompts {
                    if prompt.echo {
                        answers.push(user.to_owned());
                    } else if given {
                        return Err(refused(format!("it asks for more than a password: {:?}", prompt.prompt)));
                    } else {
                        given = true;
                        answers.push(text.as_str().to_owned());
                    }
                }
                answers
            }
        };
        said = handle.authenticate_keyboard_interactive_respond(answers).await.map_err(failed)?;
    }
    Err(refused("it asks too many questions".into()))
}

/// Reads a secret from a file, without the end of its line.
pub(crate) async fn read_secret(what: &'static str, path: &Path) -> Result<SecretValue, SessionError> {
    let failed = |source| SessionError::Credential { what, path: path.display().to_string(), source };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(CREDENTIAL_BYTES_MAX));
    let read = file.take(CREDENTIAL_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    if read > CREDENTIAL_BYTES_MAX {
        return Err(failed(std::io::Error::other(format!("it has more than {CREDENTIAL_BYTES_MAX} bytes"))));
    }
    while bytes.last().is_some_and(|byte| b"\r\n".contains(byte)) {
        bytes.pop();
    }
    if bytes.is_empty() || bytes.iter().any(|byte| byte.is_ascii_control()) {
        return Err(failed(std::io::Error::other("it does not hold one line of text")));
    }
    Ok(SecretValue::new(bytes))
}

fn text_of(secret: &SecretValue, what: &'static str, path: &Path) -> Result<Zeroizing<String>, SessionError> {
    let text = std::str::from_utf8(secret.expose()).map_err(|_| SessionError::Credential {
        what,
        path: path.display().to_string(),
        source: std::io::Error::other("it is not UTF-8"),
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// How often a device may ask while logging in.
const ROUNDS_MAX: usize = 8;
/// The longest password, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 1024;
