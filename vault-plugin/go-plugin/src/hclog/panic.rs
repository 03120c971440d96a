//! Logs panics, which hosts would otherwise show at DEBUG, if at all.

use std::{panic, time::SystemTime};

use tracing::Level;

use super::{
    line::{Fields, Line},
    write_stderr,
};

/// Makes every panic of this process one hclog line at ERROR.
///
/// The line has the place and, if the panic's message is a literal, the message. A message that
/// was formatted is left out: it may show values, and values may be secrets.
pub fn install_panic_hook() {
    panic::set_hook(Box::new(|info| {
        let message = info.payload().downcast_ref::<&'static str>().copied();
        let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
        let mut fields = Fields::default();
        fields.insert("thread", std::thread::current().name().unwrap_or("unnamed"));
        let line = Line {
            level: &Level::ERROR,
            module: module_path!(),
            message: &format!("panicked{place}: {}", message.unwrap_or("(message withheld)")),
            fields: &fields,
        };
        // Past tracing, which may be what panicked.
        write_stderr(&line.to_bytes(SystemTime::now()));
    }));
}
