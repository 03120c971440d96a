//! Knows each MCP client's configuration file: where it is, and how the bridge stands in it.

mod json;
mod toml;

use std::path::{Path, PathBuf};

use crate::config::Environment;
use crate::private;

/// An MCP client whose configuration file the bridge can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Client {
    /// Claude Code, for all projects of this user
    ClaudeCode,
    /// Claude Desktop
    ClaudeDesktop,
    /// Codex CLI and its extensions
    Codex,
    /// Cursor, for all projects of this user
    Cursor,
    /// VS Code, in the user's profile
    Vscode,
    /// Gemini CLI
    Gemini,
    /// opencode
    Opencode,
}

/// How the bridge is started: what stands in a client's configuration. Never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The program, by its whole path: programs with a window have a poor `PATH`.
    pub(super) command: String,
    /// Its arguments.
    pub(super) args: Vec<String>,
}

/// What a client's file holds under a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The name.
    pub(super) name: String,
    /// The program and its arguments, as far as they are texts.
    pub(super) command: Vec<String>,
    /// The names of the variables that it is started with.
    pub(super) variables: Vec<String>,
}

impl Found {
    /// Whether the entry starts a bridge.
    pub(super) fn is_bridge(&self) -> bool {
        let program = self.command.first().map(|command| Path::new(command).file_stem());
        program.flatten().is_some_and(|name| name == "mcp-bridge")
    }
}

/// Why a client's file can't be read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EditError {
    /// The file isn't what the client could read either.
    #[error("isn't valid: {0}")]
    Syntax(String),
    /// Something else stands where the servers are listed.
    #[error("holds something else than a table at {0:?}")]
    Shape(&'static str),
    /// Another program stands under the name.
    #[error("has another server named {0:?}: choose another --name, or take it out first")]
    Taken(String),
    /// Reading or writing failed.
    #[error("can't be read or written: {0}")]
    File(std::io::ErrorKind),
}

/// How an entry is written within JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `command` and `args`.
    Plain,
    /// The same with `"type": "stdio"`.
    Stdio,
    /// `"type": "local"` and one list for program and arguments.
    Local,
}

impl Client {
    /// All clients, in the order in which they are shown.
    pub(super) const ALL: [Self; 7] = [
        Self::ClaudeCode,
        Self::ClaudeDesktop,
        Self::Codex,
        Self::Cursor,
        Self::Vscode,
        Self::Gemini,
        Self::Opencode,
    ];

    /// The name by which its users know it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::ClaudeDesktop => "Claude Desktop",
            Self::Codex => "Codex",
            Self::Cursor => "Cursor",
            Self::Vscode => "VS Code",
            Self::Gemini => "Gemini CLI",
            Self::Opencode => "opencode",
        }
    }

    /// The name on this program's command line.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::ClaudeDesktop => "claude-desktop",
            Self::Codex => "codex",
            Self::Cursor => "cursor",
            Self::Vscode => "vscode",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
        }
    }

    /// The user's configuration file, by each client's documentation; none without a home.
    pub(super) fn file(self, environment: &Environment) -> Option<PathBuf> {
        let home = environment.home()?;
        let at = |variable: &str| environment.var(variable).map(PathBuf::from);
        Some(match self {
            // CLAUDE_CONFIG_DIR moves the file into that directory.
            Self::ClaudeCode => at("CLAUDE_CONFIG_DIR").unwrap_or(home).join(".claude.json"),
            Self::ClaudeDesktop => {
                programs(environment, home).join("Claude").join("claude_desktop_config.json")
            }
            Self::Codex => at("CODEX_HOME").unwrap_or(home.join(".codex")).join("config.toml"),
            Self::Cursor => home.join(".cursor").join("mcp.json"),
            Self::Vscode => programs(environment, home).join("Code").join("User").join("mcp.json"),
            Self::Gemini => home.join(".gemini").join("settings.json"),
            Self::Opencode => {
                let dir = at("XDG_CONFIG_HOME").unwrap_or(home.join(".config")).join("opencode");
                // It reads either; a file that is there is the one in use.
                let commented = dir.join("opencode.jsonc");
                if commented.exists() { commented } else { dir.join("opencode.json") }
            }
        })
    }

    /// Puts the bridge into a file's text, in place of an older entry of the bridge.
    ///
    /// # Errors
    ///
    /// [`EditError`]; nothing is half done.
    pub(super) fn put(self, text: &str, name: &str, entry: &Entry) -> Result<String, EditError> {
        let found = self.list(text)?.into_iter().find(|found| found.name == name);
        if found.is_some_and(|found| !found.is_bridge()) {
            return Err(EditError::Taken(name.to_owned()));
        }
        match self.place() {
            Place::Json(section, form) => json::put(text, section, form, name, entry),
            Place::Toml => toml::put(text, name, entry),
        }
    }

    /// Takes the bridge out of a file's text.
    ///
    /// # Errors
    ///
    /// [`EditError`], also when another program stands under the name.
    pub(super) fn take_out(self, text: &str, name: &str) -> Result<String, EditError> {
        match self.list(text)?.into_iter().find(|found| found.name == name) {
            None => return Ok(text.to_owned()),
            Some(found) if !found.is_bridge() => return Err(EditError::Taken(name.to_owned())),
            Some(_) => {}
        }
        match self.place() {
            Place::Json(section, _) => json::take_out(text, section, name),
            Place::Toml => toml::take_out(text, name),
        }
    }

    /// The servers that a file's text lists.
    ///
    /// # Errors
    ///
    /// [`EditError`] if the client couldn't read the file either.
    pub(super) fn list(self, text: &str) -> Result<Vec<Found>, EditError> {
        match self.place() {
            Place::Json(section, _) => json::list(text, section),
            Place::Toml => toml::list(text),
        }
    }

    fn place(self) -> Place {
        match self {
            Self::ClaudeCode => Place::Json("mcpServers", Form::Stdio),
            Self::ClaudeDesktop | Self::Cursor | Self::Gemini => {
                Place::Json("mcpServers", Form::Plain)
            }
            Self::Vscode => Place::Json("servers", Form::Stdio),
            Self::Opencode => Place::Json("mcp", Form::Local),
            Self::Codex => Place::Toml,
        }
    }
}

/// Where in a file, and in which format, servers are listed.
enum Place {
    Json(&'static str, Form),
    Toml,
}

/// Reads a file; an absent one is empty.
///
/// # Errors
///
/// [`EditError::File`], also for what isn't UTF-8.
pub(super) fn read(path: &Path) -> Result<String, EditError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(EditError::File(error.kind())),
    }
}

/// Writes a file whole or not at all, through a link to where it leads.
///
/// # Errors
///
/// [`EditError::File`].
pub(super) fn write(path: &Path, text: &str) -> Result<(), EditError> {
    let failed = |error: std::io::Error| EditError::File(error.kind());
    // Dot-files are often links into a repository: replacing the link would part the two.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(dir) = target.parent().filter(|dir| !dir.exists()) {
        private::make_dir(dir).map_err(failed)?;
    }
    private::replace(&target, text.as_bytes()).map_err(failed)
}

/// Where programs with a window keep their settings.
fn programs(environment: &Environment, home: PathBuf) -> PathBuf {
    if cfg!(target_os = "macos") {
        home.join("Library").join("Application Support")
    } else if cfg!(windows) {
        let roaming = environment.var("APPDATA").map(PathBuf::from);
        roaming.unwrap_or_else(|| home.join("AppData").join("Roaming"))
    } else {
        let config = environment.var("XDG_CONFIG_HOME").map(PathBuf::from);
        config.unwrap_or_else(|| home.join(".config"))
    }
}

#[cfg(test)]
mod tests;
