//! What whisper.cpp and ggml can do that whisper-rs does not offer safely: being told to stop, last words before the process
//! ends, which GPUs there are, memory given back. Small functions around C, and the only place with `unsafe`.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use tokio_util::sync::CancellationToken;
use whisper_rs::FullParams;
use whisper_rs::whisper_rs_sys::{ggml_abort, ggml_set_abort_callback};

/// What keeps this build from using GPUs: the library that is missing, in the loader's words. `None` when none is.
#[cfg(feature = "cuda")]
pub fn missing_cuda_library() -> Option<String> {
    cuda::missing_library()
}

/// The CUDA part of whisper.cpp, as far as whisper-rs does not show it.
#[cfg(feature = "cuda")]
#[allow(unsafe_code)]
pub(super) mod cuda {
    use std::ffi::{CStr, c_char, c_int, c_void};
    use whisper_rs::whisper_rs_sys::{ggml_log_level, ggml_log_set};

    unsafe extern "C" {
        /// In `cuda_libraries.c`: a text that stays, or null.
        safe fn missing_cuda_library() -> *const c_char;
        /// In ggml: 0 where there is no driver, or one that is too old.
        safe fn ggml_backend_cuda_get_device_count() -> c_int;
    }

    /// How many GPUs whisper.cpp sees.
    pub(in crate::asr::whisper) fn device_count() -> u32 {
        ggml_backend_cuda_get_device_count().max(0) as u32
    }

    /// Has ggml look for GPUs without a word. It looks once, also where the CPU is to decode, and calls it an error that there
    /// is no driver. To be called before the hooks of its log are set.
    pub(in crate::asr::whisper) fn look_quietly() {
        // SAFETY: the callback lives as long as the program, and uses nothing that it is given.
        unsafe { ggml_log_set(Some(ignore), std::ptr::null_mut()) };
        device_count();
    }

    unsafe extern "C" fn ignore(_: ggml_log_level, _: *const c_char, _: *mut c_void) {}

    pub(super) fn missing_library() -> Option<String> {
        let text = missing_cuda_library();
        // SAFETY: it is null, or a text with an end that is written once, before the first call returns.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    }
}

/// A build without CUDA sees no GPU.
#[cfg(not(feature = "cuda"))]
pub(super) mod cuda {
    pub(in crate::asr::whisper) fn device_count() -> u32 {
        0
    }

    pub(in crate::asr::whisper) fn look_quietly() {}
}

/// Lets whisper.cpp ask `cancel` whether to stop.
#[allow(unsafe_code)]
pub(super) fn stop_on(params: &mut FullParams<'_, '_>, cancel: &CancellationToken) {
    let token = std::ptr::from_ref(cancel).cast_mut().cast::<c_void>();
    // SAFETY: the one caller hands `params` to `full` at once, which returns before its borrow of `cancel` ends.
    unsafe {
        params.set_abort_callback(Some(abort_requested));
        params.set_abort_callback_user_data(token);
    }
}

/// Tells whisper.cpp whether to stop.
///
/// # Safety
///
/// `token` must point to a [`CancellationToken`] that outlives the decode.
#[allow(unsafe_code)]
unsafe extern "C" fn abort_requested(token: *mut c_void) -> bool {
    // SAFETY: the caller keeps the token alive, and a token may be shared between threads.
    let token = unsafe { &*token.cast::<CancellationToken>() };
    token.is_cancelled()
}

/// Takes what ggml says last.
type LastWords = Box<dyn Fn(&str) + Send + Sync>;

/// Whom to tell that the process ends.
static ON_FATAL: OnceLock<LastWords> = OnceLock::new();

/// Has `callback` called when ggml is about to end the process, with what it says about why.
///
/// A call to a device that fails, or memory of it that cannot be had, is no error that comes back: ggml ends the process
/// with SIGABRT. `callback` runs before that, on the thread that failed, whose stack is full of C: it can do what little is
/// left to do (other threads go on meanwhile), must come to an end by itself, and cannot prevent anything. Several threads
/// may fail, and call it, at the same time; whichever comes back first ends the process. A panic of it is contained.
///
/// Without a callback, ggml writes its message and where it was to standard error. The first callback stays; a later one is
/// forgotten.
#[allow(unsafe_code)]
pub fn on_fatal(callback: impl Fn(&str) + Send + Sync + 'static) {
    if ON_FATAL.set(Box::new(callback)).is_ok() {
        // SAFETY: the function lives as long as the program. ggml writes the pointer without a lock, and reads it only when
        // it ends the process; nobody else sets one.
        unsafe { ggml_set_abort_callback(Some(before_abort)) };
    }
}

/// What ggml calls before it ends the process.
///
/// # Safety
///
/// `message` must be null, or point to a string that ends with a zero and stays as it is during the call.
#[allow(unsafe_code)]
unsafe extern "C" fn before_abort(message: *const c_char) {
    let Some(callback) = ON_FATAL.get() else { return };
    if message.is_null() {
        return tell(callback, c"ggml gives no reason");
    }
    // SAFETY: it is not null, and the caller keeps the string until this returns.
    tell(callback, unsafe { CStr::from_ptr(message) });
}

/// Tells it. A panic must not unwind into C; with it, the process ends all the same.
fn tell(callback: &dyn Fn(&str), message: &CStr) {
    let _ = catch_unwind(AssertUnwindSafe(|| callback(message.to_string_lossy().trim())));
}

/// Ends the process, as ggml does when a call to a device fails.
#[allow(unsafe_code)]
pub(super) fn abort() -> ! {
    let (file, line) = (c"src/asr/whisper/native.rs", line!() as c_int);
    // SAFETY: all three are strings that end with a zero, and the format takes one of them.
    unsafe { ggml_abort(file.as_ptr(), line, c"%s".as_ptr(), c"as debug.abort_after asks for".as_ptr()) };
    // It does not come back, which its binding does not say.
    std::process::abort()
}

/// Gives freed memory back to the system when it is dropped.
///
/// glibc keeps blocks below 32 MiB for the next who asks, and a small model's state has no larger ones: a slot that was closed
/// because memory is low would else free none, and the next one to be measured would seem to need less than it does.
pub(super) struct GivenBack;

impl Drop for GivenBack {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        #[cfg(target_env = "gnu")]
        // SAFETY: it asks nothing of its caller, and may be called on any thread at any time.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn last_words_arrive_without_the_line_feed_and_whatever_bytes_they_are_of() {
        let heard = RefCell::new(Vec::new());
        tell(&|message| heard.borrow_mut().push(message.to_owned()), c"ggml-cuda.cu:98: CUDA error\n");
        tell(&|message| heard.borrow_mut().push(message.to_owned()), c"\xff");
        assert_eq!(heard.into_inner(), ["ggml-cuda.cu:98: CUDA error", "\u{fffd}"]);
    }

    #[test]
    fn a_panic_over_last_words_does_not_reach_c() {
        tell(&|_| panic!("as scripted"), c"CUDA error");
    }
}
