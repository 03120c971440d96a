//! Writes with one system call what one turn of the event loop has to say.
//!
//! HTTP/2 flushes after every frame that it has: the answer to a host's ping, an answer's head and
//! body, its trailers. Each flush would be a TLS record, a system call, and a wake-up of the host,
//! and a small call's time is made of these. So a flush is put off until the connection's next turn,
//! which is asked for at once: what is ready by then goes along.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// The most that waits for a flush, in bytes: four TLS records.
const CAPACITY: usize = 64 << 10;

/// A connection whose flushes are put off by one turn.
pub(crate) struct Batched<S> {
    inner: S,
    waiting: Vec<u8>,
    /// How much of it is written already.
    written: usize,
    put_off: bool,
}

impl<S> Batched<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, waiting: Vec::new(), written: 0, put_off: false }
    }
}

impl<S: AsyncWrite + Unpin> Batched<S> {
    /// Hands everything that waits to the connection.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.waiting.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.waiting.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Batched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Batched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.waiting.len() >= CAPACITY {
            ready!(self.drain(cx))?;
        }
        let room = CAPACITY - self.waiting.len();
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.waiting.extend_from_slice(taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.waiting.is_empty() {
            if !self.put_off {
                self.put_off = true;
                cx.waker().wake_by_ref();
                return Poll::Ready(Ok(()));
            }
            ready!(self.drain(cx))?;
        }
        self.put_off = false;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: Connected> Connected for Batched<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Wake, Waker},
    };

    use super::*;

    /// Takes at most so many bytes with each write, and nothing with every third.
    #[derive(Default)]
    struct Recorder {
        writes: Vec<Vec<u8>>,
        most: Option<usize>,
        asked: usize,
        is_shut: bool,
    }

    impl AsyncWrite for Recorder {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.asked += 1;
            if self.most.is_some() && self.asked.is_multiple_of(3) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let count = self.most.unwrap_or(usize::MAX).min(bytes.len());
            self.writes.push(bytes[..count].to_vec());
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.is_shut = true;
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct Turns(AtomicUsize);

    impl Wake for Turns {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(batched: &mut Batched<Recorder>, bytes: &[u8], cx: &mut Context<'_>) {
        let written = Pin::new(batched).poll_write(cx, bytes);
        assert!(matches!(written, Poll::Ready(Ok(count)) if count == bytes.len()), "{written:?}");
    }

    fn flush(batched: &mut Batched<Recorder>, cx: &mut Context<'_>) {
        assert!(matches!(Pin::new(batched).poll_flush(cx), Poll::Ready(Ok(()))));
    }

    #[test]
    fn what_two_turns_flush_goes_out_with_one_write_and_the_second_is_asked_for() {
        let turns = Arc::new(Turns::default());
        let waker = Waker::from(Arc::clone(&turns));
        let mut cx = Context::from_waker(&waker);
        let mut batched = Batched::new(Recorder::default());
        write(&mut batched, b"ping", &mut cx);
        flush(&mut batched, &mut cx);
        assert_eq!((batched.inner.writes.len(), turns.0.load(Ordering::Relaxed)), (0, 1));
        write(&mut batched, b"answer", &mut cx);
        flush(&mut batched, &mut cx);
        assert_eq!(batched.inner.writes, [b"pinganswer"]);
        // Nothing waits, and nothing is asked for.
        flush(&mut batched, &mut cx);
        assert_eq!((batched.inner.writes.len(), turns.0.load(Ordering::Relaxed)), (1, 1));
        // The next one is put off again.
        write(&mut batched, b"more", &mut cx);
        flush(&mut batched, &mut cx);
        assert_eq!((batched.inner.writes.len(), turns.0.load(Ordering::Relaxed)), (1, 2));
    }

    #[tokio::test]
    async fn every_byte_goes_out_in_order_whatever_the_connection_takes() {
        use tokio::io::AsyncWriteExt as _;

        let recorder = Recorder { most: Some(1000), ..Recorder::default() };
        let mut batched = Batched::new(recorder);
        let sent: Vec<u8> = (0..300_000_usize).map(|number| (number % 251) as u8).collect();
        for (number, part) in sent.chunks(7_001).enumerate() {
            batched.write_all(part).await.unwrap();
            if number % 5 == 0 {
                batched.flush().await.unwrap();
            }
            assert!(batched.waiting.len() <= CAPACITY);
        }
        batched.shutdown().await.unwrap();
        assert!(batched.inner.is_shut);
        assert_eq!(batched.inner.writes.concat(), sent);
    }
}
