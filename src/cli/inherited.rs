//! A listening socket that was there before us: of a systemd socket unit, or of whatever else starts the server again.
//!
//! It outlives the process, so that clients that come while the server starts wait in the kernel's queue instead of being
//! refused. How it is handed over is systemd's way: `LISTEN_FDS=1`, and the socket is descriptor 3.

use super::failure::Failure;
use listenfd::ListenFd;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// What was handed over.
pub(super) struct Inherited(ListenFd);

impl Inherited {
    /// Looks at the environment, and takes what is said there out of it. To be called while there is one thread.
    pub(super) fn take() -> Self {
        Self(ListenFd::from_env())
    }

    /// Nothing, as most have it.
    #[cfg(test)]
    fn nothing() -> Self {
        Self(ListenFd::empty())
    }

    /// The socket and where it listens; `None` where none was handed over. To be called on a runtime.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of the configuration: there are several, or it is no TCP socket.
    pub(super) fn listener(mut self) -> Result<Option<(TcpListener, SocketAddr)>, Failure> {
        match self.0.len() {
            0 => return Ok(None),
            1 => {}
            // Clients of a socket that nobody accepts from would wait for ever.
            several => {
                let message = format!("{several} sockets were handed over, and one is served");
                return Err(Failure::configuration(message, ONE_SOCKET));
            }
        }
        let unusable = |error: std::io::Error| {
            let message = format!("the socket that was handed over cannot be used: {error}");
            Failure::configuration(message, ONE_SOCKET)
        };
        let Some(listener) = self.0.take_tcp_listener(0).map_err(unusable)? else { return Ok(None) };
        listener.set_nonblocking(true).map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        let listener = TcpListener::from_std(listener).map_err(unusable)?;
        Ok(Some((listener, address)))
    }
}

const ONE_SOCKET: &str =
    "hand over one listening TCP socket, as with one ListenStream=ADDR:PORT in a systemd socket unit";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_was_handed_nothing_listens_for_itself() {
        assert!(Inherited::nothing().listener().unwrap().is_none());
    }
}
