//! A small disk of its own for a folder, which can be filled up.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::statvfs;

/// A file system in memory; unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts one over an empty folder; none where this user may not mount.
    pub fn mount(folder: &Path) -> Option<Self> {
        let mounted = run("mount", &["-t", "tmpfs", "-o", &size(ROOM), "tmpfs"], folder);
        mounted.then(|| Self { folder: folder.to_owned() })
    }

    /// Leaves no room for another byte: what is used becomes the limit.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn fill(&self) {
        // What is written in between makes the limit too small, and then it is refused.
        let filled = (0..100).any(|_| {
            let disk = statvfs(&self.folder).expect("a file system");
            // A limit of nothing would be none at all.
            self.limit((disk.f_blocks - disk.f_bfree).max(1) * disk.f_frsize)
        });
        assert!(filled, "no limit for {}", self.folder.display());
    }

    /// Makes room again.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn free(&self) {
        assert!(self.limit(ROOM), "no room for {}", self.folder.display());
    }

    fn limit(&self, bytes: u64) -> bool {
        run("mount", &["-o", &format!("remount,{}", size(bytes))], &self.folder)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A server may still have files open there.
        let _ = run("umount", &["--lazy"], &self.folder);
    }
}

/// Far more than a server writes in an hour, in bytes.
const ROOM: u64 = 4 << 30;

fn size(bytes: u64) -> String {
    format!("size={bytes}")
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).arg(folder).stdin(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
