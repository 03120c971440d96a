//! What one process holds at a moment.

use std::fs;

/// What of a process is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The memory that stands in no file, in MiB: where a leak shows.
    Own,
    /// The memory it has in all, in MiB.
    Rss,
    /// The same, of what it shares only its part, in MiB: less while others run the same program.
    Pss,
    /// Open file descriptors, sockets among them.
    Descriptors,
    /// Open sockets.
    Sockets,
    /// Threads.
    Threads,
}

impl Measure {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Own, Self::Rss, Self::Pss, Self::Descriptors, Self::Sockets, Self::Threads];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own memory, MiB",
            Self::Rss => "RSS, MiB",
            Self::Pss => "PSS, MiB",
            Self::Descriptors => "file descriptors",
            Self::Sockets => "sockets",
            Self::Threads => "threads",
        }
    }

    /// By how much it may rise over a life and still be flat, whichever is more: a number, and a part
    /// of what it was. `None` where that depends on other processes.
    pub fn slack(self) -> Option<(f64, f64)> {
        match self {
            Self::Own | Self::Rss => Some((2.0, 0.1)),
            Self::Pss => None,
            Self::Descriptors | Self::Sockets | Self::Threads => Some((3.0, 0.1)),
        }
    }
}

/// One look at a process, children not counted.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    own: f64,
    rss: f64,
    pss: f64,
    descriptors: f64,
    sockets: f64,
    threads: f64,
}

impl Sample {
    /// Looks at a process (`proc_pid_smaps(5)`, `proc_pid_status(5)`, `proc_pid_fd(5)`); `None` when
    /// it is gone. Of another user's process, or one that lets nobody look, only root learns all.
    pub fn of(pid: u32) -> Option<Self> {
        let number = |file: &str, name: &str| {
            let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        let (mut descriptors, mut sockets) = (0, 0);
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
            descriptors += 1;
            // It may be closed by now.
            let target = fs::read_link(entry.path()).unwrap_or_default();
            sockets += u32::from(target.to_string_lossy().starts_with("socket:"));
        }
        Some(Self {
            own: number("status", "RssAnon:")? / 1024.0,
            rss: number("status", "VmRSS:")? / 1024.0,
            pss: number("smaps_rollup", "Pss:")? / 1024.0,
            descriptors: descriptors.into(),
            sockets: sockets.into(),
            threads: number("status", "Threads:")?,
        })
    }

    /// Ten of everything, but for the memory.
    #[cfg(test)]
    pub(super) fn with_memory(mib: f64) -> Self {
        Self { own: mib, rss: mib, pss: mib, descriptors: 10.0, sockets: 10.0, threads: 10.0 }
    }

    /// One of its numbers.
    pub fn value(&self, measure: Measure) -> f64 {
        match measure {
            Measure::Own => self.own,
            Measure::Rss => self.rss,
            Measure::Pss => self.pss,
            Measure::Descriptors => self.descriptors,
            Measure::Sockets => self.sockets,
            Measure::Threads => self.threads,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn what_a_process_takes_is_seen_and_who_is_gone_is_not() {
        // Another process, since tests beside this one take and leave things too.
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let small = Sample::of(child.id()).unwrap();
        assert!(small.value(Measure::Rss) < 32.0, "{small:?}");
        assert_eq!((small.value(Measure::Threads), small.value(Measure::Sockets)), (1.0, 0.0));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Sample::of(child.id()).is_none());

        let sockets: Vec<_> = (0..200).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let memory = vec![1_u8; 64 << 20];
        let this = Sample::of(std::process::id()).unwrap();
        assert!(this.value(Measure::Sockets) >= sockets.len() as f64, "{this:?}");
        assert!(this.value(Measure::Descriptors) >= this.value(Measure::Sockets), "{this:?}");
        let taken = (memory.len() >> 20) as f64;
        assert!(this.value(Measure::Own) >= taken, "{this:?}");
        assert!(this.value(Measure::Rss) >= this.value(Measure::Own), "{this:?}");
        assert!(this.value(Measure::Pss) >= taken, "{this:?}");
    }
}
