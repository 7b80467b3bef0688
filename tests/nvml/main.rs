//! The real loading code against a stand-in for NVIDIA's library, compiled for the occasion: no GPU is needed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use stenopool::gpu::{
    Bytes, Capability, CudaVersion, DeviceProbe, Driver, Gpu, GpuError, GpuFacts, Meter, Mig, choose,
};

/// A stub library in a folder of its own.
struct Stub {
    folder: tempfile::TempDir,
}

impl Stub {
    /// Compiles `stub.c` with these definitions.
    fn new(definitions: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the stub");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nvml/stub.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([library(folder.path()), source])
            .args(definitions)
            .status()
            .expect("a C compiler is needed, as it is for whisper.cpp");
        assert!(compiled.success(), "the stub does not compile");
        Self { folder }
    }

    fn load(&self) -> Result<Driver, GpuError> {
        Driver::load_from(&library(self.folder.path()))
    }

    fn gpus(&self) -> (Driver, Vec<Gpu>) {
        let driver = self.load().expect("the stub loads");
        let gpus = driver.gpus().expect("the stub lists its GPUs");
        (driver, gpus)
    }
}

fn library(folder: &Path) -> PathBuf {
    folder.join("libnvidia-ml.so.1")
}

#[test]
fn gpus_and_their_instances_are_listed() {
    let (_, gpus) = Stub::new(&[]).gpus();
    let listed: Vec<_> =
        gpus.iter().map(|gpu| (gpu.index, gpu.uuid.as_str(), gpu.mig, gpu.memory.total)).collect();
    let expected = [
        (0, "GPU-00000000-whole", Mig::Off, Bytes::mib(24_576)),
        (1, "GPU-11111111-split", Mig::Split, Bytes(0)),
        (1, "MIG-aaaaaaaa-first", Mig::Instance, Bytes::mib(10_240)),
        (1, "MIG-bbbbbbbb-third", Mig::Instance, Bytes::mib(40_960)),
    ];
    assert_eq!(listed, expected);
    assert_eq!(gpus[0].name, "NVIDIA Stub 24G");
    assert_eq!(gpus[0].memory.used(), Bytes::mib(24_576 - 20_000));
}

#[test]
fn a_probe_reads_the_device_that_was_chosen_every_time_anew() {
    let (driver, gpus) = Stub::new(&[]).gpus();
    let chosen = |name: &str| choose(&gpus, &name.parse().unwrap()).unwrap()[0];
    let probe = driver.probe(chosen("cuda:0"));
    let readings = [probe.memory().unwrap().free, probe.memory().unwrap().free];
    assert_eq!(readings, [Bytes::mib(19_999), Bytes::mib(19_998)]);

    let instance = chosen("MIG-bbbbbbbb-third");
    assert_eq!(driver.probe(instance).memory().unwrap().free, Bytes::mib(40_000));
}

#[test]
fn the_driver_says_which_cuda_it_speaks_and_a_gpu_what_it_can_do() {
    let (driver, gpus) = Stub::new(&[]).gpus();
    assert_eq!(driver.version().as_deref(), Some("580.95.05"));
    assert_eq!(driver.cuda_version(), Some(CudaVersion { major: 13, minor: 0 }));
    let capabilities: Vec<_> = gpus.iter().map(|gpu| gpu.capability).collect();
    assert_eq!(capabilities, [Some(Capability { major: 9, minor: 0 }); 4]);
}

#[test]
fn what_is_taken_is_counted_for_this_process_where_nvml_tells_them_apart() {
    // With every reading another process takes 1 MiB more. In a container this process has another number.
    let taken = |definitions: &[&str]| {
        let (driver, gpus) = Stub::new(definitions).gpus();
        let meter = Meter::of(Arc::new(driver.probe(&gpus[0])));
        let before = meter.read();
        (meter.read().since(before), meter.is_certain())
    };
    assert_eq!(taken(&["-DTELLS_PROCESSES"]), (Bytes(0), true));
    assert_eq!(taken(&["-DTELLS_PROCESSES", "-DIN_A_CONTAINER"]), (Bytes::mib(1), false));
    assert_eq!(taken(&[]), (Bytes::mib(1), false));
}

#[test]
fn a_gpu_tells_what_it_can_and_what_it_does_not_tell_is_missing() {
    let (driver, gpus) = Stub::new(&["-DWITH_LOST"]).gpus();
    let whole = driver.facts(&gpus[0].uuid).unwrap();
    let expected = GpuFacts {
        driver: Some("580.95.05".into()),
        cuda: Some("13.0".into()),
        compute_capability: Some("9.0".into()),
        power_limit_watts: Some(350.0),
        sm_clock_mhz: Some(1_980),
        memory_clock_mhz: Some(6_251),
    };
    assert_eq!(whole, expected);
    assert_eq!(
        driver.facts("MIG-bbbbbbbb-third").unwrap(),
        GpuFacts { power_limit_watts: None, ..expected.clone() }
    );
    let lost = driver.facts("GPU-22222222-lost").unwrap();
    assert_eq!((lost.driver, lost.compute_capability, lost.sm_clock_mhz), (expected.driver, None, None));
    assert_eq!(driver.facts("GPU-33333333-gone").unwrap_err().code(), "gpu_call_failed");
}

#[test]
fn a_gpu_that_fell_off_the_bus_does_not_hide_the_others() {
    let (driver, gpus) = Stub::new(&["-DWITH_LOST"]).gpus();
    assert_eq!(gpus.len(), 4, "{gpus:?}");
    let lost = Gpu { uuid: "GPU-22222222-lost".into(), ..gpus[0].clone() };
    let error = driver.probe(&lost).memory().unwrap_err();
    assert_eq!(error.code(), "gpu_call_failed");
    assert!(error.to_string().starts_with("nvmlDeviceGetMemoryInfo_v2 failed: "), "{error}");
    let gone = Gpu { uuid: "GPU-33333333-gone".into(), ..gpus[0].clone() };
    assert_eq!(driver.probe(&gone).memory().unwrap_err().code(), "gpu_call_failed");
}

#[test]
fn a_library_without_a_driver_and_a_driver_that_refuses_are_told_apart() {
    // NVML_ERROR_DRIVER_NOT_LOADED, NVML_ERROR_NO_PERMISSION, NVML_ERROR_LIB_RM_VERSION_MISMATCH.
    for (refusal, code) in [(9, "gpu_no_driver"), (4, "gpu_call_failed"), (18, "gpu_call_failed")] {
        let stub = Stub::new(&[&format!("-DREFUSAL={refusal}")]);
        assert_eq!(stub.load().unwrap_err().code(), code, "nvmlInit_v2 returns {refusal}");
    }
}

#[test]
fn without_a_library_the_error_says_so() {
    let nowhere = tempfile::tempdir().unwrap();
    let error = Driver::load_from(&library(nowhere.path())).unwrap_err();
    assert_eq!(error.code(), "gpu_no_driver");
    assert!(error.to_string().starts_with("no NVIDIA driver: "), "{error}");
    assert!(error.hint().unwrap().contains("cpu"));
}
