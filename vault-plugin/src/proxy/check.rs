//! Whether a service works, told apart by stage: rules, credential, name, address, connection, TLS,
//! upstream. For operators: its texts name addresses.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use vault_sdk::{Call, Response};

use super::address::Refusal;
use super::answer;
use super::binding::written_placement;
use super::credential::{self, Credential};
use super::decision::Decision;
use super::egress::{EgressError, Limits, TlsFailure, Unreachable};
use super::origin::Scheme;
use super::request::ProxyRequest;
use super::service::{Kind, Probe, Service};
use super::{canonicalise, injector, policy, snapshot};
use crate::engine::{Engine, Outcome, Snapshot};
use crate::error::{Code, Error, Failure};
use crate::mcp::{self, greet::Greeting};
use crate::name::Name;

/// How long a result is shared among those who ask.
const SHARED: Duration = Duration::from_secs(10);

/// The stages, in the order in which they are passed.
const STAGES: [&str; 9] = [
    DEFINITION,
    "rules",
    "credential_stored",
    "dns",
    "address",
    "tcp",
    "tls",
    "credential_accepted",
    "upstream",
];
/// How many of them are passed before anything is sent.
const BEFORE_SENDING: usize = 7;
/// Whether config allows what the service is defined as.
const DEFINITION: &str = "definition";

/// Sends the service's probe, or only connects where it has none, and tells how far that came.
///
/// # Errors
/// `unknown_service`, `paused`, `service_disabled`; storage's own. A service that doesn't work is an
/// answer here.
pub async fn check(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let name = Name::parse(call.fields.text("service"))
        .map_err(|error| Failure::invalid(format!("the service's name: {error}")))?;
    let snapshot = match snapshot(&engine, &call, &name).await {
        Ok(snapshot) => snapshot,
        Err(error @ (Error::Storage(_) | Error::Internal(_))) => return Err(error),
        Err(Error::Failure(failure)) => {
            return match engine.definition_refused(call.storage.as_ref(), &name).await? {
                Some(reason) if failure.code != Code::Paused => {
                    let mut report = Map::new();
                    report.insert("passed".into(), json!([]));
                    failed(&mut report, &call, &Stop::at(DEFINITION)(reason), "");
                    answer(report)
                }
                Some(_) | None => Err(failure.into()),
            };
        }
    };
    // One probe at a time; who waits for it takes its result.
    let mut last = snapshot.last_check.lock().await;
    let report = match &*last {
        Some((when, report)) if when.elapsed() < SHARED => report.clone(),
        Some(_) | None => {
            let report = run(&engine, &call, &snapshot).await?;
            *last = Some((Instant::now(), report.clone()));
            report
        }
    };
    answer(report)
}

fn answer(report: Map<String, Value>) -> Result<Response, Error> {
    Response::object(report).map_err(|error| Error::Internal(error.to_string()))
}

/// Where it stopped, and why.
struct Stop {
    stage: &'static str,
    failure: Failure,
    error: Option<EgressError>,
}

impl Stop {
    fn at(stage: &'static str) -> impl Fn(Failure) -> Self {
        move |failure| Self { stage, failure, error: None }
    }
}

async fn run(
    engine: &Engine,
    call: &Call,
    snapshot: &Arc<Snapshot>,
) -> Result<Map<String, Value>, Error> {
    let started = Instant::now();
    let ended = probe_once(engine, call, snapshot, started).await;
    let mut report = Map::new();
    let passed = match &ended {
        Ok(Found::Nothing) => BEFORE_SENDING,
        Ok(Found::Status(status)) => {
            report.insert("status".into(), json!(status));
            STAGES.len()
        }
        Ok(Found::Protocol(protocol)) => {
            report.insert("protocol".into(), json!(protocol));
            STAGES.len()
        }
        Err(stop) => STAGES.iter().position(|stage| *stage == stop.stage).unwrap_or(0),
    };
    let (tested, rest) = STAGES.split_at(passed);
    let plaintext = snapshot.service.base.origin().scheme == Scheme::Http;
    let tested: Vec<_> = tested.iter().filter(|stage| !(plaintext && **stage == "tls")).collect();
    report.insert("passed".into(), json!(tested));
    match ended {
        Ok(found) => {
            report.insert("verdict".into(), "ok".into());
            report.insert("not_tested".into(), json!(rest));
            if found == Found::Nothing {
                report.insert(
                    "message".into(),
                    "nothing was sent: whether the upstream takes the credential wasn't tested. \
                     Set probe_path to a path that answers only to a valid one"
                        .into(),
                );
            }
        }
        Err(stop) => {
            let help = match &stop.error {
                Some(error) => help(engine, call, snapshot, error, &mut report).await,
                None => String::new(),
            };
            failed(&mut report, call, &stop, &help);
        }
    }
    let duration = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    report.insert("duration_ms".into(), duration.into());
    Ok(report)
}

fn failed(report: &mut Map<String, Value>, call: &Call, stop: &Stop, help: &str) {
    let after = STAGES.iter().skip_while(|stage| **stage != stop.stage).skip(1).collect::<Vec<_>>();
    let text = format!("{}{help}", stop.failure.public_message(&call.mount_point, &call.id));
    report.insert("verdict".into(), "failed".into());
    report.insert("stage".into(), stop.stage.into());
    report.insert("code".into(), stop.failure.code.as_str().into());
    report.insert("not_tested".into(), json!(after));
    report.insert("message".into(), text.into());
}

/// What the upstream answered.
#[derive(PartialEq, Eq)]
enum Found {
    /// It wasn't asked: there is no probe.
    Nothing,
    /// To the probe.
    Status(u16),
    /// To a greeting: the revision of MCP that it speaks.
    Protocol(&'static str),
}

/// Goes through a call's own steps.
async fn probe_once(
    engine: &Engine,
    call: &Call,
    snapshot: &Arc<Snapshot>,
    started: Instant,
) -> Result<Found, Stop> {
    let service = &snapshot.service;
    let deadline = started + service.timeout;
    match service.kind {
        Kind::Http => {}
        Kind::Mcp(_) => return greet(engine, call, snapshot, deadline).await,
    }
    let Some(probe) = &service.probe else {
        if service.placement.wants_secret() {
            credential::bound(service, snapshot.credential.as_ref())
                .map_err(Stop::at("credential_stored"))?;
        }
        return match snapshot.upstream.connect(deadline).await {
            Ok(()) => Ok(Found::Nothing),
            Err(error) => Err(stopped(snapshot, error)),
        };
    };
    let mut decision = Decision::probe(call, &probe.method);
    let ended = send_probe(engine, call, snapshot, probe, deadline, &mut decision).await;
    decision.probed(ended.as_ref().map(|status| *status).map_err(|stop| stop.failure.code));
    ended.map(Found::Status)
}

/// An MCP server is greeted, which wants no probe.
async fn greet(
    engine: &Engine,
    call: &Call,
    snapshot: &Arc<Snapshot>,
    deadline: Instant,
) -> Result<Found, Stop> {
    let service = &snapshot.service;
    let mut decision = Decision::probe(call, &Method::POST);
    let credential = mcp::client::bound(snapshot).map_err(Stop::at("credential_stored"))?;
    decision.uses(credential);
    decision.sending();
    let greeted = mcp::greet::greet(engine, snapshot, &call.id, deadline).await;
    let ended = greeted.map(Found::Protocol).map_err(|greeting| match (greeting, credential) {
        (Greeting::Egress(error), _) => stopped(snapshot, error),
        (Greeting::Status(status), Some(credential))
            if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) =>
        {
            not_accepted(service, credential, status.as_u16(), "this endpoint")
        }
        (Greeting::Status(status), _) => Stop::at("upstream")(Failure::new(
            Code::UpstreamProtocol,
            format!(
                "\"{}\" answered HTTP {} to a greeting. Is base_url the endpoint of an MCP server?",
                service.name,
                status.as_u16()
            ),
        )),
        (Greeting::Refused(failure), _) => Stop::at("upstream")(failure),
    });
    decision.probed(ended.as_ref().map(|_| 200).map_err(|stop| stop.failure.code));
    ended
}

fn not_accepted(service: &Service, credential: &Credential, status: u16, at: &str) -> Stop {
    let place = if credential.name == service.name { "services" } else { "credentials" };
    Stop::at("credential_accepted")(Failure::new(
        Code::CredentialRefused,
        format!(
            "\"{}\" answered {status} to the stored credential. It may be wrong, expired or without \
             the rights for {at}. Store a new one: vault write <mount>/{place}/{}{}",
            service.name,
            credential.name,
            service.placement.written()
        ),
    ))
}

async fn send_probe(
    engine: &Engine,
    call: &Call,
    snapshot: &Snapshot,
    probe: &Probe,
    deadline: Instant,
    decision: &mut Decision,
) -> Result<u16, Stop> {
    let service = &snapshot.service;
    let request = request(service.name.clone(), probe);
    let canonical = canonicalise(request, snapshot).map_err(Stop::at("rules"))?;
    let permit =
        policy::authorize(canonical, service, &snapshot.places).map_err(Stop::at("rules"))?;
    decision.allowed(permit.rule());
    let credential = credential::resolve(&permit, service, snapshot.credential.as_ref())
        .map_err(Stop::at("credential_stored"))?;
    decision.uses(credential);
    let (outbound, reservation) = injector::inject(permit, service, credential, &call.id)
        .map_err(Stop::at("credential_stored"))?;
    let limits = Limits {
        deadline,
        max_response_bytes: service.max_response_bytes,
        room: reservation.room(),
    };
    decision.sending();
    let sent = snapshot.upstream.send(outbound, &limits).await;
    let outcome = answer::note(engine, snapshot, &sent, credential);
    let status = match sent {
        Ok(response) => response.status.as_u16(),
        Err(error) => return Err(stopped(snapshot, error)),
    };
    if probe.expects(status) {
        return Ok(status);
    }
    if let Some(credential) = credential
        && (outcome == Outcome::CredentialRefused || status == 403)
    {
        return Err(not_accepted(service, credential, status, &probe.path));
    }
    Err(Stop::at("upstream")(Failure::new(
        Code::OutcomeUnknown,
        format!("\"{}\" answered {status} to {} {}", service.name, probe.method, probe.path),
    )))
}

fn request(service: Name, probe: &Probe) -> ProxyRequest {
    ProxyRequest {
        service,
        method: probe.method.clone(),
        path: probe.path.clone(),
        query: Vec::new(),
        headers: Vec::new(),
        content_type: None,
        body: Bytes::new(),
    }
}

fn stopped(snapshot: &Snapshot, error: EgressError) -> Stop {
    let failure = Failure::new(answer::code(&error), answer::happened(&snapshot.service, &error));
    Stop { stage: stage(&error), failure, error: Some(error) }
}

fn stage(error: &EgressError) -> &'static str {
    match error {
        EgressError::AddressForbidden { .. } => "address",
        EgressError::TlsFailed { .. } => "tls",
        EgressError::Unreachable { kind } => match kind {
            Unreachable::NameNotFound
            | Unreachable::ResolverFailed
            | Unreachable::ResolveTimeout => "dns",
            Unreachable::TlsTimeout => "tls",
            Unreachable::Refused
            | Unreachable::NoRoute
            | Unreachable::ConnectTimeout
            | Unreachable::ConnectionLost
            | Unreachable::ProxyUnreachable
            | Unreachable::ProxyRefused { .. }
            | Unreachable::ProxyMalformed
            | Unreachable::ProxyTimeout
            | Unreachable::Other => "tcp",
        },
        EgressError::OutcomeUnknown { .. }
        | EgressError::ResponseTooLarge { .. }
        | EgressError::NoRoom
        | EgressError::Undecodable { .. } => "upstream",
    }
}

/// The command that mends it, where one does.
async fn help(
    engine: &Engine,
    call: &Call,
    snapshot: &Snapshot,
    error: &EgressError,
    report: &mut Map<String, Value>,
) -> String {
    let (mount, name) = (&call.mount_point, &snapshot.service.name);
    match error {
        EgressError::AddressForbidden {
            address,
            refusal: Refusal::NotInService | Refusal::NotInMount,
            ..
        } => {
            let present = match engine.mount(call.storage.as_ref()).await {
                Ok(settings) => settings.ceilings.upstream_cidrs.to_string(),
                Err(_) => String::new(),
            };
            let comma = if present.is_empty() { "" } else { "," };
            format!(
                " The address is {address}. To open it: vault write {mount}config \
                 upstream_cidrs={present}{comma}{address} and then: vault write \
                 {mount}services/{name} upstream_cidrs={address}"
            )
        }
        EgressError::TlsFailed { kind } if pinnable(*kind) => {
            let deadline = Instant::now() + snapshot.service.timeout;
            let Ok(fingerprint) = snapshot.upstream.fingerprint(deadline).await else {
                return String::new();
            };
            let fingerprint = crate::storage::hex(&fingerprint);
            let help = format!(
                " The certificate presented has the SHA-256 {fingerprint}. If the device itself shows \
                 the same, pin it: {}",
                pin(mount, snapshot, &fingerprint)
            );
            report.insert("certificate_sha256".into(), fingerprint.into());
            help
        }
        EgressError::AddressForbidden { .. }
        | EgressError::TlsFailed { .. }
        | EgressError::Unreachable { .. }
        | EgressError::OutcomeUnknown { .. }
        | EgressError::ResponseTooLarge { .. }
        | EgressError::NoRoom
        | EgressError::Undecodable { .. } => String::new(),
    }
}

/// The commands that pin a certificate. The pin is part of what the secret is bound to, so the secret
/// is written again, where it is kept.
fn pin(mount: &str, snapshot: &Snapshot, fingerprint: &str) -> String {
    let Service { name, base, placement, trust, .. } = &snapshot.service;
    let secret = placement.written();
    // A pin beside a CA that didn't sign the certificate would be of no use.
    let ca = if trust.ca_sha256.is_some() { " ca_cert=" } else { "" };
    let service = format!("vault write {mount}services/{name}{ca} tls_pin_sha256={fingerprint}");
    match &snapshot.credential {
        Some(shared) if shared.name != *name => {
            let other = match &trust.server_name {
                Some(server_name) => format!(" tls_server_name={server_name}"),
                None => String::new(),
            };
            format!(
                "vault write {mount}credentials/{} origin={} auth={}{other} \
                 tls_pin_sha256={fingerprint}{secret} and then: {service}",
                shared.name,
                base.origin(),
                written_placement(placement)
            )
        }
        Some(_) | None => format!("{service}{secret}"),
    }
}

/// Whether a pin would be the answer to a failure.
fn pinnable(failure: TlsFailure) -> bool {
    match failure {
        TlsFailure::UntrustedIssuer
        | TlsFailure::CaAsServer
        | TlsFailure::Expired
        | TlsFailure::NotYetValid
        | TlsFailure::WrongName
        | TlsFailure::PinMismatch
        | TlsFailure::BadCertificate => true,
        TlsFailure::NotTls
        | TlsFailure::Incompatible
        | TlsFailure::ClientCertificateWanted
        | TlsFailure::Refused
        | TlsFailure::Closed
        | TlsFailure::Protocol => false,
    }
}
