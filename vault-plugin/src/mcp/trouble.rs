//! Why a message got no answer of MCP, and what a caller is told of it.

use http::StatusCode;

use super::message::Asks;
use crate::engine::{Engine, Outcome, Snapshot};
use crate::error::{Code, Failure};
use crate::proxy::answer;
use crate::proxy::credential::Credential;
use crate::proxy::egress::EgressError;
use crate::proxy::service::Service;

/// An HTTP status without MCP in it.
#[derive(Debug)]
pub(super) struct HttpRefusal {
    pub(super) status: StatusCode,
    /// The beginning of the body, if it is short text; not searched for the credential yet.
    pub(super) body: Option<String>,
    /// When to come again, as the server said it.
    pub(super) retry_after: Option<String>,
    /// Whether the server says, or may say, which request it refuses.
    pub(super) names_request: bool,
}

/// Why there is no answer. It says nothing of whether the message could have had an effect: that
/// depends on which it was.
#[derive(Debug)]
pub(super) enum Trouble {
    /// On the way.
    Egress(EgressError),
    /// HTTP said no.
    Status(HttpRefusal),
    /// What came isn't MCP.
    NotMcp(&'static str),
    /// The server asked the client for something, was refused, and gave no answer.
    Asked(Vec<Asks>),
    /// Ours.
    Failure(Failure),
}

impl From<EgressError> for Trouble {
    fn from(error: EgressError) -> Self {
        Self::Egress(error)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Trouble {
    /// The code of the trouble, for health and log.
    fn code(&self) -> Code {
        match self {
            Self::Egress(error) => answer::code(error),
            Self::Status(refusal) if refusal.status == StatusCode::UNAUTHORIZED => {
                Code::CredentialRefused
            }
            Self::Status(_) | Self::NotMcp(_) => Code::UpstreamProtocol,
            Self::Asked(_) => Code::InputRequiredUnsupported,
            Self::Failure(failure) => failure.code,
        }
    }

    /// What a caller is told when the message was one before the call: that wasn't sent.
    pub(super) fn before_the_call(self, service: &Service) -> Failure {
        let code = self.code();
        let name = &service.name;
        let nothing = "The call itself wasn't sent";
        match self {
            Self::Failure(failure) => failure,
            Self::Egress(error) if !error.sent() => answer::failure(service, &error),
            Self::Egress(error) => Failure::new(
                Code::UpstreamUnreachable,
                format!(
                    "\"{name}\" doesn't answer as it should before a call: {error}. {nothing}. This \
                     isn't the caller's mistake. Try once more in a minute"
                ),
            ),
            Self::Status(HttpRefusal { status, .. }) => Failure::new(
                code,
                format!(
                    "\"{name}\" answers HTTP {} before a call. {nothing}. This isn't the caller's \
                     mistake; {}",
                    status.as_u16(),
                    advice(status)
                ),
            ),
            Self::NotMcp(why) => Failure::new(
                code,
                format!(
                    "\"{name}\" doesn't speak MCP as it should: {why}. {nothing}. This isn't the \
                     caller's mistake; an operator should look at the service's base_url, which is the \
                     server's endpoint"
                ),
            ),
            Self::Asked(asks) => Failure::new(
                code,
                format!(
                    "\"{name}\" asked its client for {} before a call, which Vault can't give. \
                     {nothing}",
                    words(&asks)
                ),
            ),
        }
    }

    /// What a caller is told when the call itself was the message.
    pub(super) fn of_the_call(self, service: &Service) -> Failure {
        let name = &service.name;
        let unknown = "it may have taken effect. Don't repeat it; look first whether it happened";
        match self {
            Self::Failure(failure) => failure,
            Self::Egress(error) => answer::failure(service, &error),
            Self::Status(HttpRefusal { status, .. }) => Failure::new(
                Code::OutcomeUnknown,
                format!(
                    "the call was sent to \"{name}\", which answered HTTP {} without a result, so \
                     {unknown}",
                    status.as_u16()
                ),
            ),
            Self::NotMcp(why) => Failure::new(
                Code::OutcomeUnknown,
                format!(
                    "the call was sent to \"{name}\", but its answer isn't MCP: {why}; so {unknown}"
                ),
            ),
            Self::Asked(asks) => input_required(service, &asks, "gave no result after that"),
        }
    }

    /// Whether a call alone may have brought it about, so that it says nothing against the service.
    pub(super) fn is_of_the_call(&self) -> bool {
        match self {
            Self::Status(refusal) => {
                refusal.status.is_client_error() && refusal.status != StatusCode::UNAUTHORIZED
            }
            Self::Asked(_) => true,
            Self::Egress(_) | Self::NotMcp(_) | Self::Failure(_) => false,
        }
    }

    /// Remembers what it says about the service and its credential.
    pub(super) fn note(
        &self,
        engine: &Engine,
        snapshot: &Snapshot,
        credential: Option<&Credential>,
    ) {
        let (outcome, was_sent) = match self {
            // Ours, and nothing of the upstream's.
            Self::Failure(_) => return,
            Self::Egress(error) => (Outcome::Failed(answer::code(error)), error.sent()),
            Self::Status(refusal) if refusal.status == StatusCode::UNAUTHORIZED => {
                let refused = credential.map(|_| Outcome::CredentialRefused);
                (refused.unwrap_or(Outcome::Answered), true)
            }
            Self::Status(_) | Self::NotMcp(_) | Self::Asked(_) => {
                (Outcome::Failed(self.code()), true)
            }
        };
        engine.note(&snapshot.service_id, credential.filter(|_| was_sent), outcome);
    }
}

fn advice(status: StatusCode) -> &'static str {
    if status.is_redirection() {
        "an operator should look where the endpoint is now, and write it as base_url"
    } else if status.is_server_error() {
        "try once more in a minute"
    } else {
        "an operator should look at the service's base_url and credential"
    }
}

/// The server wants something that only a client with a user, a model or folders has.
pub(super) fn input_required(service: &Service, asks: &[Asks], then: &str) -> Failure {
    Failure::new(
        Code::InputRequiredUnsupported,
        format!(
            "\"{}\" asked its client for {}, which can't be given through Vault, and {then}. What the \
             call did before that stays done. Don't repeat it; look first whether it happened, and \
             give what is asked for in the arguments, if they have a place for it",
            service.name,
            words(asks)
        ),
    )
}

/// The server refuses a call of a client without a capability; it has done nothing.
pub(super) fn capability_missing(service: &Service, asks: &[Asks]) -> Failure {
    Failure::new(
        Code::InputRequiredUnsupported,
        format!(
            "\"{}\" makes this call only for clients that offer {}, which can't be given through \
             Vault. Nothing was done. Use another tool",
            service.name,
            words(asks)
        ),
    )
}

fn words(asks: &[Asks]) -> String {
    if asks.is_empty() {
        return Asks::Other.as_str().to_owned();
    }
    asks.iter().map(|ask| ask.as_str()).collect::<Vec<_>>().join(" and ")
}
