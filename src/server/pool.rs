//! `GET /pool`: what the pool has, who holds it and who waits. Everything about slots, holders and line is from one
//! reading; no text of anybody is in it.

use super::Server;
use crate::asr::{Capacity, SiteCapacity};
use crate::gpu::{Bytes, DeviceMemory, Sizing};
use crate::pool::{Holder, LeaseScope, Service, Slots, Snapshot, Waiter};
use crate::telemetry::metrics::{Alerts, Gauges, Memory};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// From how long a wait on the line counts as long.
const LONG_WAIT: Duration = Duration::from_secs(10);

/// `GET /pool`.
pub(super) async fn pool(State(server): State<Arc<Server>>) -> Response {
    let reading = Reading::take(&server);
    Json(reading.wire(server.settings.lease)).into_response()
}

/// The pool at one moment: what `/pool` and `/metrics` both tell.
pub(super) struct Reading {
    model: String,
    pool: Snapshot,
    capacity: Capacity,
}

impl Reading {
    /// Looks at the pool.
    pub(super) fn take(server: &Server) -> Self {
        Self {
            model: server.lanes.model().name.clone(),
            pool: server.lanes.allocator().snapshot(),
            capacity: server.capacity.borrow().clone(),
        }
    }

    /// The same as gauges; those of the process are not of the pool.
    pub(super) fn gauges(&self) -> Gauges {
        let Self { pool, capacity, .. } = self;
        let (DeviceMemory { total, free }, sizing) = (capacity.memory(), capacity.sizing());
        let Bytes(weights) = sizing.footprint.weights;
        let Bytes(slots) = sizing.footprint.slot.times(pool.slots.total as u16);
        Gauges {
            slots_idle: pool.slots.idle,
            slots_leased: pool.slots.leased,
            slots_warming: pool.slots.warming,
            slots_retired: pool.slots.retired,
            waiting: pool.queue.depth(),
            sessions_connected: pool.sessions.connected,
            sessions_speaking: pool.sessions.speaking,
            memory: Some(Memory { total: total.0, free: free.0, reserve: sizing.reserve.0, weights, slots }),
            alerts: self.alerts(),
            ..Gauges::default()
        }
    }

    fn alerts(&self) -> Alerts {
        let (pool, alerts) = (&self.pool, self.capacity.alerts());
        Alerts {
            capacity_lost: alerts.capacity_lost,
            queue_long: pool.queue.depth() * 2 >= pool.queue.limit || pool.queue.oldest_wait >= LONG_WAIT,
            memory_low: alerts.memory_low,
        }
    }

    fn wire(&self, lease_scope: LeaseScope) -> PoolWire<'_> {
        let Self { model, pool, capacity } = self;
        let sizing = capacity.sizing();
        PoolWire {
            model,
            device: DeviceWire::of_all(capacity),
            devices: capacity.sites.iter().map(SiteWire::new).collect(),
            engine: "whisper.cpp",
            sizing: SizingWire::new(sizing),
            slots: SlotsWire::new(pool.slots),
            lease_scope: lease_scope.name(),
            holders: pool.holders.iter().map(HolderWire::new).collect(),
            queue: QueueWire::new(pool),
            service: ServiceWire::new(&pool.service),
            sessions: SessionsWire { connected: pool.sessions.connected, speaking: pool.sessions.speaking },
            oversubscription: oversubscription(pool),
            fairness: pool.fairness.map(thousandths),
            draining: pool.draining,
        }
    }
}

/// Sessions for each slot that serves; `None` when none does.
fn oversubscription(pool: &Snapshot) -> Option<f64> {
    let slots = pool.slots.in_service();
    (slots > 0).then(|| thousandths(pool.sessions.connected as f64 / slots as f64))
}

#[derive(Serialize)]
struct PoolWire<'a> {
    model: &'a str,
    /// All of them together.
    device: DeviceWire<'a>,
    /// One by one.
    devices: Vec<SiteWire<'a>>,
    engine: &'static str,
    sizing: SizingWire,
    slots: SlotsWire,
    /// Of sessions that do not say otherwise.
    lease_scope: &'static str,
    holders: Vec<HolderWire<'a>>,
    queue: QueueWire<'a>,
    service: ServiceWire,
    sessions: SessionsWire,
    oversubscription: Option<f64>,
    fairness: Option<f64>,
    draining: bool,
}

#[derive(Serialize)]
struct DeviceWire<'a> {
    kind: &'static str,
    name: Cow<'a, str>,
    memory: MemoryWire,
}

#[derive(Serialize)]
struct SiteWire<'a> {
    #[serde(flatten)]
    device: DeviceWire<'a>,
    uuid: Option<&'a str>,
    sizing: SizingWire,
    /// Sized for so many.
    slots: u16,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "as clients know them")]
struct MemoryWire {
    total_bytes: u64,
    free_bytes: u64,
    reserve_bytes: u64,
}

impl<'a> DeviceWire<'a> {
    fn of_all(capacity: &'a Capacity) -> Self {
        let kind = capacity.sites.first().map_or("cpu", |site| site.device.kind.as_str());
        let memory = MemoryWire::new(capacity.memory(), capacity.sizing().reserve);
        Self { kind, name: capacity.device_names().into(), memory }
    }
}

impl MemoryWire {
    fn new(DeviceMemory { total, free }: DeviceMemory, reserve: Bytes) -> Self {
        Self { total_bytes: total.0, free_bytes: free.0, reserve_bytes: reserve.0 }
    }
}

impl<'a> SiteWire<'a> {
    fn new(SiteCapacity { device, memory, sizing, .. }: &'a SiteCapacity) -> Self {
        let memory = MemoryWire::new(*memory, sizing.reserve);
        Self {
            device: DeviceWire { kind: device.kind.as_str(), name: (&*device.name).into(), memory },
            uuid: device.uuid.as_deref(),
            sizing: SizingWire::new(*sizing),
            slots: sizing.slots,
        }
    }
}

#[derive(Serialize)]
struct SizingWire {
    fits: u16,
    knee: Option<u16>,
    max_slots: u16,
    binding: &'static str,
    weights_bytes: u64,
    slot_bytes: u64,
}

impl SizingWire {
    fn new(Sizing { fits, knee, max_slots, binding, footprint, .. }: Sizing) -> Self {
        let (weights_bytes, slot_bytes) = (footprint.weights.0, footprint.slot.0);
        Self { fits, knee, max_slots, binding: binding.as_str(), weights_bytes, slot_bytes }
    }
}

#[derive(Serialize)]
struct SlotsWire {
    total: usize,
    idle: usize,
    leased: usize,
    warming: usize,
    retired: usize,
}

impl SlotsWire {
    fn new(Slots { total, idle, leased, warming, retired }: Slots) -> Self {
        Self { total, idle, leased, warming, retired }
    }
}

#[derive(Serialize)]
struct HolderWire<'a> {
    slot: u16,
    session: &'a str,
    scope: &'static str,
    tier: &'a str,
    held_ms: u64,
    idle_ms: u64,
}

impl<'a> HolderWire<'a> {
    fn new(holder: &'a Holder) -> Self {
        Self {
            slot: holder.slot.0,
            session: &holder.name,
            scope: holder.scope.name(),
            tier: &holder.tier,
            held_ms: whole_millis(holder.held),
            idle_ms: whole_millis(holder.idle),
        }
    }
}

#[derive(Serialize)]
struct QueueWire<'a> {
    depth: usize,
    limit: usize,
    oldest_wait_ms: u64,
    waiters: Vec<WaiterWire<'a>>,
}

impl<'a> QueueWire<'a> {
    fn new(pool: &'a Snapshot) -> Self {
        Self {
            depth: pool.queue.depth(),
            limit: pool.queue.limit,
            oldest_wait_ms: whole_millis(pool.queue.oldest_wait),
            waiters: pool.queue.waiters.iter().map(WaiterWire::new).collect(),
        }
    }
}

#[derive(Serialize)]
struct WaiterWire<'a> {
    session: &'a str,
    tier: &'a str,
    class: &'static str,
    position: usize,
    estimated_wait_ms: Option<u64>,
}

impl<'a> WaiterWire<'a> {
    fn new(waiter: &'a Waiter) -> Self {
        Self {
            session: &waiter.name,
            tier: &waiter.tier,
            class: waiter.class.name(),
            position: waiter.standing.position,
            estimated_wait_ms: waiter.standing.estimated_wait.map(whole_millis),
        }
    }
}

#[derive(Serialize)]
struct ServiceWire {
    decode_p50_ms: Option<f64>,
    decode_p95_ms: Option<f64>,
    wait_p50_ms: Option<f64>,
    wait_p95_ms: Option<f64>,
    utilization: f64,
}

impl ServiceWire {
    fn new(service: &Service) -> Self {
        let ms =
            |duration: Option<Duration>| duration.map(|duration| thousandths(duration.as_secs_f64() * 1e3));
        Self {
            decode_p50_ms: ms(service.decode_p50),
            decode_p95_ms: ms(service.decode_p95),
            wait_p50_ms: ms(service.wait_p50),
            wait_p95_ms: ms(service.wait_p95),
            utilization: thousandths(service.utilization),
        }
    }
}

#[derive(Serialize)]
struct SessionsWire {
    connected: usize,
    speaking: usize,
}

/// A time in milliseconds, rounded up: what takes time is not told to take none.
pub(super) fn whole_millis(time: Duration) -> u64 {
    time.as_nanos().div_ceil(1_000_000) as u64
}

/// Three places are enough for people and dashboards.
fn thousandths(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr;
    use crate::gpu::{Binding, DeviceInfo, DeviceKind, Footprint};
    use crate::pool::{Allocator, Ask, Class, Cost, FlowInfo, PoolSettings, SlotId};

    const SECOND: Duration = Duration::from_secs(1);

    fn capacity() -> Capacity {
        let memory = DeviceMemory { total: Bytes(24_000), free: Bytes(9_000) };
        let sizing = Sizing {
            fits: 9,
            knee: Some(1),
            max_slots: 16,
            binding: Binding::Knee,
            slots: 1,
            footprint: Footprint { weights: Bytes(3_000), slot: Bytes(700) },
            reserve: Bytes(1_000),
            memory,
        };
        let device = DeviceInfo { kind: DeviceKind::Cuda, name: "Card".into(), uuid: None };
        let alerts = asr::Alerts { capacity_lost: false, memory_low: true };
        Capacity { sites: vec![SiteCapacity { device, memory, sizing, alerts }] }
    }

    /// One slot, which `ann` holds, and `bob` waits.
    async fn reading() -> Reading {
        let (allocator, _retired) = Allocator::new(PoolSettings::default());
        allocator.add(SlotId(0));
        let ask = Ask::new(Class::Final, Cost(SECOND * 2));
        let (ann, bob) =
            (allocator.enroll(FlowInfo::session("ann")), allocator.enroll(FlowInfo::session("bob")));
        ann.set_speaking(true);
        let _held = allocator.acquire(&ann, ask, None).await.unwrap();
        let _place = allocator.enqueue(&bob, ask, None).unwrap();
        tokio::time::advance(SECOND / 2).await;
        Reading { model: "demo".into(), pool: allocator.snapshot(), capacity: capacity() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_pool_is_shown_as_its_clients_know_it() {
        let reading = reading().await;
        insta::assert_json_snapshot!(reading.wire(LeaseScope::Utterance));
    }

    #[tokio::test(start_paused = true)]
    async fn the_gauges_say_the_same() {
        let gauges = reading().await.gauges();
        let Gauges { slots_leased, waiting, sessions_connected, sessions_speaking, memory, alerts, .. } =
            gauges;
        assert_eq!((slots_leased, waiting, sessions_connected, sessions_speaking), (1, 1, 2, 1));
        let memory = memory.expect("the device was read");
        assert_eq!((memory.total, memory.free, memory.weights, memory.slots), (24_000, 9_000, 3_000, 700));
        assert!(alerts.memory_low && !alerts.capacity_lost && !alerts.queue_long);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_of_ten_seconds_is_a_long_queue() {
        let mut reading = reading().await;
        reading.pool.queue.oldest_wait = LONG_WAIT;
        assert!(reading.gauges().alerts.queue_long);
    }
}
