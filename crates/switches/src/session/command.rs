//! What is typed at a device, and what of it may be told.

use std::fmt;

use protocols::SecretValue;
use zeroize::Zeroizing;

/// A command line.
#[derive(Clone)]
pub struct Command {
    text: Zeroizing<String>,
    shown: String,
    secrets: Vec<SecretValue>,
    enters: bool,
}

impl Command {
    /// A line without secrets.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { shown: text.clone(), text: Zeroizing::new(text), secrets: Vec::new(), enters: false }
    }

    /// A line that leads into a mode of its own, such as `vlan 10`.
    pub fn enter(text: impl Into<String>) -> Self {
        Self { enters: true, ..Self::new(text) }
    }

    /// A line in which each `{}` of the form stands for a secret.
    pub fn secret(form: &str, secrets: &[&SecretValue]) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(form.len() + 64 * secrets.len()));
        let mut rest = secrets.iter();
        for (at, part) in form.split("{}").enumerate() {
            if at > 0 {
                let value = rest.next().map(|secret| String::from_utf8_lossy(secret.expose()).into_owned());
                let value = Zeroizing::new(value.unwrap_or_default());
                text.push_str(&value);
            }
            text.push_str(part);
        }
        let secrets = secrets.iter().map(|secret| (*secret).clone()).collect();
        Self { text, shown: form.replace("{}", "…"), secrets, enters: false }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) const fn enters(&self) -> bool {
        self.enters
    }

    pub(crate) const fn is_secret(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// A text of the device without this command's secrets.
    pub(crate) fn redact(&self, text: &str) -> String {
        redact(text, &self.secrets)
    }
}

/// A text in which `…` stands for each of these secrets.
pub(crate) fn redact(text: &str, secrets: &[SecretValue]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        let value = String::from_utf8_lossy(secret.expose());
        if !value.is_empty() {
            text = text.replace(value.as_ref(), "…");
        }
    }
    text
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({})", self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_typed_and_not_told() {
        let (one, two) = (SecretValue::from(b"hunter22".to_vec()), SecretValue::from(b"swordfish".to_vec()));
        let command = Command::secret("snmp-server user x g v3 auth sha {} priv aes {}", &[&one, &two]);
        assert_eq!(command.text(), "snmp-server user x g v3 auth sha hunter22 priv aes swordfish");
        for told in [command.to_string(), format!("{command:?}"), command.redact("Invalid input -> hunter22 swordfish")]
        {
            assert!(!told.contains("hunter22") && !told.contains("swordfish"), "{told}");
        }
    }
}
