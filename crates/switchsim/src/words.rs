//! Command lines against a table of patterns: unique prefixes do, several are ambiguous, too few words are incomplete.

/// Why no pattern fits a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// From this byte of the line on, nothing fits.
    Invalid(usize),
    /// The word at this byte begins several.
    Ambiguous(usize),
    /// It could have gone on.
    Incomplete,
}

/// A word of a line and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) at: usize,
}

/// The words of a line; quotes hold blanks together.
pub(crate) fn split(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_with(|| Word { text: String::new(), at });
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_with(|| Word { text: String::new(), at }).text.push(c),
        }
    }
    words.extend(word);
    words
}

/// Finds the one pattern that the line means. In a pattern `<name>` stands for any word, `<name..>` for one or more at
/// its end. What is returned is what stands beside the pattern, and the words that stood for names.
pub(crate) fn find<T: Copy>(table: &[(&'static str, T)], line: &str) -> Result<(T, Vec<String>), Fault> {
    let words = split(line);
    let mut left: Vec<(Vec<&'static str>, T)> =
        table.iter().map(|(pattern, value)| (pattern.split(' ').collect(), *value)).collect();
    let mut literal = vec![false; words.len()];
    for (index, word) in words.iter().enumerate() {
        let small = word.text.to_ascii_lowercase();
        let mut fits: Vec<&'static str> = left
            .iter()
            .filter_map(|(pattern, _)| pattern.get(index).copied())
            .filter(|part| !part.starts_with('<') && part.starts_with(small.as_str()))
            .collect();
        fits.sort_unstable();
        fits.dedup();
        if let Some(exact) = fits.iter().copied().find(|part| *part == small) {
            fits = vec![exact];
        }
        match fits.as_slice() {
            [] => left.retain(|(pattern, _)| match pattern.get(index) {
                Some(part) => part.starts_with('<'),
                None => pattern.last().is_some_and(|part| part.ends_with("..>")),
            }),
            [one] => {
                literal[index] = true;
                left.retain(|(pattern, _)| pattern.get(index) == Some(one));
            }
            _ => return Err(Fault::Ambiguous(word.at)),
        }
        if left.is_empty() {
            return Err(Fault::Invalid(word.at));
        }
    }
    let ended = left.iter().find(|(pattern, _)| {
        pattern.len() == words.len()
            || (pattern.len() < words.len() && pattern.last().is_some_and(|p| p.ends_with("..>")))
    });
    let (_, value) = ended.ok_or(Fault::Incomplete)?;
    let names = words.into_iter().zip(literal).filter(|(_, literal)| !literal).map(|(word, _)| word.text);
    Ok((*value, names.collect()))
}

/// The words that may come next after what is typed: what `?` shows.
pub(crate) fn next<T: Copy>(table: &[(&'static str, T)], line: &str) -> Vec<String> {
    let words = split(line);
    let (full, begun) = match words.split_last() {
        Some((last, full)) if !line.ends_with(' ') => (full, last.text.to_ascii_lowercase()),
        _ => (words.as_slice(), String::new()),
    };
    let mut found: Vec<String> = table
        .iter()
        .map(|(pattern, _)| pattern.split(' ').collect::<Vec<_>>())
        .filter(|pattern| {
            full.iter().zip(pattern.iter().map(Some).chain(std::iter::repeat(None))).all(|(word, part)| match part {
                Some(part) => part.starts_with('<') || part.starts_with(word.text.to_ascii_lowercase().as_str()),
                None => false,
            })
        })
        .filter_map(|pattern| pattern.get(full.len()).map(|part| (*part).to_owned()))
        .filter(|part| part.starts_with('<') || part.starts_with(begun.as_str()))
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[(&str, u8)] = &[
        ("show version", 1),
        ("show vlan", 2),
        ("show vlan <id>", 3),
        ("exit", 4),
        ("vlan <id> name <name>", 5),
        ("tagged <ports..>", 6),
        ("end", 7),
    ];

    #[test]
    fn unique_prefixes_do_and_others_are_told() {
        assert_eq!(find(TABLE, "sh ver"), Ok((1, vec![])));
        assert_eq!(find(TABLE, "SHOW VLAN 10"), Ok((3, vec!["10".to_owned()])));
        assert_eq!(find(TABLE, "show vlan"), Ok((2, vec![])));
        assert_eq!(find(TABLE, "show v"), Err(Fault::Ambiguous(5)));
        assert_eq!(find(TABLE, "e"), Err(Fault::Ambiguous(0)));
        assert_eq!(find(TABLE, "show"), Err(Fault::Incomplete));
        assert_eq!(find(TABLE, "vlan 3 name"), Err(Fault::Incomplete));
        assert_eq!(find(TABLE, "show flash all"), Err(Fault::Invalid(5)));
        assert_eq!(find(TABLE, "exit now"), Err(Fault::Invalid(5)));
        assert_eq!(find(TABLE, "ta e 1/1/1 to 1/1/2").unwrap().1.join(" "), "e 1/1/1 to 1/1/2");
        assert_eq!(find(TABLE, "vlan 3 name \"two words\"").unwrap().1[1], "two words");
    }

    #[test]
    fn a_question_mark_shows_what_may_follow() {
        assert_eq!(next(TABLE, "show v"), ["version", "vlan"]);
        assert_eq!(next(TABLE, "show vlan "), ["<id>"]);
        assert_eq!(next(TABLE, ""), ["end", "exit", "show", "tagged", "vlan"]);
        assert!(next(TABLE, "nothing ").is_empty());
    }
}
