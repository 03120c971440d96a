//! What a process holds in its memory.

use std::fs;
use std::os::unix::fs::FileExt as _;

/// Reads all memory of a process that isn't just a file's content: what it may write to, and what
/// stands in no file. Needs root, since the bridge doesn't let its own user look.
///
/// # Panics
/// When the process is gone, or nothing of it can be read.
pub fn of(pid: u32) -> Vec<Vec<u8>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process");
    let memory = fs::File::open(format!("/proc/{pid}/mem")).expect("its memory (as root)");
    let parts = maps.lines().filter_map(|line| {
        // proc_pid_maps(5): range, permissions, offset, device, inode, name.
        let mut fields = line.split_whitespace();
        let (range, permissions) = (fields.next()?, fields.next()?);
        let is_file = fields.nth(2)? != "0";
        if !permissions.starts_with('r') || (is_file && !permissions.contains('w')) {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let length = u64::from_str_radix(end, 16).ok()? - start;
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        // The kernel's own pages can't be read this way.
        memory.read_exact_at(&mut bytes, start).ok().map(|()| bytes)
    });
    let parts = parts.collect::<Vec<_>>();
    assert!(!parts.is_empty(), "nothing of the memory of {pid} can be read");
    parts
}

/// Counts how often `word` stands in the parts of a memory.
pub fn copies(memory: &[Vec<u8>], word: &[u8]) -> usize {
    let count = |part: &Vec<u8>| part.windows(word.len()).filter(|window| *window == word).count();
    memory.iter().map(count).sum()
}
