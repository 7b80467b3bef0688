//! What `GET /pool` says, as far as a load test wants to know it.

use serde::Deserialize;

/// The device kind of a host without GPU: its memory is everybody's, so nothing of it is charged to a server.
const HOST: &str = "cpu";

/// One answer to `GET /pool`, in its own shape.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PoolReading {
    /// The loaded model.
    pub model: String,
    /// Where it decodes.
    device: Device,
    /// How the number of slots came about.
    pub sizing: SizingReading,
    /// The slots.
    pub slots: SlotsReading,
    queue: Queue,
    service: Service,
    sessions: Sessions,
}

/// The sum that gave the number of slots.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SizingReading {
    /// How many the memory holds.
    pub fits: u16,
    /// Past how many more bring nothing, if that was measured.
    pub knee: Option<u16>,
    /// How many there may be.
    pub max_slots: u16,
    /// Which of these binds.
    pub binding: String,
    /// What the weights take, in bytes.
    pub weights_bytes: u64,
    /// What a slot takes, in bytes.
    pub slot_bytes: u64,
}

/// How many slots there are, and what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct SlotsReading {
    /// All of them.
    pub total: u16,
    /// Those that nobody holds.
    pub idle: u16,
    /// Those that somebody holds.
    pub leased: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Device {
    kind: String,
    name: String,
    memory: Memory,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Memory {
    total_bytes: u64,
    free_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Queue {
    depth: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Service {
    decode_p50_ms: Option<f64>,
    decode_p95_ms: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Sessions {
    connected: u64,
}

impl PoolReading {
    /// Reads an answer; `None` for what is none.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Tickets in line.
    pub fn queued(&self) -> u64 {
        self.queue.depth
    }

    /// Live sessions.
    pub fn sessions(&self) -> u64 {
        self.sessions.connected
    }

    /// What kind of device decodes: `cpu`, `cuda`.
    pub fn device_kind(&self) -> &str {
        &self.device.kind
    }

    /// What the device calls itself.
    pub fn device_name(&self) -> &str {
        &self.device.name
    }

    /// Bytes of the GPU's memory that are in use, by everybody on it; `None` on a host without GPU.
    pub fn device_memory_used(&self) -> Option<u64> {
        let Memory { total_bytes, free_bytes } = self.device.memory;
        (self.device.kind != HOST).then(|| total_bytes.saturating_sub(free_bytes))
    }

    /// Median and 95th percentile of recent decodes, in milliseconds.
    pub fn decode_ms(&self) -> Option<[f64; 2]> {
        Some([self.service.decode_p50_ms?, self.service.decode_p95_ms?])
    }

    /// Whether nobody is there: no session, nobody in line, every slot idle.
    pub fn is_quiet(&self) -> bool {
        self.sessions() == 0 && self.queued() == 0 && self.slots.idle == self.slots.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of ours, with these idle of two slots, so many sessions, and this device.
    fn answer(idle: u16, sessions: u64, kind: &str) -> PoolReading {
        let text = format!(
            r#"{{"model": "demo", "device": {{"kind": "{kind}", "name": "Card", "memory": {{"total_bytes": 100,
            "free_bytes": 30, "reserve_bytes": 5}}}}, "engine": "whisper.cpp", "sizing": {{"fits": 9, "knee": null,
            "max_slots": 16, "binding": "fits", "weights_bytes": 3, "slot_bytes": 7}}, "slots": {{"total": 2,
            "idle": {idle}, "leased": {leased}, "warming": 0, "retired": 0}}, "holders": [], "queue": {{"depth": 0,
            "limit": 8}}, "service": {{"decode_p50_ms": 1.5, "decode_p95_ms": 3.0}}, "sessions":
            {{"connected": {sessions}, "speaking": 0}}, "draining": false}}"#,
            leased = 2 - idle
        );
        PoolReading::from_json(&text).unwrap()
    }

    #[test]
    fn an_answer_of_ours_is_understood() {
        let pool = answer(1, 3, "cuda");
        assert_eq!((pool.model.as_str(), pool.device_kind(), pool.device_name()), ("demo", "cuda", "Card"));
        assert_eq!(pool.slots, SlotsReading { total: 2, idle: 1, leased: 1 });
        assert_eq!((pool.sizing.fits, pool.sizing.knee, pool.sizing.slot_bytes), (9, None, 7));
        assert_eq!((pool.sessions(), pool.queued(), pool.decode_ms()), (3, 0, Some([1.5, 3.0])));
    }

    #[test]
    fn memory_of_the_device_is_told_for_gpus_only() {
        let used = |kind| answer(2, 0, kind).device_memory_used();
        assert_eq!([used("cuda"), used("cpu")], [Some(70), None]);
    }

    #[test]
    fn a_server_is_quiet_when_nobody_is_connected_and_every_slot_is_idle() {
        let quiet = [(2, 0), (1, 0), (2, 1)].map(|(idle, sessions)| answer(idle, sessions, "cpu").is_quiet());
        assert_eq!(quiet, [true, false, false]);
    }

    #[test]
    fn what_others_answer_is_nothing() {
        for text in ["", "{}", "<html>", r#"{"model": 3}"#] {
            assert_eq!(PoolReading::from_json(text), None, "{text}");
        }
    }
}
