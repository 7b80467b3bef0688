//! SIGINT and SIGTERM: the first asks to come to an end, the second ends the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How a shell reports a process that was interrupted.
const INTERRUPTED: i32 = 130;

/// Calls `wind_down` on the first signal; the second one ends the process.
///
/// # Errors
///
/// When signals cannot be listened for.
pub(super) fn on_first_signal(wind_down: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let mut signals = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    tokio::spawn(async move {
        either(&mut signals).await;
        wind_down();
        either(&mut signals).await;
        std::process::exit(INTERRUPTED);
    });
    Ok(())
}

async fn either([interrupt, terminate]: &mut [Signal; 2]) {
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
}
