//! The capability to open secrets that were sealed to a node.

use std::sync::Arc;

use protocols::secret::{OpenTextError, Place, SealedText};
use protocols::{SecretKey, SecretValue};

use crate::{DeviceError, Topology};

/// A topology that holds the key which its node's secrets are sealed to. A score with a secret in it asks for this.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot open secrets",
    label = "needs the capability `OpenSecrets`, because the score may hold secrets"
)]
pub trait OpenSecrets: Topology {
    /// Opens a secret at the place that it was sealed for. The bytes go nowhere but where they were declared to go.
    fn open(
        &self,
        secret: &SealedText,
        place: Place<'_>,
    ) -> impl Future<Output = Result<SecretValue, DeviceError>> + Send;
}

/// Opens a secret with the first of a node's keys that it is sealed to.
///
/// # Errors
/// When there is no key, or none of them opens it here.
pub async fn open_with(
    keys: &Arc<[SecretKey]>,
    secret: &SealedText,
    place: Place<'_>,
) -> Result<SecretValue, DeviceError> {
    let doing = format!("open the secret `{}`", secret.name());
    if keys.is_empty() {
        return Err(DeviceError::permanent(format!("{doing}: this agent runs without a key for secrets")));
    }
    let (keys, sealed, kind, subject) = (Arc::clone(keys), secret.clone(), place.kind.clone(), place.subject.clone());
    // A file with thousands of recipients takes a moment.
    let open = move || {
        let mut opened = Err(OpenTextError::NotARecipient(sealed.name().clone()));
        for key in keys.iter() {
            opened = sealed.open(Place { kind: &kind, subject: &subject }, key);
            if !matches!(opened, Err(OpenTextError::NotARecipient(_))) {
                break;
            }
        }
        opened
    };
    match tokio::task::spawn_blocking(open).await {
        Ok(opened) => opened.map_err(cannot_open),
        Err(error) => Err(DeviceError::transient(doing).because(error)),
    }
}

/// What is said of a node that cannot open a secret: trying again does not help, a new publication does.
fn cannot_open(error: OpenTextError) -> DeviceError {
    let what = match &error {
        OpenTextError::NotARecipient(name) => format!(
            "open the secret `{name}`: it is not sealed to this node's key; an admin seals it again: \
             flt admin secret reseal {name}"
        ),
        OpenTextError::OtherPlace(name) => format!(
            "open the secret `{name}`: it was sealed for another place; it must come from a fleet file, not from another \
             declaration"
        ),
        OpenTextError::Altered(name) => format!("open the secret `{name}`: it was altered"),
    };
    DeviceError::permanent(what)
}
