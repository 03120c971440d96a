//! An engine whose every write panics with what it was given, to show what of it gets out.
#![expect(clippy::panic, reason = "it is what this engine is for")]

use std::{process::ExitCode, sync::Arc};

use secrecy::ExposeSecret as _;
use vault_sdk::{
    Backend, Call, Effect, Error, Field, FieldType, Given, Operation, Path, Response, Setup,
};

struct Panics;

impl Backend for Panics {
    const VERSION: &'static str = "v1.0.0";
    const HELP: &'static str = "Panics.";

    fn new(_setup: Setup) -> Self {
        Self
    }

    fn paths() -> Vec<Path<Self>> {
        let secret = Field::new("secret", FieldType::Secret, "What the panic's message quotes.");
        vec![Path::new("now", "Panics.").fields([secret]).operation(
            Operation::Update,
            Effect::MayWrite,
            "Panics.",
            write,
        )]
    }
}

#[expect(clippy::disallowed_methods, reason = "a defect that quotes a secret is what is shown")]
async fn write(_: Arc<Panics>, mut call: Call) -> Result<Response, Error> {
    match call.fields.secret("secret") {
        Some(Given::Set(secret)) => panic!("unexpected {}", secret.expose_secret()),
        Some(Given::Reset) | None => Ok(Response::empty()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    vault_sdk::serve::<Panics>("PANICS_LOG").await
}
