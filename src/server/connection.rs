//! A TCP stream that does not wait for a slow client for ever, and that lets a refused one read why.

use super::pulse::Pulse;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long a closed connection may stay silent before it is given up.
const LINGER_SILENCE: Duration = Duration::from_secs(1);

/// How long a closed connection may go on sending.
const LINGER: Duration = Duration::from_secs(30);

/// A stream whose writes fail when the other side takes nothing for `patience`, and which lingers when it is closed:
/// unread bytes would turn the close into a reset, and the reset could overtake our last answer (a 413, say).
pub(super) struct PatientStream<S> {
    inner: S,
    patience: Duration,
    /// Runs while a write waits, and while the closed stream lingers.
    timer: Pin<Box<Sleep>>,
    writing_waits: bool,
    lingers_until: Option<Instant>,
    pulse: Arc<Pulse>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> PatientStream<S> {
    /// Wraps `inner`. `pulse` beats whenever the other side has sent or taken something.
    pub(super) fn new(inner: S, patience: Duration, pulse: Arc<Pulse>) -> Self {
        let timer = Box::pin(sleep(patience));
        Self { inner, patience, timer, writing_waits: false, lingers_until: None, pulse }
    }

    /// Passes a write's outcome on, or an error when it has been pending for too long.
    fn limited<T>(&mut self, cx: &mut Context, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            if std::mem::take(&mut self.writing_waits) {
                self.pulse.beat();
            }
            return outcome;
        }
        if !self.writing_waits {
            self.writing_waits = true;
            self.timer.as_mut().reset(Instant::now() + self.patience);
        }
        ready!(self.timer.as_mut().poll(cx));
        let message = format!("the client has taken nothing for {:?}", self.patience);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
    }

    /// Reads and forgets, until the other side has closed, is silent, or has had its time.
    fn linger(&mut self, cx: &mut Context, until: Instant) -> Poll<()> {
        let mut scrap = [0; 4096];
        loop {
            let mut scrap = ReadBuf::new(&mut scrap);
            match Pin::new(&mut self.inner).poll_read(cx, &mut scrap) {
                Poll::Ready(Ok(())) if !scrap.filled().is_empty() && Instant::now() < until => {
                    self.timer.as_mut().reset(Instant::now() + LINGER_SILENCE);
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.timer.as_mut().poll(cx),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context, buf: &mut ReadBuf) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pulse.beat();
        }
        outcome
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PatientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.limited(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
        bufs: &[io::IoSlice],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.limited(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(cx);
        self.limited(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        let until = if let Some(until) = self.lingers_until {
            until
        } else {
            let closed = Pin::new(&mut self.inner).poll_shutdown(cx);
            ready!(self.limited(cx, closed))?;
            self.timer.as_mut().reset(Instant::now() + LINGER_SILENCE);
            *self.lingers_until.insert(Instant::now() + LINGER)
        };
        self.linger(cx, until).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const PATIENCE: Duration = Duration::from_secs(5);

    fn patient(stream: DuplexStream) -> PatientStream<DuplexStream> {
        PatientStream::new(stream, PATIENCE, Arc::new(Pulse::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_loses_its_connection() {
        let (server, _client) = duplex(16);
        let since = Instant::now();
        let error = patient(server).write_all(&[0; 100]).await.unwrap_err();
        assert_eq!((error.kind(), since.elapsed()), (io::ErrorKind::TimedOut, PATIENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_little_now_and_then_keeps_it() {
        let (server, mut client) = duplex(16);
        let writing = tokio::spawn(async move {
            let mut stream = patient(server);
            stream.write_all(&[0; 160]).await
        });
        for _ in 0..10 {
            sleep(PATIENCE / 2).await;
            client.read_exact(&mut [0; 16]).await.unwrap();
        }
        assert!(writing.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_connection_swallows_what_was_still_on_its_way() {
        let (server, mut client) = duplex(16);
        let closing = tokio::spawn(async move { patient(server).shutdown().await });
        client.write_all(&[0; 1000]).await.expect("the rest of the upload is taken");
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0, "the close is seen meanwhile");
        drop(client);
        assert!(closing.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_connection_does_not_wait_for_a_silent_client() {
        let (server, _client) = duplex(16);
        let since = Instant::now();
        patient(server).shutdown().await.unwrap();
        assert_eq!(since.elapsed(), LINGER_SILENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_other_side_shows_that_it_lives_by_sending_and_by_taking_what_waits() {
        let (server, mut client) = duplex(16);
        let since = Instant::now();
        let pulse = Arc::new(Pulse::new());
        let mut stream = PatientStream::new(server, PATIENCE, Arc::clone(&pulse));
        sleep(PATIENCE).await;
        stream.write_all(&[0; 16]).await.unwrap();
        assert_eq!(pulse.last(), since, "what fits into buffers says nothing about the other side");
        let taking = async {
            sleep(PATIENCE / 2).await;
            client.read_exact(&mut [0; 16]).await.unwrap();
        };
        let (written, ()) = tokio::join!(stream.write_all(&[0; 16]), taking);
        written.unwrap();
        assert_eq!(pulse.last(), since + PATIENCE * 3 / 2);
        sleep(PATIENCE).await;
        client.write_all(&[0]).await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        assert_eq!(pulse.last(), since + PATIENCE * 5 / 2);
    }
}
