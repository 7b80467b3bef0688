//! Counts decodes down to the one that is to end the process, for `abort_after`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Lets so many decodes pass, and none after them.
pub(super) struct Fuse {
    left: AtomicU64,
}

impl Fuse {
    pub(super) fn of(decodes: u64) -> Self {
        Self { left: AtomicU64::new(decodes) }
    }

    /// Whether this decode is one too many.
    pub(super) fn blows(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fuse_lets_as_many_decodes_pass_as_it_is_for() {
        let fuse = Fuse::of(2);
        assert_eq!([fuse.blows(), fuse.blows(), fuse.blows(), fuse.blows()], [false, false, true, true]);
        assert!(Fuse::of(0).blows());
    }
}
