//! Users and groups of the host, from `/etc/passwd` and `/etc/group`.
//!
//! Accounts that only a directory service knows are declared by number.

use std::fs::File;
use std::io::{self, Read};

use scores::DeviceError;
use scores::files::Owner;

use super::walk::Walk;

/// Names and numbers of the host's accounts.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    users: Vec<(String, u32)>,
    groups: Vec<(String, u32)>,
}

impl Accounts {
    pub(super) fn of(walk: &Walk) -> Result<Self, DeviceError> {
        let read = |name: &str| {
            let path = walk.root().join("etc").join(name);
            let mut text = String::new();
            let read = File::open(&path).and_then(|file| file.take(ACCOUNTS_BYTES_MAX).read_to_string(&mut text));
            match read {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(DeviceError::io(format!("read `{}`", path.display()), error)),
                Ok(_) => Ok(parse(&text)),
            }
        };
        Ok(Self { users: read("passwd")?, groups: read("group")? })
    }

    /// The number of a user, given by name or number.
    pub(super) fn user(&self, name: &str) -> Result<u32, DeviceError> {
        number(&self.users, name, "user")
    }

    /// The number of a group, given by name or number.
    pub(super) fn group(&self, name: &str) -> Result<u32, DeviceError> {
        number(&self.groups, name, "group")
    }

    pub(super) fn named_user(&self, id: u32) -> Owner {
        named(&self.users, id)
    }

    pub(super) fn named_group(&self, id: u32) -> Owner {
        named(&self.groups, id)
    }
}

fn number(accounts: &[(String, u32)], name: &str, what: &str) -> Result<u32, DeviceError> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let found = accounts.iter().find(|(known, _)| known == name).map(|(_, id)| *id);
    // It may pass: another declaration may be about to make it.
    found.ok_or_else(|| DeviceError::transient(format!("find the {what} `{name}`: this host has none")))
}

fn named(accounts: &[(String, u32)], id: u32) -> Owner {
    let name = accounts.iter().find(|(_, known)| *known == id).map(|(name, _)| name.clone());
    Owner { id, name }
}

/// `name:x:number:…`; lines that are not so are skipped.
fn parse(text: &str) -> Vec<(String, u32)> {
    let account = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let id = fields.nth(1)?.parse().ok()?;
        Some((name.to_owned(), id))
    };
    text.lines().filter_map(account).collect()
}

/// The most that is read of the two files, in bytes.
const ACCOUNTS_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_accounts_and_skips_the_rest() {
        let users = parse("root:x:0:0::/root:/bin/sh\n# x:y:1\n\n+::::\nbad:x:many\nweb:x:33:33:\n");
        assert_eq!(users, [("root".to_owned(), 0), ("web".to_owned(), 33)]);
        let accounts = Accounts { users, groups: Vec::new() };
        assert_eq!(accounts.user("web").unwrap(), 33);
        assert_eq!(accounts.user("77").unwrap(), 77);
        assert!(accounts.user("nobody-here").unwrap_err().is_transient());
        assert_eq!(accounts.named_user(33).to_string(), "web");
        assert_eq!(accounts.named_group(33).to_string(), "33");
    }
}
