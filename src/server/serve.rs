//! Accepts connections until the server stops, then lets those inside finish.

use super::connection::PatientStream;
use super::{Server, router};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

/// How long accepting rests when the process has run out of something (file descriptors, mostly).
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Serves until `server.stopping` is cancelled.
///
/// From then on `/readyz` says so, nobody new comes in, and the pool takes no new flows; requests and sessions in
/// progress get `grace` to end. What is left then is cut off.
///
/// # Errors
///
/// When the listener cannot tell its address: it was never bound.
pub async fn serve(listener: TcpListener, server: Arc<Server>, grace: Duration) -> io::Result<()> {
    info!(address = %listener.local_addr()?, "listening");
    let (connections, cut_off) = (TaskTracker::new(), CancellationToken::new());
    let router = router(Arc::clone(&server));
    while let Some((stream, peer)) = server.stopping.run_until_cancelled(accept(&listener)).await {
        debug!(%peer, "connected");
        let conversation = converse(stream, router.clone(), Arc::clone(&server));
        connections.spawn(cut_off.clone().run_until_cancelled_owned(conversation));
    }
    drop(listener);
    finish(&server, &connections, grace).await;
    cut_off.cancel();
    connections.wait().await;
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

/// Serves one connection to its end; when the server stops, to the end of the request in progress.
async fn converse(stream: TcpStream, router: Router, server: Arc<Server>) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "no TCP_NODELAY");
    }
    let stream = PatientStream::new(stream, server.settings.slow_client);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(server.settings.request_stall)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
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
    if tokio::time::timeout(grace, all).await.is_err() {
        let (requests, sessions) = (connections.len(), server.sessions.len());
        warn!(requests, sessions, "the grace period is over, cutting off who is left");
    }
}
