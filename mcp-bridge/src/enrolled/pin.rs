//! Gets the PIN of an enrolled credential: from its file, or from a person at the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use mcp_bridge_tpm::sealed::Header;
use mcp_bridge_tpm::{CredentialError, CredentialFile, Pin, TpmError, UnsealOptions};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::EnrolledError;
use crate::config::{Enrolled, PinSource};
use crate::private;

/// The most that is read of a PIN's file or line, in bytes: more than a PIN may have.
const MAX_BYTES: u64 = 128;

/// What goes with the unsealing of a credential. Where it asks for no PIN, none is looked for.
///
/// # Errors
///
/// [`EnrolledError::PinFile`] if the file with the PIN can't be used.
pub(super) fn options(place: &Enrolled, header: &Header) -> Result<UnsealOptions, EnrolledError> {
    let pin = if asks(header) { given(place)? } else { None };
    Ok(UnsealOptions { pin, force: place.last_try })
}

/// The PIN that the settings lead to, if they lead to one.
fn given(place: &Enrolled) -> Result<Option<Pin>, EnrolledError> {
    match &place.pin {
        PinSource::None => Ok(None),
        PinSource::File(path) => from_file(path).map(Some),
        PinSource::Typed(pin) => Ok(Some(pin.copy())),
    }
}

fn asks(header: &Header) -> bool {
    header.tpm2.as_ref().is_some_and(|object| object.policy.pin)
}

/// Whether the credential that is kept there asks for a PIN.
pub(crate) fn is_set(place: &Enrolled) -> bool {
    CredentialFile::new(place.file.clone()).read().is_ok_and(|sealed| asks(sealed.header()))
}

/// Asks for the PIN of a kept credential if it needs one, nobody gives it, and a person is there.
///
/// A process that serves an MCP client must not call it: its standard input is the client's.
///
/// # Errors
///
/// As [`ask`].
pub(crate) fn complete(place: &mut Enrolled) -> Result<(), EnrolledError> {
    let nobody_gives = matches!(place.pin, PinSource::None);
    if nobody_gives && io::stdin().is_terminal() && is_set(place) {
        place.pin = PinSource::Typed(Arc::new(ask()?));
    }
    Ok(())
}

/// Reads a PIN from a file's first line.
///
/// # Errors
///
/// [`EnrolledError::PinFile`] if the file can't be read or holds no PIN.
pub(crate) fn from_file(path: &Path) -> Result<Pin, EnrolledError> {
    let fault = |problem| EnrolledError::PinFile { path: path.display().to_string(), problem };
    let file = File::open(path).map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        fault(if missing { "isn't there" } else { "can't be read" })
    })?;
    if file.metadata().is_ok_and(|data| private::is_shared(&data)) {
        tracing::warn!(path = %path.display(), "other users may read this PIN's file: chmod 600");
    }
    line(file).map_err(|_| fault("can't be read"))?.map_err(|_| fault("holds no PIN"))
}

/// Asks at the terminal for the PIN that is set.
///
/// # Errors
///
/// [`EnrolledError::NoTerminal`] where there is none; else that what was typed is no PIN.
fn ask() -> Result<Pin, EnrolledError> {
    typed("PIN of this machine's credential: ")
}

/// Asks at the terminal for a PIN to set, twice.
///
/// # Errors
///
/// As [`ask`]; [`TpmError::Usage`] if the two differ.
pub(crate) fn ask_new() -> Result<Pin, EnrolledError> {
    let pin = typed("new PIN, 1 to 32 bytes: ")?;
    if typed("the same again: ")?.expose() != pin.expose() {
        return Err(refused(TpmError::usage("the two PINs differ: nothing was changed")));
    }
    Ok(pin)
}

fn typed(prompt: &str) -> Result<Pin, EnrolledError> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let terminal = terminal.map_err(|_| EnrolledError::NoTerminal)?;
    let echo = EchoOff::new(&terminal).map_err(|_| EnrolledError::NoTerminal)?;
    let _ = (&terminal).write_all(prompt.as_bytes());
    let pin = line(&terminal);
    drop(echo);
    let _ = (&terminal).write_all(b"\n");
    pin.map_err(|_| EnrolledError::NoTerminal)?.map_err(refused)
}

fn refused(error: TpmError) -> EnrolledError {
    CredentialError::from(error).into()
}

fn line(source: impl io::Read) -> io::Result<Result<Pin, TpmError>> {
    // Large enough from the start, so that growing leaves no copies behind.
    let mut text = Zeroizing::new(String::with_capacity(256));
    BufReader::with_capacity(1, source.take(MAX_BYTES)).read_line(&mut text)?;
    Ok(Pin::new(text.trim_end_matches(['\r', '\n'])))
}

/// A terminal that doesn't show what is typed, until it is dropped (`termios(3)`, `ECHO`).
struct EchoOff<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> EchoOff<'a> {
    fn new(terminal: &'a File) -> rustix::io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Now, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for EchoOff<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_one_line_of_a_file_and_its_spaces_are_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        let read = |content: &str| {
            std::fs::write(&path, content).unwrap();
            from_file(&path)
        };
        for content in [" two words", " two words\n", " two words\r\nmore"] {
            assert_eq!(read(content).unwrap().expose(), " two words");
        }
        for content in ["", "\n", &"x".repeat(33), "a\0b"] {
            let error = read(content).unwrap_err();
            assert!(matches!(error, EnrolledError::PinFile { .. }), "{content:?}: {error}");
            assert_eq!(error.exit(), crate::error::Exit::Store(14));
        }
        assert!(from_file(&dir.path().join("none")).is_err());
    }
}
