//! Logs in the format of hclog: one JSON object per line on standard error.
//!
//! Protocol: go-plugin `log_entry.go` and `client.go` (`logStderr`). The host reads `@level`,
//! `@message` and `@timestamp` and logs the other keys as fields. It is easily upset: a line that
//! isn't exactly right is logged verbatim at DEBUG, and one whose `@` keys aren't strings crashes
//! the host. So nothing but this module should write to standard error, and the output of child
//! processes must be captured and logged as a field.

mod line;
mod panic;

use std::{
    fmt::Debug,
    io::{self, Write},
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    EnvFilter, Layer, layer::Context, layer::SubscriberExt, registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::error::Chain;
use line::{Fields, Line};

pub use panic::install_panic_hook;

/// Keeps libraries that log what they carry from doing so; a filter that names them wins.
const QUIET: &str = "h2=info,hyper=info,hyper_util=info,rustls=info,tower=info";

/// Logs everything from here on as hclog on standard error, panics included.
///
/// `filter` is in the syntax of [`EnvFilter`]; without one, and instead of one that can't be
/// parsed, `info`. Does nothing but install the panic hook if a subscriber is already set.
pub fn init(filter: Option<&str>) {
    install_panic_hook();
    let subscriber = tracing_subscriber::registry().with(HclogLayer::stderr()).with(levels(filter));
    // Whoever set another one wants that.
    let _ = subscriber.try_init();
}

fn levels(filter: Option<&str>) -> EnvFilter {
    let parse = |filter: &str| {
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(filter).ok()
    };
    let filter = filter.filter(|filter| parse(filter).is_some()).unwrap_or("info");
    let chatty = |filter: &EnvFilter| filter.max_level_hint() > Some(LevelFilter::INFO);
    // Later directives win over earlier ones for the same target.
    let quieted = parse(&format!("{QUIET},{filter}"));
    parse(filter).filter(|filter| !chatty(filter)).or(quieted).unwrap_or_default()
}

/// Formats events as hclog.
///
/// The fields of an event and of the spans around it become keys of the object; inner ones win.
/// A field whose name begins with `@` gets a `_` before it. Lines are at most 32 KiB: longer ones
/// lose their fields and the end of their message and say `truncated`.
pub struct HclogLayer {
    write: Sink,
}

/// Takes one whole line.
type Sink = Box<dyn Fn(&[u8]) + Send + Sync>;

impl HclogLayer {
    /// Writes to standard error, each line at once.
    pub fn stderr() -> Self {
        Self { write: Box::new(write_stderr) }
    }
}

impl Debug for HclogLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HclogLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for HclogLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Visitor::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Visitor>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut visitor = Visitor::default();
        for span in
            context.event_scope(event).into_iter().flatten().collect::<Vec<_>>().iter().rev()
        {
            if let Some(outer) = span.extensions().get::<Visitor>() {
                visitor.fields.extend(&outer.fields);
            }
        }
        event.record(&mut visitor);
        let metadata = event.metadata();
        let line = Line {
            level: metadata.level(),
            module: metadata.target(),
            message: &visitor.message,
            fields: &visitor.fields,
        };
        (self.write)(&line.to_bytes(std::time::SystemTime::now()));
    }
}

/// Collects the fields of an event or a span.
#[derive(Debug, Default)]
struct Visitor {
    message: String,
    fields: Fields,
}

impl Visit for Visitor {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.fields.insert(field.name(), value);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.insert(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.insert(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.insert(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.insert(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &Chain(value).to_string());
    }
}

/// Writes one line, whole. An error means that the host is gone, which others notice.
fn write_stderr(line: &[u8]) {
    let _ = io::stderr().lock().write_all(line);
}

#[cfg(test)]
mod tests;
