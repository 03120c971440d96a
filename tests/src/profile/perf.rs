//! Where a native program's time goes: the kernel's sampling, by `perf`.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::stacks::Stacks;
use crate::server::signal;

/// Samples a process while `work` is done; weights are numbers of samples. `None` where there is no
/// `perf`, or the kernel doesn't let it.
pub async fn record(process: u32, file: &Path, work: impl Future<Output = ()>) -> Option<Stacks> {
    let mut perf = Command::new("perf")
        // A clock that virtual machines have, too. Stacks by frame pointers: cheap, and complete in
        // what is built with them.
        .args(["record", "--event=cpu-clock", "--freq=1997", "--call-graph=fp", "--quiet"])
        .arg(format!("--pid={process}"))
        .arg("--output")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    work.await;
    signal(perf.id(), Signal::INT);
    perf.wait().ok()?;
    let script = Command::new("perf")
        .args(["script", "--fields=comm,sym,ip", "--input"])
        .arg(file)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let stacks = read(&String::from_utf8_lossy(&script.stdout));
    (stacks.total() > 0).then_some(stacks)
}

/// Reads what `perf script` prints: for each sample a line with the thread, then a line for each
/// function, from the innermost outwards, with its address before its name.
fn read(text: &str) -> Stacks {
    let mut stacks = Stacks::default();
    for sample in text.split("\n\n") {
        let frames = sample.lines().filter(|line| line.starts_with(char::is_whitespace));
        let names: Vec<&str> = frames
            .filter_map(|line| line.trim_start().split_once(' '))
            .map(|(_, name)| name)
            .collect();
        if !names.is_empty() {
            stacks.add(names.into_iter().rev(), 1);
        }
    }
    stacks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_from_the_outermost_function_inwards() {
        let text = "plugin \n\t  55d0 memcpy\n\t  44a0 send<T, U>\n\t  1000 main\n\n\
                    plugin \n\t  44a0 send<T, U>\n\t  1000 main\n\n";
        let stacks = read(text);
        assert_eq!(stacks.total(), 2);
        let first = stacks.iter().find(|(frames, _)| frames.len() == 3).unwrap();
        assert_eq!(first.0, ["main", "send<T, U>", "memcpy"]);
    }
}
