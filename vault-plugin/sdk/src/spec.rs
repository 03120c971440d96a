//! What an operation declares beside its handler: summary, query, answers, an example.

use serde_json::Value;

use crate::field::Field;

/// An operation as help and the OpenAPI document show it.
///
/// A summary alone makes one. Once an answer is declared, a debug build compares every answer of the
/// handler with it: a field that is undeclared, missing or of another type ends the request with
/// [`Error::Internal`](crate::Error::Internal), so that no test passes with it. A release build
/// doesn't look.
///
/// ```
/// use vault_sdk::{Field, FieldType, Spec};
///
/// Spec::new("Reads a note.")
///     .data(
///         "The note.",
///         [
///             Field::new("text", FieldType::Str, "What it says."),
///             Field::new("seen", FieldType::Pairs, "Who has read it, by name.").of([
///                 Field::new("count", FieldType::Int, "How often."),
///                 Field::new("last", FieldType::Str, "When.").optional(),
///             ]),
///         ],
///     )
///     .empty("There is no such note.");
/// ```
#[derive(Clone, Debug)]
pub struct Spec {
    pub(crate) summary: &'static str,
    pub(crate) query: Vec<Field>,
    pub(crate) data: Option<Data>,
    pub(crate) empty: Option<&'static str>,
    pub(crate) refusals: Vec<(u16, &'static str)>,
    pub(crate) example: Option<Value>,
}

/// An answer with data.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) description: &'static str,
    pub(crate) fields: Vec<Field>,
}

impl Spec {
    /// Declares the one sentence that says what the operation does.
    pub fn new(summary: &'static str) -> Self {
        Self {
            summary,
            query: Vec::new(),
            data: None,
            empty: None,
            refusals: Vec::new(),
            example: None,
        }
    }

    /// Declares fields that come in the query of a read, a list or a delete.
    #[must_use]
    pub fn query(mut self, fields: impl IntoIterator<Item = Field>) -> Self {
        self.query.extend(fields);
        self
    }

    /// Declares an answer with these fields as its data: HTTP 200. Fields with an object for a value
    /// have fields of their own, see [`Field::of`].
    #[must_use]
    pub fn data(
        mut self,
        description: &'static str,
        fields: impl IntoIterator<Item = Field>,
    ) -> Self {
        self.data = Some(Data { description, fields: fields.into_iter().collect() });
        self
    }

    /// Declares a list's answer, as [`Response::list`](crate::Response::list) makes it: names, and
    /// detail per name if there are fields for it. An empty list is nothing there.
    #[must_use]
    pub fn list(self, detail: impl IntoIterator<Item = Field>) -> Self {
        use crate::field::FieldType::{List, Pairs};
        let mut fields = vec![Field::new("keys", List, "The names, sorted.")];
        let detail: Vec<Field> = detail.into_iter().collect();
        if !detail.is_empty() {
            fields.push(Field::new("key_info", Pairs, "Detail, by name.").of(detail).optional());
        }
        self.data("The names.", fields).empty("There are none.")
    }

    /// Declares that there may be nothing to say: HTTP 404 to a read or a list, 204 to others.
    #[must_use]
    pub fn empty(mut self, description: &'static str) -> Self {
        self.empty = Some(description);
        self
    }

    /// Declares a refusal with another status than 400, which every operation may answer.
    #[must_use]
    pub fn refuses(mut self, status: u16, description: &'static str) -> Self {
        self.refusals.push((status, description));
        self
    }

    /// Gives an example of a write's body.
    #[must_use]
    pub fn example(mut self, body: Value) -> Self {
        self.example = Some(body);
        self
    }
}

impl From<&'static str> for Spec {
    fn from(summary: &'static str) -> Self {
        Self::new(summary)
    }
}
