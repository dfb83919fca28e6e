//! What may stand in a command line: nothing that ends it, and nothing that a switch reads as something else.

use crate::Invalid;

/// A word: no blanks, no quotes.
pub(super) fn word(field: &str, text: &str, max: usize) -> Result<(), Invalid> {
    let odd = |c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c));
    length(field, text, max)?;
    if let Some(bad) = text.chars().find(|c| odd(*c)) {
        let why = format!("`{}` in it is not a letter, a digit or one of - _ .", bad.escape_default());
        return Err(Invalid::at(field, why));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(Invalid::at(field, "it must start with a letter or a digit"));
    }
    Ok(())
}

/// A line of text for people.
pub(super) fn line(field: &str, text: &str, max: usize) -> Result<(), Invalid> {
    length(field, text, max)?;
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_graphic() || *c == ' ') || "\"?!\\".contains(*c)) {
        let why = format!("`{}` cannot be in it: printable ASCII without \" ? ! \\", bad.escape_default());
        return Err(Invalid::at(field, why));
    }
    if text.trim() != text || text.contains("  ") {
        return Err(Invalid::at(field, "it has blanks at an end or two in a row, which switches do not keep"));
    }
    Ok(())
}

fn length(field: &str, text: &str, max: usize) -> Result<(), Invalid> {
    if text.is_empty() || text.len() > max {
        return Err(Invalid::at(field, format!("it has {} bytes and may have 1 to {max}", text.len())));
    }
    Ok(())
}

/// A VLAN's number.
pub(super) fn vlan(field: &str, id: u16) -> Result<(), Invalid> {
    if !(1..=super::snapshot::VLAN_MAX).contains(&id) {
        return Err(Invalid::at(field, format!("{id} is not a VLAN: 1 to {}", super::snapshot::VLAN_MAX)));
    }
    Ok(())
}

/// The longest description of a port, in bytes.
pub(super) const DESCRIPTION_BYTES_MAX: usize = 63;
/// The longest name of a port channel, a group or a user, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 31;
