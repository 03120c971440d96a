//! Keeps the last catalog on disk, so that the next start can answer at once. It holds no secret.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use super::Catalog;
use crate::private;

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
        private::make_dir(dir)?;
        private::replace(&self.0, &serde_json::to_vec(catalog).map_err(std::io::Error::other)?)
    }
}

#[cfg(all(test, unix))]
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
