//! Which revision of MCP a server speaks: asked once, remembered as long as its snapshot lives, and
//! asked anew when the server says that it changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use super::client::{Answered, Client, Framing, Reply, Server};
use super::message::{self, Request, Revision, code_of};
use super::parting::Parting;
use super::raw::{self, few_fields};
use super::sanitise;
use super::session::{Session, Slot};
use super::trouble::Trouble;

/// How long a server without the stateless revision may ponder on a question that it doesn't know.
const PROBE: Duration = Duration::from_secs(5);
/// How long an answer to it is remembered: a server may learn another revision.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// How much a server may say of itself, in bytes.
const HELLO_BYTES: usize = 1 << 20;
/// How much of its instructions is taken, in bytes: far more than models are shown.
pub(super) const INSTRUCTIONS_BYTES: usize = 64 << 10;

/// What a server says of itself.
#[derive(Debug, Default)]
pub(super) struct Hello {
    pub(super) server: Server,
    /// Whether its instructions were longer than what is taken of them.
    pub(super) has_more_instructions: bool,
    pub(super) has_prompts: bool,
    pub(super) has_resources: bool,
}

/// How a server is spoken to.
#[derive(Clone, Debug)]
pub(super) enum Era {
    /// Each request by itself (2026-07-28).
    Stateless(Arc<Hello>),
    /// After a handshake.
    Handshake,
}

/// What is remembered of one service.
#[derive(Debug, Default)]
pub struct Remembered {
    era: Mutex<Option<(Instant, Era)>>,
    /// Held by who asks.
    asking: tokio::sync::Mutex<()>,
}

impl Remembered {
    fn get(&self) -> Option<Era> {
        let era = self.era.lock().unwrap_or_else(PoisonError::into_inner);
        let (when, era) = era.as_ref()?;
        (when.elapsed() < REMEMBERED).then(|| era.clone())
    }

    pub(super) fn set(&self, era: Era) {
        *self.era.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), era));
    }

    /// Has the next call ask again.
    pub(super) fn forget(&self) {
        *self.era.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Discovered {
    supported_versions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Initialized {
    protocol_version: String,
}

impl Client<'_> {
    /// How the server is spoken to.
    ///
    /// A server from before the stateless revision answers the question with whatever it has for an
    /// unknown method, so all that isn't an answer means a handshake; so does silence. Whether that is
    /// to be remembered, once there is a session, is given beside it.
    pub(super) async fn era(&self) -> Result<(Era, bool), Trouble> {
        let remembered = &self.snapshot.mcp.era;
        if let Some(era) = remembered.get() {
            return Ok((era, false));
        }
        let asking = timeout_at(self.deadline, remembered.asking.lock()).await;
        let _asking = asking.map_err(|_| self.no_time())?;
        if let Some(era) = remembered.get() {
            return Ok((era, false));
        }
        let handshake = Ok((Era::Handshake, true));
        let request = Request::new("server/discover").at_most(HELLO_BYTES);
        let framing = Framing::of(Revision::STATELESS);
        let until = self.deadline.min(Instant::now() + PROBE);
        let mut answered = self.ask_until(&request, &framing, until).await;
        if let Ok(Answered { reply: Reply::Error(error), .. }) = &answered
            && offers_stateless(error)
        {
            answered = self.ask_until(&request, &framing, until).await;
        }
        match answered {
            Ok(answered) => match answered.reply {
                Reply::Error(_) => handshake,
                Reply::Result(text) => {
                    let text = self.cleaned(text).await?;
                    let supported = serde_json::from_str::<Discovered>(&text)
                        .map(|discovered| discovered.supported_versions)
                        .unwrap_or_default();
                    if !supported.iter().any(|one| one == Revision::STATELESS.as_str()) {
                        return handshake;
                    }
                    let era = Era::Stateless(Arc::new(hello(&text)));
                    remembered.set(era.clone());
                    Ok((era, false))
                }
            },
            Err(Trouble::Egress(error)) if !error.sent() => Err(error.into()),
            Err(trouble @ (Trouble::Failure(_) | Trouble::Asked(_))) => Err(trouble),
            Err(Trouble::Status(refusal)) if refusal.status == http::StatusCode::UNAUTHORIZED => {
                Err(Trouble::Status(refusal))
            }
            Err(Trouble::Egress(_) | Trouble::Status(_) | Trouble::NotMcp(_)) => handshake,
        }
    }

    /// The session in a slot, opened if there is none.
    pub(super) async fn session(&self, slot: &Slot) -> Result<Arc<Session>, Trouble> {
        let held = timeout_at(self.deadline, slot.session.lock()).await;
        let mut held = held.map_err(|_| self.no_time())?;
        if let Some(session) = &*held {
            return Ok(Arc::clone(session));
        }
        let (session, parting) = self.handshake().await?;
        if let Some(parting) = parting {
            parting.forgo();
        }
        let session = Arc::new(session.kept_by(self.snapshot));
        *held = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Agrees on a revision and a session (MCP 2025-11-25, lifecycle), which ends with what is given beside
    /// it, or when nobody waits for the agreement any more.
    pub(super) async fn handshake(&self) -> Result<(Session, Option<Parting>), Trouble> {
        let request = Request::new("initialize")
            .at_most(HELLO_BYTES)
            .with("protocolVersion", Revision::WITH_HANDSHAKE.as_str())
            .with("capabilities", serde_json::json!({}))
            .with("clientInfo", message::client_info());
        let answered = self.ask_until(&request, &Framing::default(), self.deadline).await?;
        let Reply::Result(text) = answered.reply else {
            return Err(Trouble::NotMcp("it refused the handshake (initialize)"));
        };
        let revision = serde_json::from_str::<Initialized>(&text)
            .ok()
            .and_then(|initialized| Revision::parse(&initialized.protocol_version))
            .filter(|revision| !revision.is_stateless());
        let id = answered.session_id;
        // Whatever becomes of it: the server has a session now.
        let closing = id.as_ref().map(|id| self.closing(id, revision)).transpose()?;
        let parting = closing.map(|closing| self.parting(closing));
        let Some(revision) = revision else {
            return Err(Trouble::NotMcp(
                "it speaks none of the revisions 2025-03-26 to 2026-07-28",
            ));
        };
        let hello = Arc::new(hello(&self.cleaned(text).await?));
        let session = Session::new(id, revision, hello);
        let initialized = message::notification(
            "notifications/initialized",
            Value::Object(serde_json::Map::new()),
        );
        self.tell(initialized, "notifications/initialized", &session).await?;
        Ok((session, parting))
    }
}

/// A server refuses the revision of a request and names the stateless one among its own
/// (`UnsupportedProtocolVersion`, MCP 2026-07-28): it did so on the way to an upgrade, or by mistake.
fn offers_stateless(error: &str) -> bool {
    const UNSUPPORTED_PROTOCOL_VERSION: i64 = -32022;
    #[derive(Deserialize)]
    struct Refusal {
        data: Supported,
    }
    #[derive(Deserialize)]
    struct Supported {
        supported: Vec<String>,
    }
    code_of(error) == Some(UNSUPPORTED_PROTOCOL_VERSION)
        && serde_json::from_str(error).is_ok_and(|Refusal { data: Supported { supported } }| {
            supported.iter().any(|one| one == Revision::STATELESS.as_str())
        })
}

/// Reads the answer to `server/discover` or `initialize`.
fn hello(answer: &str) -> Hello {
    fn fields<'r>(of: Option<&&'r RawValue>) -> BTreeMap<String, &'r RawValue> {
        of.and_then(|of| few_fields(of.get())).unwrap_or_default()
    }
    let answer = few_fields(answer).unwrap_or_default();
    let capabilities = fields(answer.get("capabilities"));
    let meta = fields(answer.get("_meta"));
    let server = answer.get("serverInfo");
    let server = fields(server.or_else(|| meta.get("io.modelcontextprotocol/serverInfo")));
    let text = |of: Option<&&RawValue>| of.and_then(|of| raw::text(of));
    let name =
        |field| text(server.get(field)).map(|text| sanitise::name(&text)).unwrap_or_default();
    let has = |capability| {
        capabilities.get(capability).is_some_and(|given: &&RawValue| given.get().starts_with('{'))
    };
    let mut instructions = text(answer.get("instructions"));
    let mut has_more_instructions = false;
    if let Some(text) = &mut instructions {
        has_more_instructions = text.len() > INSTRUCTIONS_BYTES;
        let most = INSTRUCTIONS_BYTES.min(text.len());
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
    }
    Hello {
        server: Server { name: name("name"), version: name("version"), instructions },
        has_more_instructions,
        has_prompts: has("prompts"),
        has_resources: has("resources"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_itself_is_read_in_both_eras_and_within_bounds() {
        let old = r#"{"serverInfo":{"name":"a\u200b","version":"1"},"instructions":"Hi.",
            "capabilities":{"prompts":{},"resources":7}}"#;
        let new = r#"{"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"a","version":"1"}},
            "instructions":"Hi.","capabilities":{"prompts":{}}}"#;
        for text in [old, new] {
            let hello = hello(text);
            assert_eq!((hello.server.name.as_str(), hello.server.version.as_str()), ("a", "1"));
            assert_eq!(hello.server.instructions.as_deref(), Some("Hi."));
            assert_eq!((hello.has_prompts, hello.has_resources), (true, false));
        }
        let long = serde_json::json!({ "instructions": "é".repeat(HELLO_BYTES / 2) });
        let hello = hello(&long.to_string());
        assert!(hello.has_more_instructions);
        assert_eq!(hello.server.instructions.map(|text| text.len()), Some(INSTRUCTIONS_BYTES));
    }

    #[test]
    fn odd_answers_are_no_hello() {
        for text in ["", "[]", "{}", r#"{"serverInfo":[],"instructions":7,"capabilities":null}"#] {
            let hello = hello(text);
            assert_eq!((hello.server.name.as_str(), hello.server.instructions), ("", None));
            assert!(!hello.has_prompts);
        }
    }
}
