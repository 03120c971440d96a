//! Sends results as the JSON text that they came as: rmcp's types would drop what they don't know.

use std::sync::{Arc, Mutex, PoisonError};

use rmcp::RoleServer;
use rmcp::ServerHandler;
use rmcp::model::{
    ClientRequest, CustomResult, ErrorData, GetExtensions as _, JsonRpcMessage, ProtocolVersion,
    ServerResult,
};
use rmcp::service::{
    NotificationContext, RequestContext, RxJsonRpcMessage, Service, ServiceRole, TxJsonRpcMessage,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::tools::hands_on_arguments;

/// A handler whose answers may be texts.
///
/// rmcp checks each request and answers what it is made for; where the handler has put a text into
/// the request's [`Slot`], that goes out in place of the typed answer.
#[derive(Clone, Debug)]
pub(crate) struct Raw<H>(pub(super) H);

/// The place for an answer's text.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Value>>>);

/// The text of a call's arguments, as it was written.
#[derive(Clone, Debug)]
pub(super) struct RawArguments(pub(super) Arc<str>);

impl Slot {
    /// Answers a request with the JSON text of a result.
    pub(super) fn answer(context: &RequestContext<RoleServer>, text: String) {
        // A line is a message: a line's end between two tokens is as good as a space.
        Self::put(context, Value::String(text.replace(['\n', '\r'], " ")));
    }

    /// Answers a request with a result.
    pub(super) fn answer_json(context: &RequestContext<RoleServer>, result: Value) {
        Self::put(context, result);
    }

    fn put(context: &RequestContext<RoleServer>, value: Value) {
        if let Some(slot) = context.extensions.get::<Self>() {
            *slot.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        }
    }

    fn take(&self) -> Option<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<H: ServerHandler> Service<RoleServer> for Raw<H> {
    async fn handle_request(
        &self,
        request: <RoleServer as ServiceRole>::PeerReq,
        mut context: RequestContext<RoleServer>,
    ) -> Result<<RoleServer as ServiceRole>::Resp, ErrorData> {
        let slot = Slot::default();
        context.extensions.insert(slot.clone());
        let result = Service::handle_request(&self.0, request, context).await?;
        Ok(match slot.take() {
            Some(value) => ServerResult::CustomResult(CustomResult::new(value)),
            None => result,
        })
    }

    async fn handle_notification(
        &self,
        notification: <RoleServer as ServiceRole>::PeerNot,
        context: NotificationContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Service::handle_notification(&self.0, notification, context).await
    }

    fn get_info(&self) -> <RoleServer as ServiceRole>::Info {
        Service::get_info(&self.0)
    }

    fn supported_protocol_versions(&self) -> std::borrow::Cow<'static, [ProtocolVersion]> {
        Service::supported_protocol_versions(&self.0)
    }
}

/// Keeps the text of a call's arguments beside the message, so that numbers and the order of keys
/// reach the upstream as they were written.
pub(super) fn keep_arguments(message: &mut RxJsonRpcMessage<RoleServer>, line: &[u8]) {
    #[derive(Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        params: Params<'a>,
    }
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow)]
        arguments: &'a RawValue,
    }
    if let JsonRpcMessage::Request(request) = message
        && let ClientRequest::CallToolRequest(call) = &mut request.request
        && hands_on_arguments(&call.params.name)
        && let Ok(line) = serde_json::from_slice::<Request<'_>>(line)
        && line.params.arguments.get() != "null"
    {
        call.extensions_mut().insert(RawArguments(line.params.arguments.get().into()));
    }
}

/// The line of a response whose result is a text of JSON. No result of MCP is a string.
pub(super) fn line(message: &TxJsonRpcMessage<RoleServer>) -> Option<Vec<u8>> {
    let JsonRpcMessage::Response(response) = message else { return None };
    let ServerResult::CustomResult(CustomResult(Value::String(text), ..)) = &response.result else {
        return None;
    };
    let id = serde_json::to_string(&response.id).ok()?;
    Some(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{text}}}").into_bytes())
}
