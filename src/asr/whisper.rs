//! whisper.cpp: one context (the weights), and for every slot a state (the working memory of one decode).
//!
//! The only file that knows `whisper-rs`, and the only one with `unsafe`: whisper.cpp asks through a raw pointer whether
//! to stop, because whisper-rs 0.16's safe version of that callback is broken; ggml, which ends the process when a call to
//! its device fails, says so through a function that only C knows ([`on_fatal`]); and in a build for GPUs two functions
//! are called that whisper-rs does not have.

use super::guard::{IMPROBABLE, REPETITIVE, compression_ratio, mean_logprob};
use super::noise::noise;
use super::thread_engine::RecognizerFactory;
use super::words::timed_words;
use super::{AsrError, DecodeOptions, EncoderWindow, Hypothesis, ModelInfo, Recognizer, Segment};
use super::{Stability, Task, Timestamps, Token};
use crate::audio::{SampleRate, Span, Utterance};
use crate::gpu::{Bytes, Footprint, HostProbe, Meter};
use crate::pool::SlotId;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use whisper_rs::whisper_rs_sys::{ggml_abort, ggml_set_abort_callback};
use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperError, WhisperSegment,
    WhisperState,
};

/// How slots decode. The defaults are plain greedy decoding, the cheapest in memory and time.
#[derive(Debug, Clone, PartialEq)]
pub struct WhisperSettings {
    /// Threads per slot, 1 or more.
    pub threads: usize,
    /// Candidates that are sampled where greedy decoding fell back to a higher temperature, 1 to 8.
    pub best_of: usize,
    /// Beams; 1 is greedy decoding, up to 8.
    pub beam: usize,
    /// Attention without its large intermediate matrices: less memory, and on a GPU faster.
    pub flash_attention: bool,
    /// For those who want to see what a failing device does: after so many decodes, those of all slots together, the next
    /// one ends the process as ggml does; `None`: none does. Warming up does not count.
    pub abort_after: Option<u64>,
    /// For measurements: no decode makes more tokens than this in a window of 30 s, and none is tried again at a higher
    /// temperature, so that decodes compare whatever their weights say. 2 or more; `None`: as many as are said.
    pub max_tokens: Option<u16>,
}

/// Where the weights and the slots are.
#[derive(Clone)]
pub struct Placement {
    /// The GPU, by the number that CUDA has for it; `None` for the CPU.
    pub gpu: Option<u32>,
    /// Tells what they take.
    pub meter: Meter,
}

impl Placement {
    /// The cores, and the memory of this process.
    pub fn cpu() -> Self {
        Self { gpu: None, meter: Meter::of(Arc::new(HostProbe::new())) }
    }
}

impl Default for WhisperSettings {
    fn default() -> Self {
        Self { threads: 1, best_of: 1, beam: 1, flash_attention: false, abort_after: None, max_tokens: None }
    }
}

/// Where the weights come from.
#[derive(Debug, Clone, Copy)]
pub enum WeightsSource<'a> {
    /// A ggml file.
    File(&'a Path),
    /// The bytes of one.
    Bytes(&'a [u8]),
}

/// The encoder's positions for 30 seconds; a position is 20 ms.
const FULL_AUDIO_CTX: c_int = 1500;

/// A token that every model has.
const LEAST_TOKEN: c_int = 0;

/// More words of prompt than this never reach the model (half its text context is 224 tokens).
const LONGEST_PROMPT_BYTES: usize = 2_000;

/// The temperatures that are tried where the first reading is not acceptable.
const FALLBACKS: [f32; 2] = [0.4, 0.8];

/// A fallback begins within three times what the first decode took, and this.
const FALLBACK_GRACE: Duration = Duration::from_millis(200);

/// Nobody speaks more in a second; an interim reading ends there, as one that goes on is a loop.
const TOKENS_PER_SECOND: f32 = 12.0;

/// The loaded weights; makes a recognizer for each slot.
pub struct Whisper {
    context: Arc<WhisperContext>,
    window: EncoderWindow,
    settings: WhisperSettings,
    meter: Meter,
    weights: Bytes,
    fuse: Option<Arc<Fuse>>,
    /// The last field, and so dropped after all that it is about.
    _given_back: GivenBack,
}

impl Whisper {
    /// Loads the weights for the CPU; otherwise as [`load_on`](Self::load_on).
    ///
    /// # Errors
    ///
    /// As [`load_on`](Self::load_on).
    pub fn load(
        name: &str,
        source: WeightsSource<'_>,
        window: EncoderWindow,
        settings: WhisperSettings,
    ) -> Result<(Self, ModelInfo), AsrError> {
        Self::load_on(Placement::cpu(), name, source, window, settings)
    }

    /// Loads the weights, once for all slots of a device. Blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// [`AsrError::Load`] when they cannot be read or are no Whisper model, or when whisper.cpp does not find the GPU,
    /// where it would quietly take the CPU.
    pub fn load_on(
        Placement { gpu, meter }: Placement,
        name: &str,
        source: WeightsSource<'_>,
        window: EncoderWindow,
        settings: WhisperSettings,
    ) -> Result<(Self, ModelInfo), AsrError> {
        static LOG_HOOKS: Once = Once::new();
        LOG_HOOKS.call_once(whisper_rs::install_logging_hooks);
        let not_loaded = |reason: String| AsrError::Load { model: name.into(), reason };
        let before = meter.taken();
        let mut parameters = WhisperContextParameters::default();
        parameters.use_gpu(gpu.is_some()).flash_attn(settings.flash_attention);
        if let Some(gpu) = gpu {
            let found = cuda::device_count();
            if gpu >= found {
                return Err(not_loaded(format!(
                    "there is no cuda:{gpu} among the {found} that it could use"
                )));
            }
            parameters.gpu_device(gpu as c_int);
        }
        let loaded = match source {
            WeightsSource::File(path) => WhisperContext::new_with_params(path, parameters),
            WeightsSource::Bytes(bytes) => WhisperContext::new_from_buffer_with_params(bytes, parameters),
        };
        let context = loaded.map_err(|error| not_loaded(error.to_string()))?;
        let weights = meter.taken().since(before);
        let info = ModelInfo { name: name.into(), multilingual: context.is_multilingual(), window };
        let fuse = settings.abort_after.map(|decodes| Arc::new(Fuse::of(decodes)));
        let context = Arc::new(context);
        Ok((Self { context, window, settings, meter, weights, fuse, _given_back: GivenBack }, info))
    }
}

impl RecognizerFactory for Whisper {
    fn make(&self, slot: SlotId) -> Result<(Box<dyn Recognizer>, Footprint), AsrError> {
        let failed =
            |error: &dyn std::fmt::Display| AsrError::Open { slot: slot.0, reason: error.to_string() };
        let before = self.meter.taken();
        let state = self.context.create_state().map_err(|error| failed(&error))?;
        let mut recognizer = WhisperRecognizer {
            context: Arc::clone(&self.context),
            state: Some(state),
            window: self.window,
            settings: self.settings.clone(),
            languages: HashMap::new(),
            fuse: self.fuse.clone(),
            _given_back: GivenBack,
        };
        recognizer.warm_up().map_err(|error| failed(&error))?;
        let working = self.meter.taken().since(before);
        Ok((Box::new(recognizer), Footprint { weights: self.weights, slot: working }))
    }
}

struct WhisperRecognizer {
    context: Arc<WhisperContext>,
    /// Gone once whisper.cpp freed it on an error of its own.
    state: Option<WhisperState>,
    window: EncoderWindow,
    settings: WhisperSettings,
    /// whisper-rs leaks the language string that it is given, so the parameters of each language are made once.
    languages: HashMap<c_int, FullParams<'static, 'static>>,
    fuse: Option<Arc<Fuse>>,
    /// The last field, as above.
    _given_back: GivenBack,
}

/// Gives freed memory back to the system when it is dropped.
///
/// glibc keeps blocks below 32 MiB for the next who asks, and a small model's state has no larger ones: a slot that was closed
/// because memory is low would else free none, and the next one to be measured would seem to need less than it does.
struct GivenBack;

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

impl Recognizer for WhisperRecognizer {
    fn recognize(
        &mut self,
        utterance: &Utterance,
        options: &DecodeOptions,
        cancel: &CancellationToken,
        on_segment: &mut dyn FnMut(Segment),
    ) -> Result<Hypothesis, AsrError> {
        if self.fuse.as_ref().is_some_and(|fuse| fuse.blows()) {
            abort();
        }
        let since = Instant::now();
        let mut best = self.attempt(utterance, options, cancel)?;
        let may_fall_back = options.stability == Stability::Final && options.temperature <= 0.0;
        if may_fall_back && self.bound(options).is_none() {
            let limit = since.elapsed() * 3 + FALLBACK_GRACE;
            for temperature in FALLBACKS {
                if acceptable(&best) || since.elapsed() >= limit {
                    break;
                }
                let other = DecodeOptions { temperature, ..options.clone() };
                best = better(best, self.attempt(utterance, &other, cancel)?);
            }
        }
        best.segments.iter().cloned().for_each(on_segment);
        Ok(best)
    }
}

/// Whether a reading needs no second try, by Whisper's own measure.
fn acceptable(read: &Hypothesis) -> bool {
    mean_logprob(read) >= IMPROBABLE && compression_ratio(&read.text()) <= REPETITIVE
}

/// The acceptable one of two readings, or the more probable one.
fn better(a: Hypothesis, b: Hypothesis) -> Hypothesis {
    if acceptable(&b) || mean_logprob(&b) > mean_logprob(&a) { b } else { a }
}

impl WhisperRecognizer {
    /// One decode, at the temperature that the options ask for.
    fn attempt(
        &mut self,
        utterance: &Utterance,
        options: &DecodeOptions,
        cancel: &CancellationToken,
    ) -> Result<Hypothesis, AsrError> {
        let prompt = self.prompt_tokens(options)?;
        let duration = utterance.span.duration();
        let mut params = self.params(options)?;
        params.set_tokens(&prompt);
        params.set_audio_ctx(self.audio_ctx(duration));
        let interim = (options.stability == Stability::Interim).then(|| longest_interim(duration));
        let bound = self.bound(options);
        if let Some(most) = interim.into_iter().chain(bound.map(after_which_token)).min() {
            params.set_max_tokens(most);
        }
        // A window that ends at its first timestamp is followed by another one, with as many tokens.
        params.set_single_segment(bound.is_some());
        self.run(params, &utterance.samples, cancel)?;
        let segments = self.segments(utterance, options, prompt.is_empty());
        Ok(Hypothesis { segments, language: self.language(options), stability: options.stability })
    }

    /// The most tokens that this decode may make, where that is bounded for all or for this one.
    fn bound(&self, options: &DecodeOptions) -> Option<u16> {
        self.settings.max_tokens.into_iter().chain(options.max_tokens).min()
    }

    /// Does the widest decode that will ever be asked for, so that the state has all its memory from the start: on a GPU
    /// the process ends when it cannot grow later.
    ///
    /// A temperature above 0 is what brings all `best_of` decoders to work, and the longest prompt is the widest batch.
    fn warm_up(&mut self) -> Result<(), AsrError> {
        let noise = noise(Duration::from_secs(30)).samples;
        // Which words they are does not matter. Half of the text context is all that whisper.cpp takes.
        let prompt = vec![LEAST_TOKEN; self.context.n_text_ctx().max(2) as usize / 2];
        let mut temperatures = vec![0.2];
        if self.settings.beam > 1 {
            temperatures.push(0.0);
        }
        for temperature in temperatures {
            let options =
                DecodeOptions { temperature, language: Some("en".into()), ..DecodeOptions::default() };
            let mut params = self.params(&options)?;
            params.set_tokens(&prompt);
            params.set_max_tokens(self.bound(&options).map_or(8, |most| after_which_token(most).min(8)));
            params.set_single_segment(true);
            self.run(params, &noise, &CancellationToken::new())?;
            self.check_numbers()?;
        }
        Ok(())
    }

    /// Damaged weights behind a sound header load, and then choose tokens that they themselves call impossible.
    fn check_numbers(&self) -> Result<(), AsrError> {
        let segments = self.state.iter().flat_map(WhisperState::as_iter);
        let mut tokens = segments.flat_map(|segment| self.tokens(&segment));
        if tokens.any(|token| !token.logprob.is_finite()) {
            return Err(AsrError::Decode("its weights are damaged: what they give are no numbers".into()));
        }
        Ok(())
    }

    fn params(&mut self, options: &DecodeOptions) -> Result<FullParams<'static, 'static>, AsrError> {
        let mut params = match &options.language {
            Some(language) if self.context.is_multilingual() => self.params_for_language(language)?,
            _ => self.fresh_params(),
        };
        if options.language.is_none() && self.context.is_multilingual() {
            params.set_language(None);
        }
        params.set_n_threads(self.settings.threads as c_int);
        params.set_translate(options.task == Task::Translate && self.context.is_multilingual());
        params.set_temperature(options.temperature);
        // whisper.cpp's own fallback knows no bound in time.
        params.set_temperature_inc(0.0);
        params.set_no_timestamps(options.timestamps == Timestamps::None);
        params.set_no_context(true);
        params.set_print_progress(false);
        params.set_print_realtime(false);
        params.set_print_special(false);
        params.set_print_timestamps(false);
        Ok(params)
    }

    fn fresh_params(&self) -> FullParams<'static, 'static> {
        let (best_of, beam_size) = (self.settings.best_of as c_int, self.settings.beam as c_int);
        FullParams::new(match beam_size {
            ..=1 => SamplingStrategy::Greedy { best_of },
            _ => SamplingStrategy::BeamSearch { beam_size, patience: -1.0 },
        })
    }

    fn params_for_language(&mut self, language: &str) -> Result<FullParams<'static, 'static>, AsrError> {
        let known = (!language.contains('\0')).then(|| whisper_rs::get_lang_id(language)).flatten();
        // Older models lack the language that was added last, and take its token for another.
        let id = known.filter(|id| *id < languages_in(self.context.n_vocab()));
        let id =
            id.ok_or_else(|| AsrError::Unsupported(format!("it does not know the language \"{language}\"")))?;
        let fresh = self.fresh_params();
        let params = self.languages.entry(id).or_insert_with(|| {
            let mut params = fresh;
            params.set_language(whisper_rs::get_lang_str(id));
            params
        });
        Ok(params.clone())
    }

    /// The end of the prompt, as tokens: what is said next follows on its last words.
    fn prompt_tokens(&self, options: &DecodeOptions) -> Result<Vec<c_int>, AsrError> {
        let prompt = options.prompt.as_deref().unwrap_or_default().replace('\0', " ");
        let prompt = prompt.trim();
        if prompt.is_empty() {
            return Ok(Vec::new());
        }
        let from = prompt.ceil_char_boundary(prompt.len().saturating_sub(LONGEST_PROMPT_BYTES));
        let text = format!(" {}", &prompt[from..]);
        // A token is at least one byte; with less room whisper-rs would take the lack for a length.
        let room = text.len() + 1;
        self.context
            .tokenize(&text, room)
            .map_err(|error| AsrError::Unsupported(format!("the prompt cannot be tokenized: {error}")))
    }

    fn audio_ctx(&self, duration: Duration) -> c_int {
        match self.window {
            EncoderWindow::Full => 0,
            EncoderWindow::Fit => fitting_audio_ctx(duration),
        }
    }

    fn run(
        &mut self,
        mut params: FullParams<'_, '_>,
        samples: &[f32],
        cancel: &CancellationToken,
    ) -> Result<(), AsrError> {
        let state = self.state.as_mut().ok_or_else(|| AsrError::SlotLost("its state is gone".into()))?;
        stop_on(&mut params, cancel);
        match state.full(params, samples) {
            Ok(()) => Ok(()),
            Err(WhisperError::GenericError(-7)) => {
                // whisper.cpp could not grow the state's cache and has freed the state already.
                std::mem::forget(self.state.take());
                Err(AsrError::SlotLost("no memory for the decoder's cache".into()))
            }
            Err(_) if cancel.is_cancelled() => Err(AsrError::Cancelled),
            Err(error) => Err(AsrError::Decode(error.to_string())),
        }
    }

    fn segments(
        &self,
        utterance: &Utterance,
        options: &DecodeOptions,
        single_token_prompt: bool,
    ) -> Vec<Segment> {
        let Some(state) = &self.state else { return Vec::new() };
        // whisper.cpp reads the no-speech probability from a row that it fills only for a prompt of one token.
        let no_speech_is_known =
            single_token_prompt && options.timestamps != Timestamps::None && !self.context.is_multilingual();
        state
            .as_iter()
            .map(|segment| {
                let no_speech_prob = no_speech_is_known.then(|| segment.no_speech_probability());
                self.segment(&segment, utterance, options, no_speech_prob)
            })
            .filter(|segment| !segment.text.is_empty())
            .collect()
    }

    fn segment(
        &self,
        segment: &WhisperSegment<'_>,
        utterance: &Utterance,
        options: &DecodeOptions,
        no_speech_prob: Option<f32>,
    ) -> Segment {
        let span = match options.timestamps {
            Timestamps::None if utterance.speech.is_empty() => utterance.span,
            Timestamps::None => utterance.speech,
            _ => span_in(utterance.span, segment.start_timestamp(), segment.end_timestamp()),
        };
        let tokens = self.tokens(segment);
        let logprobs = tokens.iter().map(|token| token.logprob);
        Segment {
            text: segment.to_str_lossy().map(|text| text.trim().to_owned()).unwrap_or_default(),
            span,
            avg_logprob: logprobs.sum::<f32>() / tokens.len().max(1) as f32,
            words: match options.timestamps {
                Timestamps::Word => timed_words(&tokens, sound_of(utterance, span), span),
                _ => Vec::new(),
            },
            tokens,
            no_speech_prob,
            temperature: options.temperature,
        }
    }

    /// The segment's text tokens; specials and timestamps are left out.
    fn tokens(&self, segment: &WhisperSegment<'_>) -> Vec<Token> {
        let first_special = self.context.token_eot();
        (0..segment.n_tokens())
            .filter_map(|index| segment.get_token(index))
            .filter(|token| token.token_id() < first_special)
            .map(|token| Token {
                id: token.token_id(),
                bytes: token.to_bytes().unwrap_or_default().to_vec(),
                logprob: token.token_data().plog,
            })
            .collect()
    }

    fn language(&self, options: &DecodeOptions) -> String {
        let detected = || whisper_rs::get_lang_str(self.state.as_ref()?.full_lang_id_from_state());
        match &options.language {
            _ if !self.context.is_multilingual() => "en".into(),
            Some(language) => language.clone(),
            None => detected().unwrap_or("en").into(),
        }
    }
}

/// Where an interim reading of so much audio ends, as whisper.cpp counts.
fn longest_interim(audio: Duration) -> c_int {
    (audio.as_secs_f32() * TOKENS_PER_SECOND) as c_int + 16
}

/// whisper.cpp ends a decode behind the token that it counts as this one, and it counts from 0. Its own 0 means no end, so
/// that 2 tokens are the least that can be asked for.
fn after_which_token(most: u16) -> c_int {
    c_int::from(most.max(2)) - 1
}

/// How many languages a multilingual model of this vocabulary knows.
fn languages_in(n_vocab: c_int) -> c_int {
    n_vocab - 51_766
}

/// The encoder positions that cover `duration` with a little room, in steps of 64.
fn fitting_audio_ctx(duration: Duration) -> c_int {
    let positions = (duration.as_secs_f64() * 50.0).ceil() as c_int + 32;
    ((positions + 63) / 64 * 64).min(FULL_AUDIO_CTX)
}

/// A span from whisper.cpp's centiseconds, which count from the window's begin and may lie outside it.
fn span_in(window: Span, start: i64, end: i64) -> Span {
    let samples_per_centisecond = i64::from(SampleRate::SPEECH.hertz() / 100);
    let at = |centiseconds: i64| {
        let offset = centiseconds.saturating_mul(samples_per_centisecond).clamp(0, window.len() as i64);
        window.start + offset as u64
    };
    Span::new(at(start), at(end))
}

/// The samples of the utterance that lie in `span`.
fn sound_of(utterance: &Utterance, span: Span) -> &[f32] {
    let at = |position: u64| (position - utterance.span.start) as usize;
    utterance.samples.get(at(span.start)..at(span.end)).unwrap_or_default()
}

/// What keeps this build from using GPUs: the library that is missing, in the loader's words. `None` when none is.
#[cfg(feature = "cuda")]
pub fn missing_cuda_library() -> Option<String> {
    cuda::missing_library()
}

/// The CUDA part of whisper.cpp, as far as whisper-rs does not show it.
#[cfg(feature = "cuda")]
#[allow(unsafe_code)]
mod cuda {
    use std::ffi::{CStr, c_char, c_int};

    unsafe extern "C" {
        /// In `cuda_libraries.c`: a text that stays, or null.
        safe fn missing_cuda_library() -> *const c_char;
        /// In ggml: 0 where there is no driver, or one that is too old.
        safe fn ggml_backend_cuda_get_device_count() -> c_int;
    }

    /// How many GPUs whisper.cpp sees.
    pub(super) fn device_count() -> u32 {
        ggml_backend_cuda_get_device_count().max(0) as u32
    }

    pub(super) fn missing_library() -> Option<String> {
        let text = missing_cuda_library();
        // SAFETY: it is null, or a text with an end that is written once, before the first call returns.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    }
}

/// A build without CUDA sees no GPU.
#[cfg(not(feature = "cuda"))]
mod cuda {
    pub(super) fn device_count() -> u32 {
        0
    }
}

/// Lets whisper.cpp ask `cancel` whether to stop.
#[allow(unsafe_code)]
fn stop_on(params: &mut FullParams<'_, '_>, cancel: &CancellationToken) {
    let token = std::ptr::from_ref(cancel).cast_mut().cast::<c_void>();
    // SAFETY: `params` is consumed by the one call to `full` in `run`, which returns before the borrow of `cancel` ends.
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
fn abort() -> ! {
    let (file, line) = (c"src/asr/whisper.rs", line!() as c_int);
    // SAFETY: all three are strings that end with a zero, and the format takes one of them.
    unsafe { ggml_abort(file.as_ptr(), line, c"%s".as_ptr(), c"as debug.abort_after asks for".as_ptr()) };
    // It does not come back, which its binding does not say.
    std::process::abort()
}

/// Lets so many decodes pass, and none after them.
struct Fuse {
    left: AtomicU64,
}

impl Fuse {
    fn of(decodes: u64) -> Self {
        Self { left: AtomicU64::new(decodes) }
    }

    /// Whether this decode is one too many.
    fn blows(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn a_fuse_lets_as_many_decodes_pass_as_it_is_for() {
        let fuse = Fuse::of(2);
        assert_eq!([fuse.blows(), fuse.blows(), fuse.blows(), fuse.blows()], [false, false, true, true]);
        assert!(Fuse::of(0).blows());
    }

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

    #[test]
    fn the_encoder_window_fits_the_utterance_and_never_exceeds_thirty_seconds() {
        let seconds = |seconds: f64| fitting_audio_ctx(Duration::from_secs_f64(seconds));
        assert_eq!(
            [seconds(0.1), seconds(0.7), seconds(3.0), seconds(29.9), seconds(300.0)],
            [64, 128, 192, 1500, 1500]
        );
    }

    #[test]
    fn a_bound_on_tokens_is_one_less_for_whisper_cpp_and_never_its_word_for_no_bound() {
        assert_eq!([0, 1, 2, 3, 32, 220].map(after_which_token), [1, 1, 1, 2, 31, 219]);
        assert_eq!(longest_interim(Duration::from_secs(2)), 40);
    }

    #[test]
    fn older_multilingual_models_know_one_language_less() {
        assert_eq!((languages_in(51_865), languages_in(51_866)), (99, 100));
    }

    #[test]
    fn times_outside_the_window_are_clamped_to_it() {
        let window = Span::new(16_000, 48_000);
        assert_eq!(span_in(window, -100_726, 250), window);
        assert_eq!(span_in(window, 50, 150), Span::new(24_000, 40_000));
        assert!(span_in(window, 150, 50).is_empty());
    }
}
