//! The capability to open secrets that were sealed to a node.

use protocols::SecretValue;
use protocols::secret::{OpenTextError, Place, SealedText};

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

/// What is said of a node that cannot open a secret: trying again does not help, a new publication does.
pub fn cannot_open(error: OpenTextError) -> DeviceError {
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
