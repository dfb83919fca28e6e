//! Commands as they can be pasted into a shell.

use std::path::Path;

/// How this program was called.
pub(super) fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_else(|| "flt".into());
    path(Path::new(&called))
}

/// A path, in quotes if a shell would take it apart.
pub(super) fn path(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+' | ':' | '@' | ',');
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_a_shell_would_take_apart() {
        for (given, pasted) in [(".dev", ".dev"), ("my fleet", "'my fleet'"), ("it's", r"'it'\''s'"), ("", "''")] {
            assert_eq!(path(Path::new(given)), pasted);
        }
    }
}
