//! Whether what this program was built with fits the driver and the GPUs that are here. Pure.

use super::{Gpu, GpuError};
use std::fmt;

/// What a GPU can do, in NVIDIA's numbers: 9.0 is Hopper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability {
    /// The generation.
    pub major: u32,
    /// Its member.
    pub minor: u32,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A version of CUDA: of the toolkit that a program was built with, or the latest that a driver speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CudaVersion {
    /// Programs need a driver of this number or a later one.
    pub major: u32,
    /// Programs run whatever this is.
    pub minor: u32,
}

impl CudaVersion {
    /// From CUDA's own number: 13000 is 13.0.
    pub fn from_number(number: i32) -> Self {
        let number = number.max(0) as u32;
        Self { major: number / 1000, minor: number % 1000 / 10 }
    }

    /// From `13.0`.
    pub fn from_text(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a program was built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaBuild {
    /// The toolkit; `None` where nobody knows.
    pub version: Option<CudaVersion>,
    /// The architectures that there is code for, in `CMake`'s notation: `90-real` is code for 9.0 alone, `90-virtual` is
    /// compiled at the start for 9.0 and everything later, `90` is both. `native` is for the machine it was built on.
    pub architectures: String,
}

impl CudaBuild {
    /// Whether it runs on this GPU under a driver that speaks `driver`.
    ///
    /// # Errors
    ///
    /// [`GpuError::DriverTooOld`] or [`GpuError::NoCodeFor`].
    pub fn runs_on(&self, gpu: &Gpu, driver: Option<CudaVersion>) -> Result<(), GpuError> {
        if let (Some(needed), Some(found)) = (self.version, driver)
            && found.major < needed.major
        {
            return Err(GpuError::DriverTooOld { found, needed });
        }
        match gpu.capability {
            Some(capability) if !self.has_code_for(capability) => Err(GpuError::NoCodeFor {
                name: gpu.name.clone(),
                capability,
                architectures: self.architectures.clone(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn has_code_for(&self, capability: Capability) -> bool {
        self.architectures.split(';').map(str::trim).any(|entry| serves(entry, capability))
    }
}

/// Whether one entry of the list serves a GPU. What cannot be read may serve everything.
fn serves(entry: &str, Capability { major, minor }: Capability) -> bool {
    let (name, kind) = entry.split_once('-').unwrap_or((entry, ""));
    let digits = name.trim_end_matches(['a', 'f']);
    let Ok(number) = digits.parse::<u32>() else { return true };
    let (built_major, built_minor) = (number / 10, number % 10);
    // What uses the special instructions of one architecture (`a`) or of its family (`f`) goes nowhere else. whisper.cpp builds
    // every plain 12x as 12xa.
    if name.ends_with('a') || (built_major == 12 && !name.ends_with('f')) {
        return (major, minor) == (built_major, built_minor);
    }
    let is_family = major == built_major && minor >= built_minor;
    let is_later = (major, minor) >= (built_major, built_minor);
    match kind {
        _ if name.ends_with('f') => is_family,
        "real" => is_family,
        // Also made into code for later GPUs, when the program starts.
        _ => is_later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{DeviceMemory, Mig};

    fn gpu(capability: (u32, u32)) -> Gpu {
        Gpu {
            index: 0,
            uuid: "GPU-a".into(),
            name: "NVIDIA Test".into(),
            memory: DeviceMemory::default(),
            mig: Mig::Off,
            capability: Some(Capability { major: capability.0, minor: capability.1 }),
        }
    }

    fn build(architectures: &str) -> CudaBuild {
        CudaBuild { version: Some(CudaVersion { major: 13, minor: 0 }), architectures: architectures.into() }
    }

    #[test]
    fn code_runs_where_it_was_built_for_and_where_it_can_be_compiled_again() {
        let cases = [
            ("90-real", (9, 0), true),
            ("90-real", (8, 9), false),
            ("90-real", (10, 0), false),
            ("80-real", (8, 9), true),
            ("89-real", (8, 6), false),
            ("90", (12, 0), true),
            ("90-virtual", (10, 3), true),
            ("90-virtual", (8, 6), false),
            ("120a-real", (12, 0), true),
            ("120a-real", (12, 1), false),
            ("120a-virtual", (13, 0), false),
            ("120-real", (12, 0), true),
            ("120-real", (12, 1), false),
            ("120", (13, 0), false),
            ("100;120-real", (12, 1), true),
            ("100f-real", (10, 3), true),
            ("75-real;80-real; 90-real", (9, 0), true),
            ("75-real;80-real", (9, 0), false),
            ("native", (9, 0), true),
            ("", (9, 0), true),
        ];
        for (architectures, capability, expected) in cases {
            let fits = build(architectures).runs_on(&gpu(capability), None);
            assert_eq!(fits.is_ok(), expected, "{architectures} on {capability:?}");
        }
    }

    #[test]
    fn a_driver_must_speak_the_cuda_of_the_build_or_a_later_one() {
        let speaks = |major, minor| {
            build("90")
                .runs_on(&gpu((9, 0)), Some(CudaVersion { major, minor }))
                .map_err(|error| error.code())
        };
        assert_eq!(speaks(12, 8), Err("gpu_driver_too_old"));
        assert_eq!((speaks(13, 0), speaks(14, 1)), (Ok(()), Ok(())));
        let unknown = CudaBuild { version: None, ..build("90") };
        assert_eq!(unknown.runs_on(&gpu((9, 0)), Some(CudaVersion { major: 1, minor: 0 })), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_told_with_the_way_out() {
        let error = build("75-real;80-real").runs_on(&gpu((9, 0)), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this build has no code for NVIDIA Test, whose compute capability is 9.0: it was built for 75-real;80-real"
        );
        assert!(error.hint().unwrap().contains("CUDA_ARCHITECTURES=90-real"), "{:?}", error.hint());
        let driver = Some(CudaVersion { major: 12, minor: 4 });
        let error = build("90").runs_on(&gpu((9, 0)), driver).unwrap_err();
        assert_eq!(error.to_string(), "the driver speaks CUDA 12.4, this build needs 13.0");
        assert!(error.hint().unwrap().contains("driver"), "{:?}", error.hint());
    }

    #[test]
    fn versions_are_read_as_cuda_writes_them() {
        let version = |major, minor| CudaVersion { major, minor };
        assert_eq!(CudaVersion::from_number(12_080), version(12, 8));
        assert_eq!(CudaVersion::from_text("13.0"), Some(version(13, 0)));
        assert_eq!((CudaVersion::from_text("0"), CudaVersion::from_text("a.b")), (None, None));
    }
}
