//! Counts the plugin's instructions, by valgrind: the same from run to run, whatever else runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::Server;
use crate::wait;

/// A plugin that runs under callgrind.
#[derive(Debug)]
pub struct Counted {
    process: u32,
    folder: PathBuf,
    dumps: usize,
}

/// What was counted: instructions by function.
#[derive(Clone, Debug, Default)]
pub struct Counts(pub Vec<(String, u64)>);

impl Counts {
    /// The instructions of all functions.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

impl Counted {
    /// Replaces the server's plugin by `plugin` under callgrind, which counts nothing yet.
    ///
    /// # Panics
    /// When it doesn't come up; without valgrind.
    pub async fn start(server: &Server, plugin: &Path) -> Self {
        let folder = server.directory().join("callgrind");
        fs::create_dir(&folder).expect("a folder");
        let text = format!(
            "#!/bin/sh\nexec valgrind --tool=callgrind --instr-atstart=no --dump-line=no \
             --vgdb-prefix={0}/vgdb --log-file={0}/log.%p --callgrind-out-file={0}/out.%p {1}\n",
            folder.display(),
            plugin.display()
        );
        let wrapper = folder.join("wrapper");
        fs::write(&wrapper, text).expect("a script");
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("a script's mode");
        server.replace_plugin(&wrapper, "counted").await;
        let process = wait::until("the plugin under valgrind", async || {
            server
                .plugins()
                .into_iter()
                .find(|process| folder.join(format!("log.{process}")).exists())
        })
        .await;
        Self { process, folder, dumps: 0 }
    }

    /// Counts what the plugin does for `work`.
    ///
    /// # Panics
    /// When valgrind doesn't do as it is told.
    pub async fn count(&mut self, work: impl Future<Output = ()>) -> Counts {
        self.tell(&["instrumentation", "on"]);
        self.tell(&["zero"]);
        work.await;
        self.tell(&["dump"]);
        self.tell(&["instrumentation", "off"]);
        self.dumps += 1;
        let file = self.folder.join(format!("out.{}.{}", self.process, self.dumps));
        let output = Command::new("callgrind_annotate")
            .args(["--threshold=100", "--auto=no"])
            .arg(file)
            .output()
            .expect("callgrind_annotate");
        read(&String::from_utf8_lossy(&output.stdout))
    }

    fn tell(&self, words: &[&str]) {
        let output = Command::new("vgdb")
            .arg(format!("--pid={}", self.process))
            .arg(format!("--vgdb-prefix={}/vgdb", self.folder.display()))
            .args(words)
            .output()
            .expect("vgdb, of valgrind");
        assert!(output.status.success(), "vgdb {words:?}: {output:?}");
    }
}

/// Reads lines such as `1,234 ( 5.67%)  file.c:function [object]`.
fn read(text: &str) -> Counts {
    let line = |line: &str| {
        let (count, rest) = line.trim_start().split_once(" (")?;
        let count = count.replace(',', "").parse().ok()?;
        let (_, named) = rest.split_once("%)  ")?;
        let (_, function) = named.split_once(':')?;
        Some((function.to_owned(), count))
    };
    Counts(text.lines().filter(|text| !text.contains("PROGRAM TOTALS")).filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_read_with_their_counts() {
        let text = "Ir\n--------\n12,345 (100.0%)  PROGRAM TOTALS\n\n\
                    12,000 (97.2%)  ???:<h2::codec::Codec<T,B> as futures_core::Stream>::poll_next [/p]\n\
                       345 ( 2.8%)  ./string/memcpy.S:__memcpy_avx [/usr/lib/libc.so.6]\n";
        let counts = read(text);
        assert_eq!(counts.total(), 12_345);
        assert!(counts.0[0].0.starts_with("<h2::codec::Codec<T,B> as"), "{counts:?}");
    }
}
