//! Work on many bytes at once, done where it holds up no other call.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// From so many bytes on, work is done apart: JSON of that size takes about a millisecond.
const MANY: usize = 256 << 10;

/// Does `work` on so many bytes. Where they are many, the event loop's thread hands all its other
/// tasks to another one first; where there is none and none can be made, they wait.
pub(crate) fn apart<T>(bytes: usize, work: impl Fn() -> T) -> T {
    let has_others = || {
        Handle::try_current()
            .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
    };
    if bytes < MANY || !has_others() {
        return work();
    }
    let begun = Cell::new(false);
    let apart = || {
        block_in_place(|| {
            begun.set(true);
            work()
        })
    };
    match catch_unwind(AssertUnwindSafe(apart)) {
        Ok(result) => result,
        Err(panic) if begun.get() => resume_unwind(panic),
        // tokio panics where the system gives it no further thread. A call may have been made by then,
        // and its answer must not be lost.
        Err(_) => work(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn other_tasks_run_while_many_bytes_are_worked_on() {
        let working = tokio::spawn(async {
            let (sender, receiver) = mpsc::channel();
            tokio::spawn(async move { sender.send(()) });
            apart(MANY, || receiver.recv_timeout(Duration::from_secs(30)))
        });
        assert_eq!(working.await.unwrap(), Ok(()), "the other task ran meanwhile");
    }

    #[tokio::test]
    async fn with_one_thread_alone_the_work_is_done_at_once() {
        assert_eq!(apart(MANY, || 1), 1);
    }
}
