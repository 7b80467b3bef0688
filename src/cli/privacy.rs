//! Nothing leaves this machine that its owner did not send.
//!
//! ONNX Runtime records what machine it runs on and in which program, and sends that to its maker, from the moment it is
//! loaded; its interface for switching that off comes too late to keep the record from being written. Only a variable in
//! the environment prevents it. Setting one in a running process is unsafe, so the process starts itself once more.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What ONNX Runtime looks at while it is loaded.
const OPT_OUT: &str = "ORT_DISABLE_TELEMETRY";

/// Replaces this process with itself and the variable set, unless it is set; keeps the process id.
///
/// Must be called before anything else. Returns only when the variable is there, or when that failed, which is said.
pub(super) fn opt_out_of_telemetry() {
    if env::var_os(OPT_OUT).is_some() {
        return;
    }
    let mut args = env::args_os();
    let name = args.next().unwrap_or_else(|| "stenopool".into());
    let failure =
        env::current_exe().map(|exe| Command::new(exe).arg0(name).args(args).env(OPT_OUT, "1").exec());
    let reason = failure.unwrap_or_else(|error| error);
    eprintln!(
        "warning: ONNX Runtime may report to its maker, because {OPT_OUT}=1 could not be set: {reason}"
    );
}
