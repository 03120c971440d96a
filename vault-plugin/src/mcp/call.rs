//! A call of an MCP server: of a tool, a resource or a prompt. The steps are those of every proxied
//! request, with messages in the place of paths.
//!
//! The call itself is sent once. There is one exception, which the protocol makes safe: a server that
//! answers 404 to a session's id has ended the session and looked at nothing else (MCP 2025-11-25,
//! session management), so the call goes out once more in a new one. One that names the call in its
//! answer has looked at it, whatever the status and the form.

use std::ops::ControlFlow;
use std::sync::Arc;

use http::StatusCode;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use vault_sdk::{Call, Fields, Given, Response};

use super::client::{self, Answered, Client, Opened, Reply, bound};
use super::cut::Shape;
use super::definition::MAX_URI;
use super::headers::mirrored;
use super::listing::not_mcp;
use super::message::{Request, code_of};
use super::result::{self, Fit, McpAnswer};
use super::session::Session;
use super::trouble::Trouble;
use super::{raw, trust};
use crate::bounds;
use crate::engine::{Engine, Outcome, Snapshot};
use crate::error::{Error, Failure};
use crate::name::Name;
use crate::proxy::answer::{self, Refused};
use crate::proxy::decision::Decision;
use crate::proxy::policy;
use crate::proxy::rules::Named;
use crate::proxy::rules::uri::{has_another_spelling, misleads};
use crate::proxy::service::{Kind, McpService};

/// What is asked for, parsed.
enum Asked {
    Tool { segment: String, arguments: Box<RawValue> },
    Resource { uri: String },
    Prompt { segment: String, arguments: Box<RawValue> },
}

/// What is asked for, by the server's own name.
struct Wanted {
    named: Named,
    name: String,
    shape: Shape,
    request: Request,
    /// The arguments that are repeated in headers.
    mirrored: http::HeaderMap,
}

/// Calls one tool.
///
/// # Errors
/// One [`Failure`] for everything that is decided here; storage's errors only before anything is sent.
pub async fn call_tool(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    made(engine, call, "tools/call", "tool", |fields| {
        let arguments = arguments(fields)?;
        Ok(Asked::Tool { segment: fields.text("tool").to_owned(), arguments })
    })
    .await
}

/// Reads one resource.
///
/// # Errors
/// As of [`call_tool`].
pub async fn read_resource(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    made(engine, call, "resources/read", "", |fields| match fields.text("uri") {
        "" => Err(Failure::invalid("uri is missing: which resource to read. Nothing was sent")),
        uri if uri.chars().nth(MAX_URI).is_some() => Err(Failure::invalid(format!(
            "uri has over {MAX_URI} characters, as none has that can be approved. Nothing was sent"
        ))),
        uri => Ok(Asked::Resource { uri: uri.to_owned() }),
    })
    .await
}

/// Gets one prompt.
///
/// # Errors
/// As of [`call_tool`].
pub async fn get_prompt(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    made(engine, call, "prompts/get", "prompt", |fields| {
        let arguments = arguments(fields)?;
        let mut are_texts = true;
        let read = raw::fields(arguments.get(), |_, value| {
            are_texts = value.get().starts_with('"');
            if are_texts { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if read.is_none() || !are_texts {
            return Err(Failure::invalid(
                "arguments of a prompt are texts by name, such as {\"topic\":\"x\"}. Nothing was sent",
            ));
        }
        Ok(Asked::Prompt { segment: fields.text("prompt").to_owned(), arguments })
    })
    .await
}

fn arguments(fields: &mut Fields) -> Result<Box<RawValue>, Failure> {
    let text = fields.str("arguments").and_then(Given::value).unwrap_or_else(|| "{}".to_owned());
    // What they mean is the server's business, to the letter.
    match RawValue::from_string(text) {
        Ok(arguments) if arguments.get().starts_with('{') => Ok(arguments),
        Ok(_) | Err(_) => Err(Failure::invalid(
            "arguments want a JSON object, or its text, such as {\"id\":7}. Nothing was sent",
        )),
    }
}

async fn made(
    engine: Arc<Engine>,
    mut call: Call,
    method: &str,
    named_by: &str,
    parse: impl FnOnce(&mut Fields) -> Result<Asked, Failure>,
) -> Result<Response, Error> {
    let mut decision = Decision::message(&call, method, call.fields.text(named_by));
    let outcome = match parse(&mut call.fields) {
        Ok(asked) => pipeline(&engine, call, asked, &mut decision).await,
        Err(failure) => Err(failure.into()),
    };
    decision.answered(outcome.as_ref().map(McpAnswer::is_result));
    outcome?.into_response()
}

async fn pipeline(
    engine: &Arc<Engine>,
    call: Call,
    asked: Asked,
    decision: &mut Decision,
) -> Result<McpAnswer, Error> {
    let started = Instant::now();
    let service = Name::parse(call.fields.text("service"))
        .map_err(|error| Failure::invalid(format!("the service's name: {error}")))?;
    let snapshot = crate::proxy::snapshot(engine, &call, &service).await?;
    let mcp = of(&snapshot)?;
    let catalog_revision = engine.revision(call.storage.as_ref()).await?;
    let wanted = wanted(engine, &call, &snapshot, asked).await?;
    let service = &snapshot.service;
    let bytes = wanted.request.body(None).len();
    let passage =
        policy::admit(Some((wanted.named, &wanted.name)), bytes, service, mcp, &snapshot.places)?;
    decision.allowed(passage.rule());
    let credential = bound(&snapshot)?;
    decision.uses(credential);
    let deadline = started + service.timeout;
    let client = Client {
        snapshot: &snapshot,
        passage: &passage,
        credential,
        request_id: &call.id,
        deadline,
    };
    let most = match call.wrap_ttl {
        Some(_) => service.max_response_bytes.min(bounds::WRAPPED),
        None => service.max_response_bytes,
    };
    let who = who(&call);
    let mut conversation = Conversation {
        engine: engine.as_ref(),
        client: &client,
        who: who.as_deref(),
        decision,
        protocol: "",
        session: None,
        called: false,
    };
    let answered = conversation.hold(&wanted).await;
    let Conversation { protocol, session, called, .. } = conversation;
    let session = session.as_deref();
    match &answered {
        Ok(_) => engine.note(&snapshot.service_id, credential, Outcome::Answered),
        Err(trouble) if called && trouble.is_of_the_call() => {
            engine.note(&snapshot.service_id, credential, Outcome::Answered);
        }
        Err(trouble) => trouble.note(engine, &snapshot, credential),
    }
    let (clean, was_refused) = match answered {
        Ok(answered) => {
            let fit = Fit { shape: wanted.shape, most };
            let clean = result::clean(&client, session, answered, fit).await;
            (clean.map_err(|trouble| trouble.of_the_call(service))?, false)
        }
        Err(Trouble::Status(refusal)) if result::is_before_execution(refusal.status) => {
            let was_refused = refusal.status == StatusCode::UNAUTHORIZED;
            let clean = result::refusal(&client, session, refusal).await;
            (clean.map_err(|trouble| trouble.of_the_call(service))?, was_refused)
        }
        Err(trouble) if called => return Err(trouble.of_the_call(service).into()),
        Err(trouble) => return Err(trouble.before_the_call(service).into()),
    };
    let answer = McpAnswer {
        clean,
        protocol,
        tool: (wanted.named == Named::Tool).then(|| wanted.name.clone()),
        rule: passage.rule().unwrap_or_default().to_owned(),
        refused: credential
            .filter(|_| was_refused)
            .map(|credential| Refused::of(engine, credential)),
        request_id: call.id.clone(),
        revision: catalog_revision,
        duration: started.elapsed(),
        memory: passage.reservation().kept_for_large(),
    };
    if call.wrap_ttl.is_some() { Ok(answer.storable(service)?) } else { Ok(answer) }
}

/// What the service has as an MCP server.
pub(crate) fn of(snapshot: &Snapshot) -> Result<&McpService, Failure> {
    match &snapshot.service.kind {
        Kind::Mcp(mcp) => Ok(mcp),
        Kind::Http => Err(not_mcp(snapshot)),
    }
}

/// Finds what is asked for by its path segment.
async fn wanted(
    engine: &Arc<Engine>,
    call: &Call,
    snapshot: &Snapshot,
    asked: Asked,
) -> Result<Wanted, Error> {
    let none = http::HeaderMap::new;
    // Before anything of that length is looked at.
    let fits = |arguments: &RawValue| policy::fits(arguments.get().len(), &snapshot.service);
    Ok(match asked {
        Asked::Tool { segment, arguments } => {
            fits(&arguments)?;
            let tool = trust::executable(engine, &call.storage, snapshot, &segment).await?;
            let mirrored = tool.mirror.map_or_else(none, |mirror| mirrored(&mirror, &arguments));
            let request = Request::new("tools/call")
                .of("name", &tool.upstream_name)
                .with_raw("arguments", arguments);
            let name = tool.upstream_name;
            Wanted { named: Named::Tool, name, shape: Shape::Tool, request, mirrored }
        }
        Asked::Resource { uri } => {
            has_one_reading(&uri, of(snapshot)?)?;
            trust::readable(engine, &call.storage, snapshot, &uri).await?;
            let request = Request::new("resources/read").of("uri", &uri);
            let shape = Shape::Resource;
            Wanted { named: Named::Resource, name: uri, shape, request, mirrored: none() }
        }
        Asked::Prompt { segment, arguments } => {
            fits(&arguments)?;
            let name = trust::promptable(engine, &call.storage, snapshot, &segment).await?;
            let request =
                Request::new("prompts/get").of("name", &name).with_raw("arguments", arguments);
            let shape = Shape::Prompt;
            Wanted { named: Named::Prompt, name, shape, request, mirrored: none() }
        }
    })
}

/// What is judged by its spelling has one.
fn has_one_reading(uri: &str, mcp: &McpService) -> Result<(), Failure> {
    let problem = if mcp.rules.is_empty() { misleads(uri) } else { has_another_spelling(uri) };
    problem.map_or(Ok(()), |problem| {
        Err(Failure::invalid(format!(
            "the URI {problem}, so that servers may read it otherwise than it is judged here. Nothing \
             was sent. Spell it as the list of resources does"
        )))
    })
}

/// Whose session a call is in: an identity's, else a token's. Without either, nobody's: it has one of
/// its own.
fn who(call: &Call) -> Option<String> {
    let caller = &call.caller;
    match (caller.entity_id.as_str(), caller.token_accessor.as_str()) {
        ("", "") => None,
        ("", accessor) => Some(format!("token {accessor}")),
        (entity, _) => Some(format!("entity {entity}")),
    }
}

struct Conversation<'c> {
    engine: &'c Engine,
    client: &'c Client<'c>,
    who: Option<&'c str>,
    decision: &'c mut Decision,
    /// Once it is agreed on.
    protocol: &'static str,
    /// The one that the call was last in.
    session: Option<Arc<Session>>,
    /// Whether the call itself was sent.
    called: bool,
}

impl Conversation<'_> {
    /// Asks, in a session where the server wants one.
    async fn hold(&mut self, wanted: &Wanted) -> Result<Answered, Trouble> {
        let mut is_first = true;
        loop {
            let opened = self.client.open(self.who).await?;
            self.protocol = opened.revision.as_str();
            self.session.clone_from(&opened.framing.session);
            let answered = self.ask(wanted, &opened).await;
            let refused = match &answered {
                Ok(answered) if matches!(answered.reply, Reply::Error(_)) => Some(answered.status),
                Err(Trouble::Status(refusal)) => Some(refusal.status),
                Ok(_) | Err(_) => None,
            };
            let in_session =
                opened.framing.session.as_ref().is_some_and(|session| session.id.is_some());
            if refused == Some(StatusCode::NOT_FOUND) && in_session {
                client::lost(&opened).await;
                if !names_the_call(&answered) {
                    opened.framing.session.iter().for_each(|session| session.forgo());
                    if std::mem::take(&mut is_first) {
                        self.called = false;
                        continue;
                    }
                }
            }
            if refused.is_some_and(is_about_the_protocol) && !is_about_arguments(&answered) {
                // It may be another server by now, or another version of it: the next call asks.
                client::lost(&opened).await;
                self.client.snapshot.mcp.era.forget();
            }
            return answered;
        }
    }

    async fn ask(&mut self, wanted: &Wanted, opened: &Opened) -> Result<Answered, Trouble> {
        let client = self.client;
        let mut framing = opened.framing.clone();
        if opened.revision.is_stateless() {
            framing.headers.extend(wanted.mirrored.clone());
        }
        let farewell = client.farewell(&wanted.request, &framing)?;
        if client.deadline <= Instant::now() {
            return Err(client.no_time().into());
        }
        if self.engine.sent().note(client.request_id).is_err() {
            return Err(answer::sent_before(&client.snapshot.service).into());
        }
        self.decision.sending();
        self.called = true;
        let leaving = farewell.map(|farewell| client.parting(farewell));
        let answered = client.ask(&wanted.request, &framing).await;
        let is_over = match &answered {
            Ok(_) => true,
            // Nobody waits any more, but the server may still be at it.
            Err(Trouble::Egress(error)) => !error.sent(),
            Err(
                Trouble::Status(_) | Trouble::NotMcp(_) | Trouble::Asked(_) | Trouble::Failure(_),
            ) => true,
        };
        if is_over && let Some(leaving) = leaving {
            leaving.forgo();
        }
        answered
    }
}

/// A 4xx that may mean that the server is another one than before.
fn is_about_the_protocol(status: StatusCode) -> bool {
    let about_the_caller = [
        StatusCode::UNAUTHORIZED,
        StatusCode::PAYMENT_REQUIRED,
        StatusCode::FORBIDDEN,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    status.is_client_error() && !about_the_caller.contains(&status)
}

/// Whether the server has looked at the call, or may have.
fn names_the_call(answered: &Result<Answered, Trouble>) -> bool {
    match answered {
        Ok(answered) => answered.names_request,
        Err(Trouble::Status(refusal)) => refusal.names_request,
        Err(Trouble::Egress(_) | Trouble::NotMcp(_) | Trouble::Asked(_) | Trouble::Failure(_)) => {
            true
        }
    }
}

/// Invalid params (JSON-RPC 2.0, section 5.1): the server understood.
fn is_about_arguments(answered: &Result<Answered, Trouble>) -> bool {
    match answered {
        Ok(Answered { reply: Reply::Error(error), .. }) => code_of(error) == Some(-32602),
        Ok(_) | Err(_) => false,
    }
}

/// What a call of a tool would be, for a dry run.
pub(crate) async fn explain(
    engine: &Arc<Engine>,
    call: &Call,
    snapshot: &Snapshot,
    segment: &str,
    shown: &mut Map<String, Value>,
) -> Result<(), Error> {
    let service = &snapshot.service;
    let mcp = of(snapshot)?;
    shown.insert("method".into(), "POST".into());
    let slash = if service.base.ends_in_slash() { "/" } else { "" };
    shown.insert("url".into(), format!("{}{slash}", service.base).into());
    let tool = match segment {
        "" => None,
        segment => Some(trust::explained(engine, call.storage.as_ref(), snapshot, segment).await?),
    };
    let asked = tool.as_ref().map(|tool| (Named::Tool, tool.upstream_name.as_str()));
    if let Some((_, name)) = asked {
        shown.insert("tool".into(), json!(name));
    }
    let passage = policy::admit(asked, 0, service, mcp, &snapshot.places)?;
    shown.insert("rule".into(), passage.rule().unwrap_or_default().into());
    Ok(())
}
