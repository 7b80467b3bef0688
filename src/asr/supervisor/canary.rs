//! Tries idle slots now and then: a slot that died in its sleep is found before somebody speaks into it.

use super::trial::{Trial, Verdict};
use crate::asr::noise::noise;
use crate::audio::Utterance;
use crate::pool::SlotId;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tracing::{debug, warn};

/// How long the utterance is.
const UTTERANCE: Duration = Duration::from_millis(500);

/// How often it is looked whether somebody wants the slot that is being tried.
const COURTESY: Duration = Duration::from_millis(50);

/// A slot is tried for at most this part of its time: on a slow machine a canary would else be most of the load.
const REST_PER_WORK: u32 = 20;

/// Tries every slot that has been idle and unproven for `period`, one after the other. Runs until it is dropped.
pub(super) async fn run(trial: Trial, period: Duration) {
    let utterance = Arc::new(noise(UTTERANCE));
    let mut latest = Duration::ZERO;
    loop {
        sleep(period / 4).await;
        for slot in trial.allocator.unproven(period.max(latest * REST_PER_WORK)) {
            if let Some(Verdict::Works(took)) = try_out(&trial, slot, &utterance).await {
                latest = took;
            }
        }
    }
}

/// Tries one slot, unless it is the last idle one and somebody waits. It is given up for whoever comes meanwhile.
async fn try_out(trial: &Trial, slot: SlotId, utterance: &Arc<Utterance>) -> Option<Verdict> {
    if trial.allocator.slots().idle <= 1 && somebody_waits(trial) {
        return None;
    }
    let lease = trial.allocator.lend(slot, "canary")?;
    let verdict = trial.run(lease, utterance, wanted(trial)).await;
    match &verdict {
        Verdict::Dead(fault) => warn!(slot = slot.0, fault, "a canary found a slot that does not work"),
        verdict => debug!(slot = slot.0, ?verdict, "canary"),
    }
    Some(verdict)
}

fn somebody_waits(trial: &Trial) -> bool {
    trial.allocator.waiting() > 0
}

/// Until somebody waits and no slot is idle.
async fn wanted(trial: &Trial) {
    loop {
        sleep(COURTESY).await;
        if trial.allocator.slots().idle == 0 && somebody_waits(trial) {
            return;
        }
    }
}
