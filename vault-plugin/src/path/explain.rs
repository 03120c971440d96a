//! `explain/<service>`: what a call would do, without doing it.

use vault_sdk::{Effect, Operation, Path};

use super::{handler, proxy};
use crate::engine::Engine;
use crate::proxy::explain::explain;

const DESCRIPTION: &str = "\
Takes what proxy/<service> takes, with the method in the body, and goes through the same steps up to
sending: the canonical URL, the rule, the credential with its version and place, the class of the
upstream's address, and the verdict. Nothing is sent to the upstream.";

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![
        Path::new("explain/:service", "Dry run of one call.")
            .description(DESCRIPTION)
            .fields(proxy::fields())
            .operation(
                Operation::Update,
                Effect::Pure,
                "Tells what a call would send, or what would refuse it.",
                handler(explain),
            ),
    ]
}
