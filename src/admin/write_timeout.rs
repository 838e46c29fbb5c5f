//! The limit of time for a client to take what is written to it.
//!
//! Data for a client that takes nothing waits in buffers that are full, and the task that writes
//! waits with it: without a bound a client that has stopped reading, or a host that is gone, would
//! hold its connection for as long as it likes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// A stream whose other side must take something now and then, while there is something.
pub struct WriteTimeoutStream<S> {
    stream: S,
    wait: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteTimeoutStream<S> {
    /// Bounds the time from one byte taken to the next by `wait`.
    pub fn new(stream: S, wait: Duration) -> WriteTimeoutStream<S> {
        WriteTimeoutStream {
            stream,
            wait,
            waiting: None,
        }
    }

    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.waiting = None;
            return done;
        }
        let wait = self.wait;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(wait)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the client took nothing for {} ms", wait.as_millis()),
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeoutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeoutStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bounded(cx, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.bounded(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(cx, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use quorate_clock::Instant;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::interval,
    };

    use super::*;

    const WAIT: Duration = Duration::from_millis(300);

    // guarantee: WATCH-4
    #[tokio::test]
    async fn who_takes_nothing_is_cut_off_and_who_takes_slowly_is_not() {
        let (mut client, ours) = duplex(8);
        let mut ours = WriteTimeoutStream::new(ours, WAIT);
        let writer = tokio::spawn(async move {
            let error = ours.write_all(&[1; 64]).await.expect_err("cut off");
            (error, Instant::now())
        });
        let mut pause = interval(WAIT / 3);
        let mut byte = [0; 4];
        for _ in 0..12 {
            pause.tick().await;
            client.read_exact(&mut byte).await.unwrap();
        }
        let last = Instant::now();
        let (error, at) = writer.await.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(at - last >= WAIT * 9 / 10, "{:?}", at - last);
    }
}
