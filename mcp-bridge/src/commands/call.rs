//! Sends one request through Vault for an operator or a script.

use std::io::Read as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::JsonObject;
use serde_json::{Map, Value};

use super::dry_run;
use crate::catalog::Store;
use crate::cli::{self, Output};
use crate::config::{CredentialSource, OperatorToken};
use crate::error::{CallError, CommandError, Exit};
use crate::process;
use crate::proxy::{self, Answer, Payload, ProxyRequest};
use crate::tools::{Shape, Tools, render, status_line};

/// Sends the request and prints the answer.
///
/// # Errors
///
/// [`CommandError`], whose exit status tells who refused.
pub(crate) fn run(settings: &cli::Settings, arguments: &cli::Call) -> Result<Exit, CommandError> {
    let fields = fields(arguments)?;
    let data = arguments.data.as_deref().map(read_data).transpose()?;
    let config = super::prepare_with_pin(settings, OperatorToken::Fallback)?;
    let output = arguments.output;
    let dry = arguments.dry_run;
    if dry {
        super::spare_delivered(&config)?;
    } else if let CredentialSource::Delivered(_) = config.credential {
        tracing::warn!("this uses up the delivered wrapping token: another start needs another");
    }
    super::block_on(async move {
        let store = Arc::new(Store::new(config));
        if dry {
            let outcome = match request(&store, fields, data) {
                Ok(request) => dry_run::run(&store, &request, output == Output::Json).await,
                Err(error) => Err(error.into()),
            };
            store.session().revoke().await;
            return outcome;
        }
        let outcome = call(&store, fields, data).await;
        store.session().revoke().await;
        let (request, answer) = outcome?;
        print(&request, &answer, output)?;
        Ok(if answer.status >= 400 { Exit::Upstream } else { Exit::Success })
    })
}

async fn call(
    store: &Arc<Store>,
    fields: JsonObject,
    data: Option<Vec<u8>>,
) -> Result<(ProxyRequest, Answer), CallError> {
    let request = request(store, fields, data)?;
    let answer = proxy::send(store, &request).await?;
    Ok((request, answer))
}

fn request(
    store: &Arc<Store>,
    fields: JsonObject,
    data: Option<Vec<u8>>,
) -> Result<ProxyRequest, CallError> {
    let mut request = Tools::new(Arc::clone(store), false).request(fields)?;
    if let Some(data) = data {
        request.payload = match String::from_utf8(data) {
            Ok(text) => Payload::Text(text),
            Err(error) => Payload::Bytes(error.into_bytes()),
        };
    }
    Ok(request)
}

/// Writes the arguments as an agent would, so that both are read by the same rules.
fn fields(arguments: &cli::Call) -> Result<JsonObject, CommandError> {
    let mut fields = JsonObject::new();
    for (name, value) in
        [("service", &arguments.service), ("method", &arguments.method), ("path", &arguments.path)]
    {
        fields.insert(name.to_owned(), Value::from(value.as_str()));
    }
    for (name, pairs) in
        [("query", &arguments.query), ("headers", &arguments.header), ("form", &arguments.form)]
    {
        if !pairs.is_empty() {
            fields.insert(name.to_owned(), Value::Object(object(name, pairs)?));
        }
    }
    if let Some(json) = &arguments.json {
        fields.insert("json".to_owned(), Value::from(json.as_str()));
    }
    Ok(fields)
}

fn object(name: &str, pairs: &[String]) -> Result<Map<String, Value>, CommandError> {
    let mut object = Map::new();
    for pair in pairs {
        let separators = if name == "headers" { &['=', ':'][..] } else { &['='][..] };
        let Some((key, value)) = pair.split_once(separators) else {
            return Err(CommandError::Argument(format!("{name}: expected NAME=VALUE")));
        };
        let value = if name == "headers" { value.trim() } else { value };
        match object.get_mut(key) {
            None => {
                object.insert(key.to_owned(), Value::from(value));
            }
            Some(Value::Array(values)) => values.push(Value::from(value)),
            Some(present) => {
                *present = Value::Array(vec![present.take(), Value::from(value)]);
            }
        }
    }
    Ok(object)
}

fn read_data(data: &str) -> Result<Vec<u8>, CommandError> {
    let read = match (data, data.strip_prefix('@')) {
        ("-", _) => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        }
        (_, Some(path)) => std::fs::read(path),
        (text, None) => Ok(text.as_bytes().to_vec()),
    };
    read.map_err(|error| CommandError::Argument(format!("--data can't be read: {}", error.kind())))
}

fn print(request: &ProxyRequest, answer: &Answer, output: Output) -> Result<(), CommandError> {
    match output {
        Output::Body => {
            process::note(&status_line(request, answer));
            let body = match (&answer.body, &answer.body_base64) {
                (_, Some(encoded)) => STANDARD.decode(encoded).map_err(|_| CommandError::Output)?,
                (Some(body), None) => body.clone().into_bytes(),
                (None, None) => Vec::new(),
            };
            process::output(&body)
        }
        Output::Json => {
            let json = serde_json::to_string(answer).map_err(|_| CommandError::Output)?;
            process::output(format!("{json}\n").as_bytes())
        }
        Output::Agent => {
            let result = render(request, answer, &Shape::default(), false);
            let text = result.content.iter().filter_map(|block| block.as_text());
            let text = text.map(|text| text.text.as_str()).collect::<Vec<_>>().join("\n");
            process::output(format!("{text}\n").as_bytes())
        }
    }
}
