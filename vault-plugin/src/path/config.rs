//! `config`: what holds for all services of the mount.

use std::sync::Arc;

use serde_json::json;
use vault_sdk::{Call, Effect, Field, FieldType, Operation, Path, Response, Spec};

use super::{handler, set, set_count, set_or_default, set_seconds};
use crate::engine::Engine;
use crate::error::Error;

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![
        Path::new("config", "Guards and ceilings of the mount. Needs the sudo capability.")
            .description(
                "A write changes the fields given and keeps the others; an empty value goes back \
                 to the default. Connections to upstreams are opened anew after a change.",
            )
            .fields(settings())
            .operation(
                Operation::Read,
                Effect::Pure,
                Spec::new("Reads the settings.").data("The settings in force.", settings()),
                handler(read),
            )
            .operation(
                Operation::Update,
                Effect::MayWrite,
                Spec::new("Changes settings.")
                    .empty("Written.")
                    .example(json!({ "upstream_cidrs": ["192.168.1.0/24"], "paused": false })),
                handler(write),
            ),
    ]
}

fn settings() -> [Field; 13] {
    [
        Field::new(
            "upstream_cidrs",
            FieldType::List,
            "Networks outside the public internet that services may be allowed to reach, \
             each by its own upstream_cidrs.",
        )
        .default("none"),
        Field::new(
            "denied_destinations",
            FieldType::List,
            "Networks, addresses and host names never reached, whatever else is allowed.",
        )
        .default("none"),
        Field::new(
            "egress_proxy",
            FieldType::Str,
            "An HTTP proxy for every upstream connection, such as http://proxy.example:3128. \
             It is asked for checked addresses, and sees nothing of the TLS inside.",
        )
        .default("none"),
        Field::new(
            "allow_single_label_names",
            FieldType::Bool,
            "Let services name hosts without a dot, such as https://sonarr:8989.",
        )
        .default("false"),
        Field::new("allow_danger", FieldType::List, "danger_ fields that services may set.")
            .default("none"),
        Field::new(
            "cas_required",
            FieldType::Bool,
            "Want cas on every write of a service or credential.",
        )
        .default("false"),
        Field::new("paused", FieldType::Bool, "Refuse every call; reads and lists work.")
            .default("false"),
        Field::new("pause_reason", FieldType::Str, "Told to callers while paused."),
        Field::new("max_versions", FieldType::Int, "Versions kept of a credential, 2 to 10.")
            .default("10"),
        Field::new("max_timeout", FieldType::Duration, "Ceiling of services' timeout.")
            .default("60s"),
        Field::new("max_request_bytes", FieldType::Int, "Ceiling of services' max_request_bytes.")
            .default("16777216"),
        Field::new(
            "max_response_bytes",
            FieldType::Int,
            "Ceiling of services' max_response_bytes.",
        )
        .default("33554432"),
        Field::new("max_in_flight", FieldType::Int, "Calls at one time on the mount.")
            .default("512"),
    ]
}

async fn read(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let mount = engine.mount(call.storage.as_ref()).await?;
    let ceilings = &mount.ceilings;
    let entry = &mount.entry;
    Response::data(json!({
        "upstream_cidrs": entry.upstream_cidrs,
        "denied_destinations": entry.denied_destinations,
        "egress_proxy": entry.egress_proxy.clone().unwrap_or_default(),
        "allow_single_label_names": entry.allow_single_label_names,
        "allow_danger": entry.allow_danger,
        "cas_required": entry.cas_required,
        "paused": entry.paused,
        "pause_reason": entry.pause_reason,
        "max_versions": ceilings.max_versions,
        "max_timeout": ceilings.max_timeout.as_secs(),
        "max_request_bytes": ceilings.max_request_bytes,
        "max_response_bytes": ceilings.max_response_bytes,
        "max_in_flight": ceilings.max_in_flight,
    }))
    .map_err(|error| Error::Internal(error.to_string()))
}

async fn write(engine: Arc<Engine>, mut call: Call) -> Result<Response, Error> {
    let fields = &mut call.fields;
    let mut warnings = Vec::new();
    engine
        .write_config(call.storage.as_ref(), |entry| {
            let before = entry.clone();
            set_or_default(&mut entry.upstream_cidrs, fields.list("upstream_cidrs"));
            set_or_default(&mut entry.denied_destinations, fields.list("denied_destinations"));
            set(&mut entry.egress_proxy, fields.str("egress_proxy"));
            set_or_default(
                &mut entry.allow_single_label_names,
                fields.bool("allow_single_label_names"),
            );
            set_or_default(&mut entry.allow_danger, fields.list("allow_danger"));
            set_or_default(&mut entry.cas_required, fields.bool("cas_required"));
            set_or_default(&mut entry.paused, fields.bool("paused"));
            set_or_default(&mut entry.pause_reason, fields.str("pause_reason"));
            set_seconds(&mut entry.max_timeout, "max_timeout", fields.duration("max_timeout"))?;
            for (target, field) in [
                (&mut entry.max_versions, "max_versions"),
                (&mut entry.max_request_bytes, "max_request_bytes"),
                (&mut entry.max_response_bytes, "max_response_bytes"),
                (&mut entry.max_in_flight, "max_in_flight"),
            ] {
                set_count(target, field, fields.int(field))?;
            }
            for danger in &entry.allow_danger {
                if !before.allow_danger.contains(danger) {
                    warnings.push(format!("services may now set {danger}"));
                }
            }
            Ok(())
        })
        .await?;
    Ok(Response::empty().warn_all(warnings))
}
