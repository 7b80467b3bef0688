//! A plan, for people to read.

use super::{Plan, TierFigures, WaitFigures};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.rows() {
            writeln!(f, "{name:26} {value}")?;
        }
        if !self.figures.tiers.is_empty() {
            writeln!(f, "\n{}", tiers(&self.figures.tiers))?;
        }
        writeln!(f, "\n{}", self.verdict())?;
        writeln!(f, "{}", self.binding())?;
        for assumption in &self.assumptions {
            writeln!(f, "Assumed: {assumption}.")?;
        }
        Ok(())
    }
}

impl Plan {
    /// What is known, by what it is called.
    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![
            ("people", self.spread()),
            ("each of them", self.habit()),
            ("slots", self.slot_count()),
            ("memory", self.memory_sum()),
            ("load of the slots", percent(self.figures.utilization)),
        ];
        rows.extend(self.waits());
        rows.push(("users per device", self.users()));
        rows.retain(|(_, value)| !value.is_empty());
        rows
    }

    fn habit(&self) -> String {
        format!(
            "speaks {:.0} % of the time: {:.1} s at a time, every {:.1} s",
            100.0 * self.duty,
            self.utterance_s,
            self.cycle_s
        )
    }

    /// How people wait, and how sure that is.
    fn waits(&self) -> [(&'static str, String); 4] {
        let (waits, sure) = (&self.figures.waits, &self.figures.plus_minus);
        let [p50, p95, p99] = [waits.wait_p50_ms, waits.wait_p95_ms, waits.wait_p99_ms].map(ms);
        let [final_p50, final_p95, target] =
            [waits.final_p50_ms, waits.final_p95_ms, self.target_p95_ms].map(ms);
        let probability = format!("{} ± {:.1}", percent(waits.waited_share), 100.0 * sure.waited_share);
        [
            ("probability of waiting", probability),
            ("mean wait", format!("{} ± {:.0}", ms(waits.wait_mean_ms), sure.wait_mean_ms)),
            ("wait p50, p95, p99", format!("{p50}, {p95} ± {:.0}, {p99}", sure.wait_p95_ms)),
            (
                "final latency p50, p95",
                format!("{final_p50}, {final_p95} ± {:.0}; target {target}", sure.final_p95_ms),
            ),
        ]
    }

    fn spread(&self) -> String {
        let people = grouped(self.people);
        match self.devices {
            1 => people,
            devices => {
                format!("{people}, on {} devices: {} on each", grouped(devices), self.people_on_each_device)
            }
        }
    }

    fn slot_count(&self) -> String {
        match self.devices {
            1 => self.slots.to_string(),
            _ => format!("{} on each device, {} in all", self.slots_per_device, grouped(self.slots)),
        }
    }

    fn memory_sum(&self) -> String {
        let memory = &self.memory;
        match (memory.weights_bytes, memory.slot_bytes, memory.device_bytes, memory.total_bytes) {
            (Some(weights), Some(slot), Some(device), Some(total)) => {
                let sum = format!(
                    "{} = weights {} + {} × {}",
                    bytes(device),
                    bytes(weights),
                    self.slots_per_device,
                    bytes(slot)
                );
                if self.devices > 1 { format!("{sum}; {} in all", bytes(total)) } else { sum }
            }
            (Some(weights), ..) => format!("weights {}, and what {} slots take", bytes(weights), self.slots),
            _ => String::new(),
        }
    }

    fn users(&self) -> String {
        let (users, slots) = (self.most_people_per_device, self.full_device_slots);
        format!(
            "{users} on {slots} {}, at a load of {}",
            plural(slots),
            percent(self.full_device_utilization)
        )
    }

    fn verdict(&self) -> String {
        let Self { devices, slots_per_device: slots, .. } = self;
        let people = grouped(self.people);
        let slot_word = plural(*slots);
        match (self.meets_target, devices) {
            (true, 1) => format!("{slots} {slot_word} will do for {people} people."),
            (true, _) => format!(
                "{people} people need {} devices of {slots} {slot_word}; each has a line of its own.",
                grouped(*devices)
            ),
            (false, _) => format!(
                "{slots} {slot_word} are not enough for {people} people: at most {} have their texts in time.",
                self.most_people_per_device
            ),
        }
    }

    /// What keeps more people out.
    fn binding(&self) -> String {
        let waits = &self.figures.waits;
        let fixed = self.overhead_ms + self.decode_ms;
        let spare = self.target_p95_ms - fixed;
        if spare < 0.2 * self.target_p95_ms {
            format!(
                "The target binds, not the slots: finding the end of the speech ({:.0} ms) and decoding ({:.0} ms) leave {:.0} of {:.0} ms for waiting.",
                self.overhead_ms,
                self.decode_ms,
                spare.max(0.0),
                self.target_p95_ms
            )
        } else if self.figures.utilization > 0.9 {
            "The slots' work binds: they hardly ever rest, and a few people more would make the line grow."
                .into()
        } else {
            format!(
                "Waiting binds: {:.0} ms are left for it, and its p95 is {:.0} ms because several speak at once at times.",
                spare, waits.wait_p95_ms
            )
        }
    }
}

fn tiers(tiers: &[TierFigures]) -> String {
    let row = |tier: &TierFigures| {
        let WaitFigures { waited_share, wait_mean_ms, wait_p95_ms, final_p95_ms, .. } = tier.waits;
        format!(
            "{:12} {:>6} {:>8} {:>9} {:>10} {:>9} {:>10}",
            tier.name,
            tier.weight,
            tier.people,
            percent(waited_share),
            ms(wait_mean_ms),
            ms(wait_p95_ms),
            ms(final_p95_ms)
        )
    };
    let head = format!(
        "{:12} {:>6} {:>8} {:>9} {:>10} {:>9} {:>10}",
        "tier", "weight", "people", "waiting", "mean wait", "wait p95", "final p95"
    );
    std::iter::once(head).chain(tiers.iter().map(row)).collect::<Vec<_>>().join("\n")
}

fn plural(slots: u16) -> &'static str {
    if slots == 1 { "slot" } else { "slots" }
}

fn percent(part: f64) -> String {
    format!("{:.1} %", 100.0 * part)
}

fn ms(ms: f64) -> String {
    format!("{ms:.0} ms")
}

fn bytes(bytes: u64) -> String {
    let units = ["MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64 / f64::from(1 << 20);
    let mut unit = 0;
    while value >= 10_240.0 && unit + 1 < units.len() {
        value /= 1_024.0;
        unit += 1;
    }
    format!("{value:.0} {}", units[unit])
}

/// With a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let comma = |(index, digit): (usize, char)| {
        let comma = (index > 0 && (digits.len() - index).is_multiple_of(3)).then_some(',');
        comma.into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(comma).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_can_be_read() {
        let cases = [(7, "7"), (999, "999"), (1_000, "1,000"), (1_000_000, "1,000,000")];
        for (number, shown) in cases {
            assert_eq!(grouped(number), shown);
        }
        let cases = [(16 << 20, "16 MiB"), (9_000 << 20, "9000 MiB"), (20 << 40, "20 TiB")];
        for (number, shown) in cases {
            assert_eq!(bytes(number), shown);
        }
    }
}
