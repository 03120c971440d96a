//! Messages and services that a Vault or OpenBao plugin and its host share, without any logic.
//!
//! The bindings in `src/generated` come from the files in `proto/`; `make proto` writes them and
//! the test `bootstrap` fails when they differ. Messages that hold secrets have a `Debug` that
//! doesn't print values ([`pb::Request`], [`pb::Response`], [`pb::StorageEntry`] and others).
//! Their memory isn't wiped: prost's buffers are ordinary ones.

mod redact;

/// The secrets engine interface: `pb.Backend`, `pb.Storage`, `pb.SystemView`.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod pb {
    include!("generated/pb.rs");
}

/// Identity types, the server's version and `logical.PluginVersion`.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod logical {
    include!("generated/logical.rs");
}

/// `pluginutil.multiplexing.PluginMultiplexing`.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod multiplexing {
    include!("generated/pluginutil.multiplexing.rs");
}

/// go-plugin's own services: broker, controller, stdio.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod goplugin {
    include!("generated/plugin.rs");
}
