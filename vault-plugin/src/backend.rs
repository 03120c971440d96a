//! The engine as the SDK serves it.

use std::sync::Arc;

use vault_sdk::{Backend, Error, Path, Setup, SpecialPaths, Storage};

use crate::engine::Engine;
use crate::path;
use crate::storage::MATERIAL;

impl Backend for Engine {
    const VERSION: &'static str = concat!("v", env!("CARGO_PKG_VERSION"));

    const HELP: &'static str = "\
Agents use APIs through this engine without ever holding a credential. An operator defines a
service (where its calls go, and how the credential is sent) and stores the credential; an agent's
token with `update` on proxy/<service>/<METHOD> can then have requests made. The engine performs
them with the credential injected and hands back the answer without it.

No path of this engine gives a stored credential back.";

    fn new(_setup: Setup) -> Self {
        Self::in_process()
    }

    fn paths() -> Vec<Path<Self>> {
        path::all()
    }

    fn special_paths() -> SpecialPaths {
        SpecialPaths {
            // The mount's guards: changing them takes the sudo capability as well.
            root: vec!["config".into()],
            seal_wrap_storage: vec![MATERIAL.into()],
            ..SpecialPaths::default()
        }
    }

    async fn invalidate(&self, key: &str) {
        self.forget(key);
    }

    async fn periodic(&self, storage: Arc<dyn Storage>) -> Result<(), Error> {
        let swept = self.sweep(storage.as_ref()).await;
        let kept = self.keep_usage(storage.as_ref()).await;
        swept.and(kept).map_err(|error| error.into_sdk("", "periodic"))
    }

    async fn cleanup(&self) {
        self.forget_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{CONFIG, CREDENTIALS, REVISION, SERVICES, USAGE};

    #[test]
    fn the_prefix_of_secrets_and_no_other_is_wrapped_by_the_seal() {
        let wrapped = Engine::special_paths().seal_wrap_storage;
        assert_eq!(wrapped, [MATERIAL]);
        for key in [CONFIG, REVISION, SERVICES, CREDENTIALS, USAGE] {
            assert!(!key.starts_with(MATERIAL), "{key}");
        }
    }
}
