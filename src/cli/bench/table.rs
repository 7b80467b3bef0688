//! One report for a terminal.

use super::figures::{DeviceFigures, MemoryFigures, Report, SileroFigures, VoiceFigures};
use crate::gpu::Bytes;
use crate::load::Quantiles;
use std::fmt;

/// Width of the names of figures.
const NAME: usize = 24;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stenopool, device, model, settings, .. } = self;
        line(
            f,
            "stenopool",
            &format!("{} ({}), features {}", stenopool.version, stenopool.commit, stenopool.features),
        )?;
        line(f, "device", &device.to_string())?;
        let file = model.file_bytes.map_or("in the binary".into(), |bytes| Bytes(bytes).to_string());
        line(f, "model", &format!("{}, {file}, window {}", model.name, model.window))?;
        let bound = settings.max_tokens.map(|most| format!(", at most {most} tokens")).unwrap_or_default();
        line(
            f,
            "decodes",
            &format!("{}{bound}; threads for each slot: {}", settings.sound, settings.threads),
        )?;
        self.openings(f)?;
        self.memory.iter().try_for_each(|memory| in_lines(memory, f))?;
        self.curve(f)?;
        self.others(f)?;
        self.word_errors(f)?;
        for check in &self.checks {
            let mark = if check.passed { "ok" } else { "NO" };
            line(f, &format!("  {mark}  {}", check.name), &check.detail)?;
        }
        Ok(())
    }
}

impl Report {
    fn openings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(opening) = &self.opening else { return Ok(()) };
        let first = format!("{:.1} s, once more {:.1} s", opening.first_ms / 1e3, opening.again_ms / 1e3);
        line(f, "first slot ready after", &first)?;
        line(f, "all slots open after", &format!("{:.1} s more", opening.all_ms / 1e3))
    }

    fn curve(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.points.is_empty() {
            return Ok(());
        }
        line(f, "busy slots", &format!("{:>10} {:>10} {:>10} {:>10}", "audio s/s", "p50", "p95", "decodes"))?;
        for point in &self.points {
            let Quantiles { p50, p95, .. } = point.decode_ms;
            let knee = if self.knee == Some(point.slots) { "  ← knee" } else { "" };
            let (p50, p95) = (milliseconds(p50), milliseconds(p95));
            let figures =
                format!("{:>10.2} {p50:>10} {p95:>10} {:>10}{knee}", point.throughput, point.decodes);
            line(f, &format!("{:>10}", point.slots), &figures)?;
        }
        match self.knee {
            Some(_) => Ok(()),
            None => line(f, "knee", "none: throughput still grew with the most slots"),
        }
    }

    fn others(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stage in &self.stages {
            let name = format!("encoder, {} ({} s)", stage.window, stage.audio_s);
            let token = match stage.token_ms {
                Some(token) => format!("; decoder {token:.2} ms for a token (of {})", stage.tokens),
                None => "; decoder: nothing to tell it from; give it speech with --audio, and a machine that is idle".into(),
            };
            line(f, &name, &format!("{}{token}", milliseconds(stage.encoder_ms)))?;
        }
        if let Some(abort) = &self.abort {
            let Quantiles { p50, p95, max, .. } = abort.latency_ms;
            let [p50, p95, max] = [p50, p95, max].map(milliseconds);
            line(
                f,
                "abort",
                &format!(
                    "p50 {p50}, p95 {p95}, max {max} ({} of {} stopped early)",
                    abort.heard, abort.tries
                ),
            )?;
        }
        for silero in &self.silero {
            let SileroFigures { device, step_us, step_of_32_us } = silero;
            let name = format!("voice detector, {device}");
            line(f, &name, &format!("{step_us:.0} µs for a frame, {step_of_32_us:.0} µs among 32"))?;
        }
        let Some(voice) = &self.voice else { return Ok(()) };
        let Quantiles { p50, p95, .. } = voice.first_sound_ms;
        line(f, "voice", &format!("{voice}, ready after {}", milliseconds(voice.ready_ms)))?;
        line(f, "  first sound", &format!("p50 {}, p95 {}", milliseconds(p50), milliseconds(p95)))?;
        line(
            f,
            "  real-time factor",
            &format!("{:.3}; memory {}", voice.real_time_factor, Bytes(voice.memory_bytes)),
        )
    }

    fn word_errors(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for words in &self.words {
            let kinds = words.wer_by_kind.iter().map(|(kind, wer)| format!("{kind} {:.1} %", 100.0 * wer));
            let kinds = kinds.collect::<Vec<_>>().join(", ");
            let all = format!("{:.2} % ({} of {} words", 100.0 * words.wer, words.errors, words.words);
            line(
                f,
                &format!("word error, {}", words.device),
                &format!("{all}; {kinds}), {} s", words.seconds),
            )?;
        }
        Ok(())
    }
}

fn in_lines(memory: &MemoryFigures, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let of = Bytes;
    let (weights, slot) = (of(memory.weights_bytes), of(memory.slot_bytes));
    line(f, "footprint", &format!("{weights} weights, {slot} per slot"))?;
    let most = memory.max_slots;
    line(f, "slots", &format!("{} fit, {} were opened (at most {most})", memory.fits, memory.opened))?;
    let (taken, promised) = (of(memory.taken_bytes), of(memory.promised_bytes));
    line(f, "taken, all at work", &format!("{taken}, the footprint says {promised}"))?;
    let (before, lowest) = (of(memory.free_before_bytes), of(memory.free_lowest_bytes));
    let reserve = of(memory.reserve_bytes);
    line(f, "free", &format!("{before} before, {lowest} at the least; {reserve} in reserve"))?;
    let given: Vec<i64> = memory.given_back_bytes.clone();
    let (least, most) = (given.iter().min().copied(), given.iter().max().copied());
    let each = format!("{} to {}", mebibytes(least.unwrap_or(0)), mebibytes(most.unwrap_or(0)));
    let left = mebibytes(memory.left_behind_bytes);
    line(f, "given back", &format!("{each} by each slot; {left} left behind in the end"))
}

impl fmt::Display for VoiceFigures {
    /// Who speaks, and where.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { voice, engine, device, .. } = self;
        match device {
            Some(device) => write!(f, "{voice} ({engine} on {device})"),
            None => write!(f, "{voice} ({engine})"),
        }
    }
}

impl fmt::Display for DeviceFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, cores, cpu_features, .. } = self;
        write!(f, "{name}, {}", Bytes(self.memory_bytes))?;
        if self.kind == "cpu" {
            return write!(f, ", {cores} cores ({cpu_features})");
        }
        let watts = self.power_limit_watts.map(|watts| format!("{watts:.0} W"));
        let told = [
            self.compute_capability.as_ref().map(|capability| format!("compute capability {capability}")),
            self.driver.as_ref().map(|driver| format!("driver {driver}")),
            self.cuda.as_ref().map(|cuda| format!("CUDA {cuda}")),
            watts,
            self.sm_clock_mhz.map(|clock| format!("{clock} MHz")),
        ];
        told.into_iter().flatten().try_for_each(|told| write!(f, ", {told}"))
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    writeln!(f, "{name:NAME$} {value}")
}

pub(super) fn milliseconds(ms: f64) -> String {
    if ms < 100.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// Also less than nothing.
fn mebibytes(bytes: i64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
