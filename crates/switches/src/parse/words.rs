//! Words of configuration lines, and lists of ports as FastIron writes them.

use std::collections::BTreeSet;

use scores::switch::{Media, Port};

/// Splits a line into words; quotes hold blanks together.
pub(crate) fn quoted(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut inside = false;
    for c in line.chars() {
        match c {
            '"' => {
                inside = !inside;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !inside => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Reads `ethe 1/1/1 to 1/1/4 ethe 2/1/7 lag 3`, also as `e 1/1/1` and without the word before the first.
pub(crate) fn port_list(words: &[String]) -> Result<BTreeSet<Port>, String> {
    let mut ports = BTreeSet::new();
    let mut lag = false;
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        match word.as_str() {
            "e" | "ethe" | "ethernet" => lag = false,
            "lag" => lag = true,
            word => {
                let first = one(word, lag)?;
                if words.peek().is_some_and(|next| *next == "to") {
                    words.next();
                    let last = words.next().ok_or_else(|| "a range has no end".to_owned())?;
                    let range =
                        first.range(one(last, lag)?).ok_or_else(|| format!("`{word} to {last}` is no range"))?;
                    ports.extend(range);
                } else {
                    ports.insert(first);
                }
            }
        }
        if ports.len() > PORTS_MAX {
            return Err(format!("there are more than {PORTS_MAX} ports"));
        }
    }
    if ports.is_empty() { Err("there are no ports".into()) } else { Ok(ports) }
}

fn one(word: &str, lag: bool) -> Result<Port, String> {
    if lag {
        let id = word.trim_start_matches("lg").parse().map_err(|_| format!("`{word}` is no id of a LAG"))?;
        return Ok(Port::channel(id));
    }
    let port: Port = word.parse()?;
    if port.media() == Media::Plain { Ok(port) } else { Err(format!("`{word}` is no port")) }
}

/// Writes a list of ports in one line, with ranges.
pub(crate) fn ports_text<'a>(ports: impl IntoIterator<Item = &'a Port>) -> String {
    let mut runs: Vec<(Port, Port)> = Vec::new();
    for port in ports {
        match runs.last_mut() {
            Some((_, last)) if port.channel_id().is_none() && last.next() == Some(*port) => *last = *port,
            _ => runs.push((*port, *port)),
        }
    }
    let text = runs.iter().map(|(first, last)| match (first.channel_id(), first == last) {
        (Some(id), _) => format!("lag {id}"),
        (None, true) => format!("ethernet {first}"),
        (None, false) => format!("ethernet {first} to {last}"),
    });
    text.collect::<Vec<_>>().join(" ")
}

/// The most ports of a list.
const PORTS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        let text = "ethernet 1/2/5 to 1/2/6 ethernet 2/2/5 ethernet 10/1/9 to 10/1/11 lag 3 lag 4";
        let ports = port_list(&quoted(text)).unwrap();
        assert_eq!(ports.len(), 8);
        let ordered: Vec<Port> = ports.iter().copied().collect();
        assert_eq!(ports_text(&ordered), text);
        assert_eq!(port_list(&quoted("e 1/1/1 e 1/1/2")).unwrap().len(), 2);
        for bad in ["", "ethe", "ethe 1/1/1 to", "ethe 1/1/4 to 1/1/1", "ethe 1/1/1 to 2/1/1", "lag x", "ethe te1/0/1"]
        {
            assert!(port_list(&quoted(bad)).is_err(), "{bad}");
        }
        assert_eq!(quoted("lag \"a b\" dynamic id 1"), ["lag", "a b", "dynamic", "id", "1"]);
    }
}
