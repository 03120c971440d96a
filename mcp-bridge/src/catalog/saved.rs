//! Keeps the last catalog on disk, so that the next start can answer at once. It holds no secret.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Catalog;

/// The file of one server, namespace, mount and credential.
#[derive(Debug)]
pub(super) struct Saved(PathBuf);

impl Saved {
    /// Chooses the file's name by what the catalog belongs to.
    pub(super) fn new(dir: &Path, belongs_to: &[&str]) -> Self {
        let mut hasher = DefaultHasher::new();
        belongs_to.hash(&mut hasher);
        Self(dir.join(format!("catalog-{:016x}.json", hasher.finish())))
    }

    /// Reads the catalog, if there is a sound one.
    pub(super) fn load(&self) -> Option<Catalog> {
        serde_json::from_slice(&std::fs::read(&self.0).ok()?).ok()
    }

    /// Writes the catalog: whole or not at all, readable by this user alone.
    pub(super) fn store(&self, catalog: &Catalog) {
        if let Err(error) = self.write(catalog) {
            tracing::debug!(kind = %error.kind(), "the catalog can't be kept");
        }
    }

    fn write(&self, catalog: &Catalog) -> std::io::Result<()> {
        let dir = self.0.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        // Several bridges may write at once: each has a file of its own until the rename.
        let temporary = self.0.with_extension(format!("{}.tmp", std::process::id()));
        let _ = std::fs::remove_file(&temporary);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        let written = serde_json::to_vec(catalog)
            .map_err(std::io::Error::other)
            .and_then(|bytes| file.write_all(&bytes))
            .and_then(|()| std::fs::rename(&temporary, &self.0));
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_catalog_comes_back_and_only_its_user_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("mcp-bridge");
        let saved = Saved::new(&inner, &["https://a", "mcp-proxy"]);
        assert_eq!(saved.load(), None);
        let catalog = Catalog { revision: "3".to_owned(), services: Vec::new() };
        saved.store(&catalog);
        assert_eq!(saved.load(), Some(catalog));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&inner), mode(&saved.0)), (0o700, 0o600));
        assert_eq!(Saved::new(&inner, &["https://b", "mcp-proxy"]).load(), None);
    }
}
