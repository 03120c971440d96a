//! Prints what shells and `man` want to know of the command line.

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::cli::{self, Cli};
use crate::error::{CommandError, Exit};
use crate::{private, process};

/// Prints the completions of a shell.
///
/// # Errors
///
/// [`CommandError::Output`] when stdout can't be written.
pub(crate) fn completions(arguments: &cli::Completions) -> Result<Exit, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), NAME, &mut script);
    process::output(&script).map(|()| Exit::Success)
}

/// Prints the manual page, or writes it and one for each command into a directory.
///
/// # Errors
///
/// [`CommandError`] when stdout or the directory can't be written.
pub(crate) fn man(arguments: &cli::Manual) -> Result<Exit, CommandError> {
    let mut command = Cli::command();
    command.build();
    let Some(dir) = &arguments.dir else {
        return process::output(&page(command)?).map(|()| Exit::Success);
    };
    let failed = |error: std::io::Error| {
        CommandError::Argument(format!("{} can't be written: {}", dir.display(), error.kind()))
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    for part in command.get_subcommands().filter(|part| part.get_name() != "help") {
        // As `git` does: the page of `call` is mcp-bridge-call(1).
        let name = format!("{NAME}-{}", part.get_name());
        let page = page(part.clone().display_name(&name))?;
        private::replace(&dir.join(format!("{name}.1")), &page).map_err(failed)?;
    }
    private::replace(&dir.join(format!("{NAME}.1")), &page(command)?).map_err(failed)?;
    Ok(Exit::Success)
}

fn page(command: clap::Command) -> Result<Vec<u8>, CommandError> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page).map_err(|_| CommandError::Output)?;
    Ok(page)
}

/// The program's name.
const NAME: &str = "mcp-bridge";
