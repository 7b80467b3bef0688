//! Tells what happens to a lane's leases.

use super::LaneEvent;
use crate::pool::{AcquireError, Lease, Place};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Where a lane tells what happens to its leases. Clones tell the same listener; without one, nobody is told.
#[derive(Clone, Default)]
pub(super) struct Teller {
    listener: Arc<Mutex<Option<mpsc::Sender<LaneEvent>>>>,
}

impl Teller {
    /// Tells this listener from here on.
    pub(super) fn tell_to(&self, listener: mpsc::Sender<LaneEvent>) {
        *self.lock() = Some(listener);
    }

    fn lock(&self) -> MutexGuard<'_, Option<mpsc::Sender<LaneEvent>>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// News of a place in line may take half of the channel's places, and leases the others.
    fn tell(&self, event: LaneEvent) {
        let listener = self.lock();
        let Some(listener) = &*listener else { return };
        let has_room = match event {
            LaneEvent::Waiting(_) => listener.capacity() * 2 > listener.max_capacity(),
            LaneEvent::Granted { .. } | LaneEvent::Released { .. } => true,
        };
        if has_room {
            // Whoever left the channel full, or is gone, has been told enough.
            let _ = listener.try_send(event);
        }
    }

    pub(super) fn granted(&self, lease: &Lease) {
        self.tell(LaneEvent::Granted { slot: lease.slot(), waited: lease.waited() });
    }

    pub(super) fn released(&self, held: Duration) {
        self.tell(LaneEvent::Released { held });
    }

    /// Waits for the lease, and meanwhile tells where it stands whenever that changes; at last, that it has come.
    ///
    /// # Cancel safety
    ///
    /// As [`Place::lease`].
    pub(super) async fn stand_in_line(&self, place: &mut Place) -> Result<Lease, AcquireError> {
        let mut standing = place.standing();
        let leasing = place.lease();
        tokio::pin!(leasing);
        loop {
            tokio::select! {
                // The lease first: after it, news of the line is none.
                biased;
                lease = &mut leasing => return lease.inspect(|lease| self.granted(lease)),
                Ok(()) = standing.changed() => {
                    let news = *standing.borrow_and_update();
                    if let Some(at) = news {
                        self.tell(LaneEvent::Waiting(at));
                    }
                }
            }
        }
    }
}
