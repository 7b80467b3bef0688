//! What is now: one reading of the pool, the sessions, the device and the process, handed in by whoever renders.

use super::process::Process;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// The name of the gauge that counts tasks, which a load test looks for.
pub(super) const TASKS: &str = "stenopool_runtime_tasks";

/// The state of the server at one moment, all from one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauges {
    /// Slots that nobody holds.
    pub slots_idle: usize,
    /// Slots that somebody holds.
    pub slots_leased: usize,
    /// Slots that are being opened or rebuilt.
    pub slots_warming: usize,
    /// Slots out of service.
    pub slots_retired: usize,
    /// Tickets in line.
    pub waiting: usize,
    /// Live sessions.
    pub sessions_connected: usize,
    /// Those of them in which somebody speaks.
    pub sessions_speaking: usize,
    /// The device's memory, where it was read.
    pub memory: Option<Memory>,
    /// What somebody should look into.
    pub alerts: Alerts,
    /// Live tasks of the async runtime.
    pub tasks: usize,
    /// What the process uses, where the operating system says.
    pub process: Option<Process>,
}

/// The memory of the device that decodes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// What the device has.
    pub total: u64,
    /// What nobody uses, us and others alike.
    pub free: u64,
    /// What we leave alone.
    pub reserve: u64,
    /// What the weights take.
    pub weights: u64,
    /// What all slots take together.
    pub slots: u64,
}

/// What somebody should look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alerts {
    /// Fewer slots serve than should, and rebuilding does not help.
    pub capacity_lost: bool,
    /// The line is long.
    pub queue_long: bool,
    /// The device runs out of memory.
    pub memory_low: bool,
}

impl Gauges {
    /// All of it as metrics.
    pub(super) fn families(&self) -> Vec<MetricFamily> {
        let mut families = vec![
            build_info(),
            self.slots(),
            self.waiting(),
            self.sessions(),
            self.memory(),
            self.alerts(),
            self.tasks(),
        ];
        families.extend(self.process());
        families
    }

    fn slots(&self) -> MetricFamily {
        let states = [
            ("idle", self.slots_idle),
            ("leased", self.slots_leased),
            ("warming", self.slots_warming),
            ("retired", self.slots_retired),
        ];
        let help = "Slots of the pool, each in one state.";
        family("stenopool_pool_slots", help, labelled("state", &states.map(|(state, n)| (state, n as f64))))
    }

    fn waiting(&self) -> MetricFamily {
        let metric = metric(self.waiting as f64, &[]);
        family("stenopool_pool_waiting", "Tickets that stand in line for a slot.", vec![metric])
    }

    fn sessions(&self) -> MetricFamily {
        let states =
            [("connected", self.sessions_connected as f64), ("speaking", self.sessions_speaking as f64)];
        let help = "Live sessions; those in which somebody speaks are among the connected ones.";
        family("stenopool_sessions", help, labelled("state", &states))
    }

    /// Without a reading there is no sample: zero bytes free would be an alarm.
    fn memory(&self) -> MetricFamily {
        let metrics = self.memory.map_or_else(Vec::new, |memory| {
            let kinds = [
                ("total", memory.total),
                ("free", memory.free),
                ("reserve", memory.reserve),
                ("weights", memory.weights),
                ("slots", memory.slots),
            ];
            labelled("kind", &kinds.map(|(kind, bytes)| (kind, bytes as f64)))
        });
        let help = "Memory of the device that decodes: what there is, what is free, what is left alone, what we use.";
        family("stenopool_device_memory_bytes", help, metrics)
    }

    fn alerts(&self) -> MetricFamily {
        let Alerts { capacity_lost, queue_long, memory_low } = self.alerts;
        let kinds =
            [("capacity_lost", capacity_lost), ("queue_long", queue_long), ("memory_low", memory_low)];
        let help = "1 while somebody should look into it: slots that stay lost, a long line, little memory.";
        family("stenopool_alert", help, labelled("kind", &kinds.map(|(kind, on)| (kind, f64::from(on)))))
    }

    fn tasks(&self) -> MetricFamily {
        let help = "Live tasks of the async runtime: connections, sessions, decodes on their way.";
        family(TASKS, help, vec![metric(self.tasks as f64, &[])])
    }

    /// As for memory: without a reading there is no sample.
    fn process(&self) -> [MetricFamily; 4] {
        let gauge = |name, help, of: fn(&Process) -> u64| {
            let metrics = self.process.iter().map(|process| metric(of(process) as f64, &[]));
            family(name, help, metrics.collect())
        };
        [
            self.cpu(),
            gauge("process_open_fds", "Open file descriptors of the process.", |process| process.open_fds),
            gauge("process_resident_memory_bytes", "Resident memory of the process.", |process| {
                process.resident
            }),
            gauge("process_threads", "Threads of the process.", |process| process.threads),
        ]
    }

    fn cpu(&self) -> MetricFamily {
        let seconds = |process: &Process| {
            let mut counter = Counter::default();
            counter.set_value(process.cpu.as_secs_f64());
            let mut metric = Metric::default();
            metric.set_counter(counter);
            metric
        };
        let help = "Processor time that all threads of the process took together.";
        let metrics = self.process.iter().map(seconds).collect();
        let mut family = family("process_cpu_seconds_total", help, metrics);
        family.set_field_type(MetricType::COUNTER);
        family
    }
}

/// Which program this is; always 1, for joins.
fn build_info() -> MetricFamily {
    let labels = [
        ("commit", env!("STENOPOOL_BUILD_COMMIT")),
        ("features", env!("STENOPOOL_BUILD_FEATURES")),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    let help = "The version, commit and features of this program; always 1.";
    family("stenopool_build_info", help, vec![metric(1.0, &labels)])
}

fn labelled(label: &str, values: &[(&str, f64)]) -> Vec<Metric> {
    values.iter().map(|(value, number)| metric(*number, &[(label, value)])).collect()
}

fn metric(number: f64, labels: &[(&str, &str)]) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(number);
    let mut metric = Metric::from_gauge(gauge);
    metric.set_label(labels.iter().map(|(name, value)| pair(name, value)).collect());
    metric
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn family(name: &str, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(MetricType::GAUGE);
    family.set_metric(metrics);
    family
}
