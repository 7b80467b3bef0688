//! Measures past how many slots more of them only slow each other down, before anybody else uses them.

use super::opener::{Opener, Opening};
use super::trial::{Trial, Verdict};
use crate::asr::noise::noise;
use crate::audio::Utterance;
use crate::gpu::{KneeSearch, Sizing};
use crate::pool::SlotId;
use std::future::pending;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::info;

/// How long the utterance is that all slots decode at once.
const UTTERANCE: Duration = Duration::from_secs(5);

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KneeFound {
    /// The knee; none when throughput still grew with the most slots that were measured.
    pub knee: Option<u16>,
    /// The most slots that were measured.
    pub reached: u16,
}

/// Searches for the knee among as many slots from `first` on as `sizing` says, of which so many are open. Says how many
/// are open now.
pub(super) async fn find(
    opener: &Opener,
    trial: &Trial,
    sizing: &Sizing,
    first: u16,
    mut open: u16,
) -> (KneeFound, u16) {
    info!(up_to = sizing.slots, "measuring how many slots are of use (`pool.knee` says when to)");
    let utterance = Arc::new(noise(UTTERANCE));
    let mut search = KneeSearch::new(sizing.slots);
    while let Some(slots) = search.next() {
        if !open_up_to(slots, first, &mut open, opener, sizing).await {
            break;
        }
        // A slot that died says nothing about the device.
        let Some(throughput) = measure(trial, first..first + slots, &utterance).await else { break };
        info!(slots, throughput, "seconds of audio per second");
        search.record(slots, throughput);
    }
    (KneeFound { knee: search.knee(), reached: search.reached().unwrap_or(1) }, open)
}

/// Opens slots until there are so many. `false` when that does not work.
async fn open_up_to(slots: u16, first: u16, open: &mut u16, opener: &Opener, sizing: &Sizing) -> bool {
    while *open < slots {
        let slot = SlotId(first + *open);
        let needed = sizing.reserve.and(sizing.footprint.slot);
        match opener.clone().open(slot, needed).await {
            Opening::Opened(_) => *open += 1,
            Opening::NoRoom(memory) => {
                info!(slot = slot.0, free = %memory.free, "no room to measure more slots");
                return false;
            }
            Opening::Failed(error) => {
                info!(slot = slot.0, %error, "more slots cannot be measured");
                opener.allocator.withdraw_slot(slot);
                return false;
            }
        }
    }
    true
}

/// Decodes on these slots at once; in seconds of audio per second, `None` when one of them failed.
async fn measure(trial: &Trial, slots: Range<u16>, utterance: &Arc<Utterance>) -> Option<f64> {
    let lend = |slot| trial.allocator.lend(SlotId(slot), "trial");
    let leases: Option<Vec<_>> = slots.clone().map(lend).collect();
    let begun = Instant::now();
    let mut trials = JoinSet::new();
    for lease in leases.unwrap_or_default() {
        let (trial, utterance) = (trial.clone(), Arc::clone(utterance));
        trials.spawn(async move { trial.run(lease, &utterance, pending()).await });
    }
    let verdicts = trials.join_all().await;
    let all_work =
        verdicts.len() == slots.len() && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Works(_)));
    let audio = slots.len() as f64 * utterance.span.duration().as_secs_f64();
    all_work.then(|| audio / begun.elapsed().as_secs_f64().max(1e-6))
}
