//! Fields of a path: declared with a type, parsed as the tools of this field type them.

mod parse;

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

pub use parse::FieldError;
pub(crate) use parse::parse;

/// How a field's value is read. A CLI sends every value as a string, an API client as JSON: every
/// type accepts both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Text.
    Str,
    /// A secret: a JSON string only, since hosts write numbers, booleans and keys into their audit
    /// logs in clear. Never part of help, errors or `Debug`.
    Secret,
    /// A whole number, or its text.
    Int,
    /// A list of whole numbers or their texts, or one text with commas between.
    Ints,
    /// `true`, `false`, or their text, or `1`, `0`.
    Bool,
    /// Seconds as a number or its text, or text with units: `30s`, `1m30s`, `1h`, `2d`.
    Duration,
    /// A list of texts, or one text with commas between.
    List,
    /// A list of texts that may hold commas themselves, or one text with `, ` or line breaks
    /// between.
    Items,
    /// Texts by name: an object, its JSON text, or `name=value` items.
    Pairs,
    /// Text that may come in pieces: a string, or a list of strings that are joined.
    Text,
    /// JSON: an object as it is, its text, or a list of strings that are joined. Kept as text, to
    /// the letter.
    Json,
}

impl FieldType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Str => "string",
            Self::Secret => "secret string, write-only",
            Self::Int => "integer",
            Self::Ints => "list of integers",
            Self::Bool => "boolean",
            Self::Duration => "duration",
            Self::List => "list",
            Self::Items => "list, or text with \", \" or line breaks between",
            Self::Pairs => "map",
            Self::Text => "text or list of its pieces",
            Self::Json => "JSON object, or its text",
        }
    }
}

/// One declared field, of a request or of an answer.
#[derive(Clone, Debug)]
pub struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: FieldType,
    pub(crate) help: &'static str,
    pub(crate) default: Option<&'static str>,
    pub(crate) nested: Vec<Self>,
    pub(crate) optional: bool,
    pub(crate) read_only: bool,
}

impl Field {
    /// Declares a field with the one sentence that help shows.
    pub const fn new(name: &'static str, kind: FieldType, help: &'static str) -> Self {
        Self {
            name,
            kind,
            help,
            default: None,
            nested: Vec::new(),
            optional: false,
            read_only: false,
        }
    }

    /// Says in the help what holds when the field isn't given.
    #[must_use]
    pub const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// Says that an answer may lack the field, or have `null` there.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Says that the field is read and not written: a body may hold it, so that what is read can be
    /// written back, and its value is ignored.
    #[must_use]
    pub const fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Declares the fields within an answer's field: of the object ([`FieldType::Json`]), of each
    /// object in a list ([`FieldType::List`]), or of each object by name ([`FieldType::Pairs`]).
    #[must_use]
    pub fn of(mut self, fields: impl IntoIterator<Item = Self>) -> Self {
        self.nested.extend(fields);
        self
    }
}

/// A parsed value. An empty text and `null` are [`FieldValue::Null`]: "back to the default".
pub enum FieldValue {
    /// Given, and empty.
    Null,
    /// [`FieldType::Str`], [`FieldType::Text`] and [`FieldType::Json`].
    Str(String),
    /// [`FieldType::Secret`].
    Secret(SecretString),
    /// [`FieldType::Int`].
    Int(i64),
    /// [`FieldType::Bool`].
    Bool(bool),
    /// [`FieldType::Duration`].
    Duration(Duration),
    /// [`FieldType::List`] and [`FieldType::Items`].
    List(Vec<String>),
    /// [`FieldType::Ints`].
    Ints(Vec<i64>),
    /// [`FieldType::Pairs`], in the order given.
    Pairs(Vec<(String, String)>),
    /// [`FieldType::Pairs`] of a patch: each name with its new value, or without one to remove it.
    PairChanges(Vec<(String, Option<String>)>),
}

impl std::fmt::Debug for FieldValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Any field may carry what an operator mistook: no value is ever printed.
        f.write_str("FieldValue")
    }
}

/// The fields of one request, each at most once, typed as declared.
#[derive(Debug, Default)]
pub struct Fields(BTreeMap<&'static str, FieldValue>);

/// A field that was given: either "back to the default" or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given<T> {
    /// `null` or empty.
    Reset,
    /// A value.
    Set(T),
}

impl<T> Given<T> {
    /// The value, or `None` for a reset.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Reset => None,
            Self::Set(value) => Some(value),
        }
    }

    /// Applies a fallible conversion to a set value.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn try_map<U, E>(self, f: impl FnOnce(T) -> Result<U, E>) -> Result<Given<U>, E> {
        match self {
            Self::Reset => Ok(Given::Reset),
            Self::Set(value) => f(value).map(Given::Set),
        }
    }
}

macro_rules! accessor {
    ($(#[$doc:meta])* $name:ident, $variant:ident, $type:ty) => {
        $(#[$doc])*
        ///
        /// `None` when it wasn't given (or is declared with another type).
        pub fn $name(&mut self, name: &str) -> Option<Given<$type>> {
            match self.0.remove(name)? {
                FieldValue::Null => Some(Given::Reset),
                FieldValue::$variant(value) => Some(Given::Set(value)),
                _ => None,
            }
        }
    };
}

impl Fields {
    pub(crate) fn insert(&mut self, name: &'static str, value: FieldValue) {
        self.0.insert(name, value);
    }

    accessor!(
        /// Takes a text field: [`FieldType::Str`], [`FieldType::Text`] or [`FieldType::Json`].
        str, Str, String
    );
    accessor!(
        /// Takes a secret.
        secret, Secret, SecretString
    );
    accessor!(
        /// Takes a whole number.
        int, Int, i64
    );
    accessor!(
        /// Takes a boolean.
        bool, Bool, bool
    );
    accessor!(
        /// Takes a duration.
        duration, Duration, Duration
    );
    accessor!(
        /// Takes a list.
        list, List, Vec<String>
    );
    accessor!(
        /// Takes a list of whole numbers.
        ints, Ints, Vec<i64>
    );

    /// Takes pairs.
    ///
    /// `None` when they weren't given (or are declared with another type).
    pub fn pairs(&mut self, name: &str) -> Option<Given<Vec<(String, String)>>> {
        self.pairs_over(name, [])
    }

    /// Takes pairs that a write is to leave in the place of `current`: a patch changes some of them
    /// and keeps the others (RFC 7396), any other write replaces all.
    ///
    /// `None` when they weren't given (or are declared with another type).
    pub fn pairs_over(
        &mut self,
        name: &str,
        current: impl IntoIterator<Item = (String, String)>,
    ) -> Option<Given<Vec<(String, String)>>> {
        match self.0.remove(name)? {
            FieldValue::Null => Some(Given::Reset),
            FieldValue::Pairs(pairs) => Some(Given::Set(pairs)),
            FieldValue::PairChanges(changes) => {
                let mut pairs: Vec<(String, String)> = current.into_iter().collect();
                for (name, value) in changes {
                    pairs.retain(|(known, _)| *known != name);
                    pairs.extend(value.map(|value| (name, value)));
                }
                Some(Given::Set(pairs))
            }
            FieldValue::Str(_)
            | FieldValue::Secret(_)
            | FieldValue::Int(_)
            | FieldValue::Ints(_)
            | FieldValue::Bool(_)
            | FieldValue::Duration(_)
            | FieldValue::List(_) => None,
        }
    }

    /// The text of a path parameter or text field, left in place; empty when absent.
    pub fn text(&self, name: &str) -> &str {
        match self.0.get(name) {
            Some(FieldValue::Str(text)) => text,
            _ => "",
        }
    }

    /// Whether the field was given, also as `null`.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The names of the fields still in place, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}
