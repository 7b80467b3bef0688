//! Accepts connections until the server stops, then lets those inside finish.

use super::connection::PatientStream;
use super::pulse::Pulse;
use super::tls::Tls;
use super::{Server, router};
use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

/// Where a request comes from, or the proxy before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// How long accepting rests when the process has run out of something (file descriptors, mostly).
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How long sessions that are cut off have for telling their clients so.
const CUT_OFF: Duration = Duration::from_secs(2);

/// Serves without TLS; [`serve_over`] says how.
///
/// # Errors
///
/// As [`serve_over`].
pub async fn serve(listener: TcpListener, server: Arc<Server>, grace: Duration) -> io::Result<()> {
    serve_over(listener, None, server, grace).await
}

/// Serves until `server.stopping` is cancelled, over TLS where there is a certificate.
///
/// From then on `/readyz` says so, nobody new comes in, and the pool takes no new flows; requests and sessions in
/// progress get `grace` to end. What is left then is cut off: requests without an answer, sessions with `failed` for all
/// that they have not read. When this returns, none of them waits for a slot any more, and running decodes were told to end.
///
/// # Errors
///
/// When the listener cannot tell its address: it was never bound.
pub async fn serve_over(
    listener: TcpListener,
    tls: Option<Tls>,
    server: Arc<Server>,
    grace: Duration,
) -> io::Result<()> {
    info!(address = %listener.local_addr()?, tls = tls.is_some(), "listening");
    let connections = TaskTracker::new();
    let router = router(Arc::clone(&server));
    while let Some((stream, peer)) = server.stopping.run_until_cancelled(accept(&listener)).await {
        debug!(%peer, "connected");
        let conversation = welcome(stream, Peer(peer.ip()), tls.clone(), router.clone(), Arc::clone(&server));
        connections.spawn(server.cut_off.clone().run_until_cancelled_owned(conversation));
    }
    drop(listener);
    finish(&server, &connections, grace).await;
    server.cut_off.cancel();
    connections.wait().await;
    if timeout(CUT_OFF, server.sessions.wait()).await.is_err() {
        warn!(sessions = server.sessions.len(), "left without a word to clients that do not listen");
    }
    Ok(())
}

/// The next connection. Accepting goes on whatever happens: most errors are one client's, or pass.
async fn accept(listener: &TcpListener) -> (TcpStream, std::net::SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_the_clients(&error) => debug!(%error, "gone before it was accepted"),
            Err(error) => {
                warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Serves one connection, behind a handshake where TLS is spoken. Nobody else waits for it.
async fn welcome(stream: TcpStream, peer: Peer, tls: Option<Tls>, router: Router, server: Arc<Server>) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "no TCP_NODELAY");
    }
    let Some(tls) = tls else { return converse(stream, peer, router, server).await };
    match server.stopping.run_until_cancelled(tls.accept(stream)).await {
        Some(Ok(stream)) => converse(stream, peer, router, Arc::clone(&server)).await,
        Some(Err(error)) => debug!(peer = %peer.0, %error, "no TLS handshake"),
        None => {}
    }
}

/// Serves one connection to its end; when the server stops, to the end of the request in progress.
async fn converse<S>(stream: S, peer: Peer, router: Router, server: Arc<Server>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pulse = Arc::new(Pulse::new());
    let stream = PatientStream::new(stream, server.settings.slow_client, Arc::clone(&pulse));
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<_>| {
        request.extensions_mut().insert(Arc::clone(&pulse));
        request.extensions_mut().insert(peer);
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(server.settings.request_stall)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut ended = server.stopping.run_until_cancelled(connection.as_mut()).await;
    if ended.is_none() {
        connection.as_mut().graceful_shutdown();
        ended = Some(connection.await);
    }
    if let Some(Err(error)) = ended {
        debug!(%error, "connection broke");
    }
}

/// Waits for all who are inside, at most `grace`.
async fn finish(server: &Server, connections: &TaskTracker, grace: Duration) {
    server.lanes.allocator().drain();
    connections.close();
    server.sessions.close();
    let (requests, sessions) = (connections.len(), server.sessions.len());
    info!(requests, sessions, grace_ms = grace.as_millis() as u64, "stopping");
    let all = async { tokio::join!(connections.wait(), server.sessions.wait()) };
    if timeout(grace, all).await.is_err() {
        let (requests, sessions) = (connections.len(), server.sessions.len());
        warn!(requests, sessions, "the grace period is over, cutting off who is left");
    }
}
