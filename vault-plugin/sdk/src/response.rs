//! What a handler answers.

use std::any::Any;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Error;

/// The answer of an operation: nothing (404 to a read, 204 to a write), or data; warnings with
/// either.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub(crate) data: Option<Map<String, Value>>,
    pub(crate) warnings: Vec<String>,
    pub(crate) held: Option<Arc<dyn Any + Send + Sync>>,
}

impl Response {
    /// Nothing to say: 404 for a read or list, 204 for a write.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Answers with the fields of `data`.
    ///
    /// The host turns numbers into float64: whole numbers over 2^53 belong into strings.
    ///
    /// # Errors
    /// [`Error::Internal`] when `data` isn't a JSON object, or holds a key that would make the host
    /// treat it as a raw HTTP answer or as an error.
    pub fn data(data: impl Serialize) -> Result<Self, Error> {
        match serde_json::to_value(data) {
            Ok(Value::Object(data)) => Self::object(data),
            Ok(_) => Err(Error::Internal("response data is not an object".into())),
            Err(error) => Err(Error::Internal(format!("response data: {error}"))),
        }
    }

    /// The same for a ready object, whose values aren't copied.
    ///
    /// # Errors
    /// [`Error::Internal`] for a reserved key, as for [`Response::data`].
    pub fn object(data: Map<String, Value>) -> Result<Self, Error> {
        // OpenBao internal/http/logical.go: their presence alone changes the answer's kind.
        if data.contains_key("http_status_code") || data.contains_key("error") {
            return Err(Error::Internal("response data uses a reserved key".into()));
        }
        Ok(Self { data: Some(data), ..Self::default() })
    }

    /// Answers a list with the names, and with detail per name under `key_info`.
    /// An empty list is nothing there: 404, as the host's own engines answer.
    pub fn list(keys: Vec<String>, key_info: Map<String, Value>) -> Self {
        if keys.is_empty() {
            return Self::empty();
        }
        let mut data = Map::new();
        data.insert("keys".into(), keys.into());
        if !key_info.is_empty() {
            data.insert("key_info".into(), key_info.into());
        }
        Self { data: Some(data), ..Self::default() }
    }

    /// Adds a warning, which the CLI shows above the data.
    #[must_use]
    pub fn warn(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }

    /// Adds several warnings.
    #[must_use]
    pub fn warn_all(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// Keeps what is given until the answer has been sent to the host, and drops it then: such as a share
    /// of the memory that large answers have together.
    #[must_use]
    pub fn holding<T: Any + Send + Sync>(self, held: Option<Arc<T>>) -> Self {
        Self { held: held.map(|held| held as _), ..self }
    }

    /// The data, for tests of paths.
    pub fn as_data(&self) -> Option<&Map<String, Value>> {
        self.data.as_ref()
    }

    /// The warnings, for tests of paths.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
