//! whisper.cpp: one context (the weights), and for every slot a state (the working memory of one decode).
//!
//! With [`native`] the only file that knows `whisper-rs`. What that does not offer is there: whisper-rs 0.16's safe version of
//! the callback by which whisper.cpp asks whether to stop is broken, and others it does not have.

mod fuse;
mod native;

#[cfg(feature = "cuda")]
pub use native::missing_cuda_library;
pub use native::on_fatal;

use super::guard::{IMPROBABLE, REPETITIVE, compression_ratio, mean_logprob};
use super::noise::noise;
use super::thread_engine::RecognizerFactory;
use super::words::timed_words;
use super::{AsrError, DecodeOptions, EncoderWindow, Hypothesis, ModelInfo, Recognizer, Segment};
use super::{Stability, Task, Timestamps, Token};
use crate::audio::{SampleRate, Span, Utterance};
use crate::gpu::{Bytes, Footprint, HostProbe, Meter};
use crate::pool::SlotId;
use fuse::Fuse;
use native::{GivenBack, abort, cuda, stop_on};
use std::collections::HashMap;
use std::ffi::c_int;
use std::path::Path;
use std::sync::{Arc, Once};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
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
    /// For those who want to see what a failing device does: after so many decodes, those of all slots of a device together, the next
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
        LOG_HOOKS.call_once(|| {
            if gpu.is_none() {
                cuda::look_quietly();
            }
            whisper_rs::install_logging_hooks();
        });
        let not_loaded = |reason: String| AsrError::Load { model: name.into(), reason };
        let before = meter.read();
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
        let weights = meter.read().since(before);
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
        let before = self.meter.read();
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
        let working = self.meter.read().since(before);
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

#[cfg(test)]
mod tests {
    use super::*;

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
