//! What a registry gave is what was locked: files against the list of their SHA-256, where the tool itself locks only versions.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};

use crate::install::{files, hex};

/// Whether a folder has exactly the files of its list, `FOLDER.sha256` beside it, in the format of `sha256sum`.
///
/// # Errors
/// The first file that is missing, too many, or of other bytes.
pub(crate) fn check(place: &Path, folder: &str) -> anyhow::Result<()> {
    let list = place.join(format!("{folder}.sha256"));
    let text = std::fs::read_to_string(&list).with_context(|| format!("{} cannot be read", list.display()))?;
    let mut locked = BTreeMap::new();
    for line in text.lines() {
        let (sum, name) = line.split_once("  ").with_context(|| format!("{}: {line:?} is no sum", list.display()))?;
        locked.insert(name.to_owned(), sum.to_owned());
    }
    for file in files(&place.join(folder))? {
        let name = file.strip_prefix(place).unwrap_or(&file).to_string_lossy().into_owned();
        let content = std::fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let sum = locked.remove(&name).with_context(|| format!("{name} is not in {}", list.display()))?;
        ensure!(hex(&Sha256::digest(content)) == sum, "{name} is not the file that {} has the sum of", list.display());
    }
    ensure!(locked.is_empty(), "these did not come: {:?}", locked.keys());
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::check;

    /// `printf one | sha256sum` and the same of `two`.
    const LIST: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed  jars/a.jar\n\
        3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3  jars/b.jar\n";

    fn checked(jars: &[(&str, &str)]) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("jars")).unwrap();
        std::fs::write(folder.path().join("jars.sha256"), LIST).unwrap();
        for (name, content) in jars {
            std::fs::write(folder.path().join("jars").join(name), content).unwrap();
        }
        check(folder.path(), "jars").map_err(|error| error.to_string())
    }

    #[test]
    fn files_of_the_locked_sums_are_taken() {
        checked(&[("a.jar", "one"), ("b.jar", "two")]).unwrap();
    }

    #[test]
    fn a_file_of_other_bytes_a_missing_one_and_one_too_many_are_each_named() {
        let other = checked(&[("a.jar", "one"), ("b.jar", "three")]).unwrap_err();
        assert!(other.contains("jars/b.jar is not the file"), "{other}");
        let missing = checked(&[("a.jar", "one")]).unwrap_err();
        assert!(missing.contains("did not come") && missing.contains("b.jar"), "{missing}");
        let more = checked(&[("a.jar", "one"), ("b.jar", "two"), ("c.jar", "")]).unwrap_err();
        assert!(more.contains("jars/c.jar is not in"), "{more}");
    }
}
