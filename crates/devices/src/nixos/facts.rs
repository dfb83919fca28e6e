//! What a store knows of its paths, read from Nix's own plain-text forms.

use std::collections::HashMap;

use scores::nixos::{NarHash, StorePath};

use super::nix::{Nix, NixError, PATHS_PER_CALL, unreadable};

/// What a store knows of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFacts {
    /// The path.
    pub path: StorePath,
    /// SHA-256 of its archive.
    pub nar_hash: NarHash,
    /// Size of its archive in bytes.
    pub nar_size: u64,
    /// The paths it refers to, sorted, each once.
    pub references: Vec<StorePath>,
    /// What built it.
    pub deriver: Option<StorePath>,
    /// Its content address, as Nix writes it.
    pub ca: Option<String>,
    /// Its signatures, `name:base64`.
    pub signatures: Vec<String>,
}

impl Nix {
    /// What the store knows of valid paths.
    ///
    /// # Errors
    /// When one is not valid, or the store cannot be asked.
    pub async fn facts(&self, paths: &[StorePath]) -> Result<Vec<PathFacts>, NixError> {
        let mut all = Vec::with_capacity(paths.len());
        for some in paths.chunks(PATHS_PER_CALL) {
            let names = || some.iter().map(StorePath::as_str);
            let dump = self.query("nix-store", ["--dump-db"].into_iter().chain(names())).await?;
            let mut found = parse_dump(&dump).map_err(|why| unreadable("nix-store --dump-db", why))?;
            let flags = ["--extra-experimental-features", "nix-command", "path-info", "--sigs", "--offline"];
            let sigs = self.query("nix", flags.into_iter().chain(names())).await?;
            let mut sigs = parse_sigs(&sigs).map_err(|why| unreadable("nix path-info", why))?;
            for facts in &mut found {
                if let Some((ca, signatures)) = sigs.remove(&facts.path) {
                    facts.ca = ca;
                    facts.signatures = signatures;
                }
            }
            all.extend(found);
        }
        match paths.iter().find(|path| !all.iter().any(|facts| facts.path == **path)) {
            Some(path) if all.len() != paths.len() => {
                Err(unreadable("nix-store --dump-db", format!("nothing of {path}")))
            }
            _ => Ok(all),
        }
    }
}

/// One path after the other: path, hash in hex, size, deriver or an empty line, number of references, references.
fn parse_dump(text: &str) -> Result<Vec<PathFacts>, String> {
    let mut lines = text.lines();
    let mut all = Vec::new();
    while let Some(path) = lines.next() {
        let mut next = |what: &str| lines.next().ok_or_else(|| format!("{path} ends before its {what}"));
        let hash = next("hash")?;
        let hash = data_encoding::HEXLOWER.decode(hash.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        let nar_hash = NarHash::from_bytes(hash.ok_or_else(|| format!("{path} has no SHA-256 hash"))?);
        let nar_size = next("size")?.parse().map_err(|error| format!("the size of {path}: {error}"))?;
        let deriver = match next("deriver")? {
            "" => None,
            deriver => Some(deriver.parse().map_err(text_of)?),
        };
        let count: usize = next("references")?.parse().map_err(|error| format!("the references of {path}: {error}"))?;
        let mut references = Vec::new();
        for _ in 0..count {
            references.push(next("references")?.parse::<StorePath>().map_err(text_of)?);
        }
        references.sort();
        references.dedup();
        let path = path.parse().map_err(text_of)?;
        all.push(PathFacts { path, nar_hash, nar_size, references, deriver, ca: None, signatures: Vec::new() });
    }
    Ok(all)
}

type Signed = (Option<String>, Vec<String>);

/// A path a line; behind it, by white space, `ultimate`, `ca:…` and signatures, each where there is one.
fn parse_sigs(text: &str) -> Result<HashMap<StorePath, Signed>, String> {
    text.lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let path = words.next().unwrap_or_default().parse::<StorePath>().map_err(text_of)?;
            let mut signed = (None, Vec::new());
            for word in words.filter(|word| *word != "ultimate") {
                match word.strip_prefix("ca:") {
                    Some(ca) => signed.0 = Some(ca.to_owned()),
                    None => signed.1.push(word.to_owned()),
                }
            }
            Ok((path, signed))
        })
        .collect()
}

fn text_of(error: impl ToString) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DUMP: &str = "/nix/store/z4asv3j07d89ywjf8fxkn7sg6mf5s9q5-dep\n\
        7bdbc9e6407d9d3ed40adc64d746be6366b5f58ee668c6b02866008bbef57202\n120\n\
        /nix/store/p2qkh6lklg7zljx468xsl3gwif574nq4-dep.drv\n0\n\
        /nix/store/1jr8srwdhjx8z37j22sc7xx59bzclwq8-x\n\
        e4cbd93975fc8b489b79775d08ec2feb56fe6a3553d008e44ba468609329b8b5\n168\n\n1\n\
        /nix/store/z4asv3j07d89ywjf8fxkn7sg6mf5s9q5-dep\n";

    #[test]
    fn a_dump_is_read() {
        let all = parse_dump(DUMP).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].deriver.as_ref().unwrap().name(), "dep.drv");
        assert_eq!((all[1].nar_size, &all[1].deriver), (168, &None));
        assert_eq!(all[1].references, [all[0].path.clone()]);
        assert_eq!(all[0].nar_hash.to_string(), "sha256:00kjynz8n03652qccs76ivsvark3pr3dfr6w1ba3x7bx83kcknvv");
        for cut in [10, 60, 150, DUMP.len() - 60] {
            assert!(parse_dump(&DUMP[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn signatures_are_read() {
        let text = "/nix/store/z4asv3j07d89ywjf8fxkn7sg6mf5s9q5-dep  \tultimate ca:fixed:r:sha256:08j a:AA== b:BB==\n\
            /nix/store/1jr8srwdhjx8z37j22sc7xx59bzclwq8-x\t\n";
        let all = parse_sigs(text).unwrap();
        let dep = &all[&"/nix/store/z4asv3j07d89ywjf8fxkn7sg6mf5s9q5-dep".parse().unwrap()];
        assert_eq!(dep, &(Some("fixed:r:sha256:08j".into()), vec!["a:AA==".into(), "b:BB==".into()]));
        assert_eq!(all.len(), 2);
        assert!(parse_sigs("error: no\n").is_err());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "([a-z0-9/: -]{0,40}\n){0,8}") {
            drop(parse_dump(&text));
            drop(parse_sigs(&text));
        }
    }
}
