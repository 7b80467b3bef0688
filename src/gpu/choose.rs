//! Which of the GPUs that were found is meant. Pure: the list is handed in, and so is what the environment says.
//!
//! NVML counts all GPUs in the order of their bus addresses. CUDA counts those that `CUDA_VISIBLE_DEVICES` leaves, in the
//! order given there (and puts the fastest first unless `CUDA_DEVICE_ORDER=PCI_BUS_ID`). A number alone can therefore
//! mean two different cards, and a pool sized by the memory of the wrong one: whoever measures goes by UUID, and numbers
//! are looked up once, here, after the GPUs were [`numbered`] as CUDA says that it numbers them. Where CUDA cannot be
//! asked, [`visible`] works out what it would say.

use super::selector::{GpuName, is_uuid, number};
use super::{Capability, DeviceInfo, DeviceKind, DeviceMemory, DeviceSelector, GpuError};
use std::cmp::Reverse;
use std::fmt;

/// How a GPU stands to MIG, which splits one card into instances with memory of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mig {
    /// A whole GPU.
    Off,
    /// A GPU in MIG mode: nothing runs on it, only on its instances.
    Split,
    /// One such instance.
    Instance,
}

/// A GPU that was found, or an instance of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// The N in `cuda:N`. An instance has the number of its GPU.
    pub index: u32,
    /// What names it for good: `GPU-…` or `MIG-…`.
    pub uuid: String,
    /// As sold: `NVIDIA H200`.
    pub name: String,
    /// When it was found; nothing for a GPU in MIG mode.
    pub memory: DeviceMemory,
    /// Whether it is a whole one.
    pub mig: Mig,
    /// What it can do, where it says so.
    pub capability: Option<Capability>,
}

impl Gpu {
    /// What the pool's snapshot says about it.
    pub fn info(&self) -> DeviceInfo {
        DeviceInfo { kind: DeviceKind::Cuda, name: self.name.clone(), uuid: Some(self.uuid.clone()) }
    }
}

impl fmt::Display for Gpu {
    /// What to ask for to get it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mig {
            Mig::Instance => f.write_str(&self.uuid),
            Mig::Off | Mig::Split => write!(f, "cuda:{}", self.index),
        }
    }
}

/// The GPUs to use, each once; none for the CPU.
///
/// `auto` takes the whole GPU with the most free memory, and the CPU where there is no GPU at all; `all` takes the whole
/// GPUs and all instances in `gpus`, of which CUDA shows a process one at most. A GPU in MIG mode that is named stands for its
/// instance when it has exactly one.
///
/// # Errors
///
/// [`GpuError::NotFound`] when the GPU that is asked for is not among `gpus`; [`GpuError::Partitioned`] when it is split
/// by MIG and an instance must be named.
pub fn choose<'a>(gpus: &'a [Gpu], wanted: &DeviceSelector) -> Result<Vec<&'a Gpu>, GpuError> {
    match wanted {
        DeviceSelector::Cpu => Ok(Vec::new()),
        DeviceSelector::Auto if gpus.is_empty() => Ok(Vec::new()),
        DeviceSelector::Auto => one_of(&gpus.iter().collect::<Vec<_>>()).map(|gpu| vec![gpu]),
        DeviceSelector::All => all(gpus),
        DeviceSelector::Gpus(names) => {
            let mut chosen: Vec<&Gpu> = Vec::new();
            for name in names {
                let gpu = named(gpus, name)?;
                if chosen.iter().all(|other| other.uuid != gpu.uuid) {
                    chosen.push(gpu);
                }
            }
            Ok(chosen)
        }
    }
}

/// Everything that something can run on.
fn all(gpus: &[Gpu]) -> Result<Vec<&Gpu>, GpuError> {
    let usable: Vec<&Gpu> = gpus.iter().filter(|gpu| gpu.mig != Mig::Split).collect();
    match (usable.is_empty(), gpus.first()) {
        (false, _) => Ok(usable),
        (true, Some(split)) => Err(partitioned(split, &[])),
        (true, None) => Err(GpuError::not_found(&DeviceSelector::All, gpus)),
    }
}

/// The GPU of that name.
fn named<'a>(gpus: &'a [Gpu], name: &GpuName) -> Result<&'a Gpu, GpuError> {
    let candidates: Vec<&Gpu> = match name {
        GpuName::Cuda(index) => gpus.iter().filter(|gpu| gpu.index == *index).collect(),
        GpuName::Uuid(uuid) => with_uuid(gpus, uuid),
    };
    if candidates.is_empty() { Err(GpuError::not_found(name, gpus)) } else { one_of(&candidates) }
}

/// The one to use of several that could be meant, of which there is one at least.
fn one_of<'a>(candidates: &[&'a Gpu]) -> Result<&'a Gpu, GpuError> {
    roomiest(candidates).ok_or_else(|| partitioned(candidates[0], candidates))
}

/// The GPU of that name, with its instances if it is split.
fn with_uuid<'a>(gpus: &'a [Gpu], uuid: &str) -> Vec<&'a Gpu> {
    let Some(named) = gpus.iter().find(|gpu| gpu.uuid.eq_ignore_ascii_case(uuid)) else { return Vec::new() };
    let is_part = |gpu: &&Gpu| gpu.mig == Mig::Instance && gpu.index == named.index;
    let parts = gpus.iter().filter(|gpu| named.mig == Mig::Split && is_part(gpu));
    std::iter::once(named).chain(parts).collect()
}

/// The whole GPU with the most free memory, or the only instance; none when an instance must be named.
fn roomiest<'a>(candidates: &[&'a Gpu]) -> Option<&'a Gpu> {
    let of = |mig| candidates.iter().copied().filter(move |gpu| gpu.mig == mig);
    let whole = of(Mig::Off).max_by_key(|gpu| (gpu.memory.free, Reverse(gpu.index)));
    whole.or_else(|| of(Mig::Instance).next().filter(|_| of(Mig::Instance).count() == 1))
}

fn partitioned(first: &Gpu, candidates: &[&Gpu]) -> GpuError {
    let parts = candidates.iter().filter(|gpu| gpu.mig == Mig::Instance);
    GpuError::Partitioned {
        device: format!("cuda:{}", first.index),
        instances: parts.map(|gpu| gpu.uuid.clone()).collect(),
    }
}

/// The GPUs that CUDA will see, numbered as it will number them, given what `CUDA_VISIBLE_DEVICES` says.
///
/// As CUDA reads it: numbers, or beginnings of UUIDs, up to the first entry that means nothing; all GPUs when the variable
/// is not set, none when it is empty.
pub fn visible(gpus: Vec<Gpu>, variable: Option<&str>) -> Vec<Gpu> {
    let Some(variable) = variable else { return gpus };
    let chosen = variable.split(',').map_while(|entry| meant_by(&gpus, entry.trim()));
    chosen.zip(0..).flat_map(|(gpu, index)| renumbered(&gpus, gpu, index)).collect()
}

/// The GPUs that CUDA sees, numbered as it numbers them: `uuids` are theirs, 32 hexadecimal digits each, in that order.
pub fn numbered(gpus: Vec<Gpu>, uuids: &[String]) -> Vec<Gpu> {
    let ordinal = |gpu: &Gpu| uuids.iter().zip(0..).find(|(uuid, _)| names(uuid, gpu)).map(|(_, at)| at);
    let mut seen: Vec<Gpu> =
        gpus.into_iter().filter_map(|gpu| Some(Gpu { index: ordinal(&gpu)?, ..gpu })).collect();
    seen.sort_by_key(|gpu| gpu.index);
    seen
}

/// Whether these 32 digits are the UUID of `gpu`.
fn names(digits: &str, gpu: &Gpu) -> bool {
    let of_gpu = gpu.uuid.chars().skip(4).filter(|digit| *digit != '-');
    of_gpu.map(|digit| digit.to_ascii_lowercase()).eq(digits.chars().map(|digit| digit.to_ascii_lowercase()))
}

/// What one entry of `CUDA_VISIBLE_DEVICES` means.
fn meant_by<'a>(gpus: &'a [Gpu], entry: &str) -> Option<&'a Gpu> {
    if is_uuid(entry) {
        let mut found = gpus.iter().filter(|gpu| gpu.uuid.starts_with(entry));
        return found.next().filter(|_| found.next().is_none());
    }
    let index = number(entry)?;
    gpus.iter().find(|gpu| gpu.index == index && gpu.mig != Mig::Instance)
}

/// `gpu` under a new number, and behind it its instances if it is split.
fn renumbered(gpus: &[Gpu], gpu: &Gpu, index: u32) -> Vec<Gpu> {
    with_uuid(gpus, &gpu.uuid).into_iter().map(|gpu| Gpu { index, ..gpu.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Bytes;

    /// `0 GPU-a 40` is a whole GPU with so many MiB free, `0 GPU-a split` one in MIG mode, `0 MIG-x 5` an instance.
    fn gpus(lines: &[&str]) -> Vec<Gpu> {
        lines.iter().map(|line| gpu(line)).collect()
    }

    fn gpu(line: &str) -> Gpu {
        let words: Vec<&str> = line.split(' ').collect();
        let mig = match words[2] {
            "split" => Mig::Split,
            _ if words[1].starts_with("MIG-") => Mig::Instance,
            _ => Mig::Off,
        };
        let free = Bytes::mib(words[2].parse().unwrap_or(0));
        let memory = DeviceMemory { total: Bytes::mib(80), free };
        let (index, uuid, name) = (words[0].parse().unwrap(), words[1].into(), "NVIDIA".into());
        Gpu { index, uuid, name, memory, mig, capability: None }
    }

    /// What is chosen: UUIDs, `cpu`, or the error's code.
    fn chosen(lines: &[&str], wanted: &str) -> String {
        match choose(&gpus(lines), &wanted.parse().unwrap()) {
            Ok(gpus) if gpus.is_empty() => "cpu".into(),
            Ok(gpus) => gpus.iter().map(|gpu| gpu.uuid.as_str()).collect::<Vec<_>>().join(" "),
            Err(error) => error.code().into(),
        }
    }

    const TWO: &[&str] = &["0 GPU-a 10", "1 GPU-b 40"];
    const HALVED: &[&str] = &["0 GPU-a split", "0 MIG-x 5", "0 MIG-y 6", "1 GPU-b 4"];
    const ONE_PART: &[&str] = &["0 GPU-a split", "0 MIG-x 5"];

    #[test]
    fn the_gpu_that_is_asked_for_is_used() {
        let cases = [
            (TWO, "cuda:0", "GPU-a"),
            (TWO, "cuda:1", "GPU-b"),
            (TWO, "GPU-b", "GPU-b"),
            (TWO, "GPU-B", "GPU-b"),
            (TWO, "cpu", "cpu"),
            (HALVED, "MIG-y", "MIG-y"),
            (HALVED, "cuda:1", "GPU-b"),
            (ONE_PART, "cuda:0", "MIG-x"),
            (ONE_PART, "GPU-a", "MIG-x"),
            (TWO, "cuda:1,cuda:0", "GPU-b GPU-a"),
            (TWO, "cuda:1,GPU-b", "GPU-b"),
            (TWO, "all", "GPU-a GPU-b"),
            (HALVED, "all", "MIG-x MIG-y GPU-b"),
        ];
        for (lines, wanted, expected) in cases {
            assert_eq!(chosen(lines, wanted), expected, "{wanted} of {lines:?}");
        }
    }

    #[test]
    fn left_to_itself_the_roomiest_whole_gpu_is_used() {
        assert_eq!(chosen(TWO, "auto"), "GPU-b");
        assert_eq!(chosen(&["0 GPU-a 10", "1 GPU-b 10"], "auto"), "GPU-a");
        assert_eq!(chosen(HALVED, "auto"), "GPU-b");
        assert_eq!(chosen(ONE_PART, "auto"), "MIG-x");
        assert_eq!(chosen(&[], "auto"), "cpu");
    }

    #[test]
    fn what_is_not_there_or_must_be_named_more_closely_is_refused() {
        let cases = [
            (TWO, "cuda:2", "gpu_not_found"),
            (&[], "cuda:0", "gpu_not_found"),
            (TWO, "GPU-", "gpu_selector_invalid"),
            (TWO, "MIG-x", "gpu_not_found"),
            (TWO, "cuda:0,cuda:7", "gpu_not_found"),
            (&[], "all", "gpu_not_found"),
            (&HALVED[..1], "all", "gpu_partitioned"),
            (HALVED, "cuda:0", "gpu_partitioned"),
            (HALVED, "GPU-a", "gpu_partitioned"),
            (&HALVED[..3], "auto", "gpu_partitioned"),
            (&HALVED[..1], "auto", "gpu_partitioned"),
        ];
        for (lines, wanted, code) in cases {
            let refused = match wanted.parse() {
                Ok(wanted) => choose(&gpus(lines), &wanted).unwrap_err(),
                Err(error) => error,
            };
            assert_eq!(refused.code(), code, "{wanted} of {lines:?}");
        }
        let error = choose(&gpus(HALVED), &"cuda:0".parse().unwrap()).unwrap_err();
        assert_eq!(error.hint().unwrap(), "name the instance to use: MIG-x, MIG-y");
        let error = choose(&gpus(HALVED), &"cuda:7".parse().unwrap()).unwrap_err();
        assert_eq!(error.hint().unwrap(), "there are cuda:0, MIG-x, MIG-y, cuda:1");
    }

    #[test]
    fn gpus_are_numbered_as_cuda_will_number_them() {
        let cases = [
            (None, "0 GPU-a, 0 MIG-x, 0 MIG-y, 1 GPU-b"),
            (Some(""), ""),
            (Some("-1"), ""),
            (Some("1"), "0 GPU-b"),
            (Some("1,0"), "0 GPU-b, 1 GPU-a, 1 MIG-x, 1 MIG-y"),
            (Some("1, 7, 0"), "0 GPU-b"),
            (Some("MIG-y"), "0 MIG-y"),
            (Some("GPU-b,MIG-x"), "0 GPU-b, 1 MIG-x"),
            (Some("MIG-"), ""),
            (Some("GPU-c"), ""),
        ];
        for (variable, expected) in cases {
            let seen = visible(gpus(HALVED), variable);
            let seen: Vec<String> = seen.iter().map(|gpu| format!("{} {}", gpu.index, gpu.uuid)).collect();
            assert_eq!(seen.join(", "), expected, "{variable:?}");
        }
    }

    #[test]
    fn a_number_means_the_card_that_cuda_will_use() {
        let seen = visible(gpus(TWO), Some("1"));
        let meant = choose(&seen, &"cuda:0".parse().unwrap()).unwrap();
        assert_eq!(meant[0].uuid, "GPU-b");
    }

    #[test]
    fn gpus_are_numbered_as_cuda_says_that_it_numbers_them() {
        let hex = |digit: char| std::iter::repeat_n(digit, 32).collect::<String>();
        let written = |kind: &str, digit: char| format!("{kind}-{}-{}", &hex(digit)[..8], &hex(digit)[8..]);
        let line = |index: u32, kind: &str, digit| format!("{index} {} 10", written(kind, digit));
        let lines = [line(0, "GPU", 'a'), line(1, "GPU", 'B'), line(2, "MIG", 'c')];
        let listed = gpus(&lines.each_ref().map(String::as_str));
        // CUDA puts the fastest first, and does not see one of them.
        let seen = numbered(listed, &[hex('c'), hex('d'), hex('b')]);
        let seen: Vec<_> = seen.iter().map(|gpu| (gpu.index, gpu.uuid.as_str())).collect();
        assert_eq!(seen, [(0, written("MIG", 'c').as_str()), (2, written("GPU", 'B').as_str())]);
    }
}
