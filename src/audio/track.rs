//! One audio track of a container, packet by packet, as mono samples at its own rate. Resampling is `file`'s.

use super::extent::promised_end;
use super::mp4::{self, Delay};
use super::sniff::Container;
use super::source::View;
use super::wav::{self, Wav};
use super::{AudioError, SampleRate};
use std::io::{self, Read, Seek};
use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;
use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::{Error, Result as SymphoniaResult};
use symphonia::core::formats::{FormatOptions, FormatReader, Track as TrackInfo};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::packet::Packet;
use symphonia::default::formats::{
    AdtsReader, AiffReader, FlacReader, IsoMp4Reader, MkvReader, MpaReader, OggReader, WavReader,
};

/// symphonia's own decoders, and libopus.
static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs.register_audio_decoder::<symphonia_adapter_libopus::OpusDecoder>();
    codecs
});

/// Rates that occur; anything else is a damaged or hostile header.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// What decoders reserve memory for before they see a sample, and what one packet may hold: the most that FLAC can
/// have, and more than anybody writes. Headers and tables can claim thousands of times as much.
const MAX_CHANNELS: usize = 64;
const MAX_FRAMES_PER_PACKET: u64 = 65_536;
const MAX_PACKET_BYTES: usize = 4 << 20;

/// How often in a row the container may fail before it counts as broken off: some readers stand still when they fail.
const MAX_FAILURES: usize = 64;

/// Layer III files say how many frames they have, with or without the one that says so.
const MP3_SLACK: u64 = 2 * 1152;

/// What one step brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Samples at this rate.
    Samples(SampleRate),
    /// A packet of another track, or one that could not be decoded.
    Nothing,
    /// The end, before its time or not.
    End { truncated: bool },
}

/// The first audio track of a file that can be decoded.
pub(super) struct Track {
    container: Container,
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    id: u32,
    /// Where the last packet ended, and where the last one should, in the track's own units.
    reached: i64,
    expected: Option<u64>,
    failures: usize,
    /// Silence of the encoder that is still to be left out, where symphonia does not do it.
    delay: Option<Delay>,
    interleaved: Vec<f32>,
    promises_more: bool,
    duration: Option<Duration>,
    last_error: Option<String>,
}

/// What part of a file symphonia is shown, and what we know about it already.
struct Layout {
    header: Vec<u8>,
    body: Range<u64>,
    truncated: bool,
    duration: Option<Duration>,
    delays: Vec<Delay>,
}

impl Layout {
    fn of<S: Read + Seek>(
        source: &mut S,
        container: Container,
        start: u64,
        len: u64,
    ) -> Result<Self, AudioError> {
        if container == Container::Wav {
            let Wav { header, data, truncated, duration } = wav::read_header(source, start, len)?;
            return Ok(Self { header, body: data, truncated, duration, delays: Vec::new() });
        }
        let end = promised_end(source, container, start, len)?;
        let delays = match container {
            Container::Mp4 => mp4::delays(source, start..len)?,
            _ => Vec::new(),
        };
        Ok(Self { header: Vec::new(), body: start..end, truncated: end > len, duration: None, delays })
    }
}

impl Track {
    /// Opens `source`, whose audio is `container` and lies between `start` and `len`.
    ///
    /// # Errors
    ///
    /// [`AudioError::Damaged`], [`AudioError::NoTrack`] or [`AudioError::Read`].
    pub(super) fn open<S>(
        mut source: S,
        container: Container,
        start: u64,
        len: u64,
    ) -> Result<Self, AudioError>
    where
        S: Read + Seek + Send + Sync + 'static,
    {
        let layout = Layout::of(&mut source, container, start, len)?;
        // Matroska keeps its index at the end; a reader that looks for it in a file that broke off gives up.
        let forward_only = container == Container::Matroska && layout.truncated;
        let view = View::new(source, layout.header, layout.body).forward_only(forward_only);
        let stream = MediaSourceStream::new(Box::new(view), MediaSourceStreamOptions::default());
        let format = reader(container, stream).map_err(open_error)?;
        let (id, decoder) = choose(format.tracks())?;
        let mut track = Self {
            container,
            format,
            decoder,
            id,
            reached: 0,
            expected: None,
            failures: 0,
            delay: layout.delays.into_iter().find(|delay| delay.track == id),
            interleaved: Vec::new(),
            promises_more: layout.truncated,
            duration: layout.duration,
            last_error: None,
        };
        track.expected = track.expected_end();
        track.duration = track.duration.or_else(|| track.stated_duration());
        Ok(track)
    }

    /// How long the file says it is.
    pub(super) fn duration(&self) -> Option<Duration> {
        self.duration
    }

    /// What the last packet that could not be decoded said.
    pub(super) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Takes one packet and appends its samples, the mean of all channels, to `mono`.
    ///
    /// # Errors
    ///
    /// [`AudioError::Read`] when the source fails, [`AudioError::NoTrack`] for a rate that cannot be.
    pub(super) fn step(&mut self, mono: &mut Vec<f32>) -> Result<Step, AudioError> {
        match self.format.next_packet() {
            Ok(Some(packet)) if packet.track_id == self.id => self.decode(&packet, mono),
            Ok(Some(_)) => Ok(Step::Nothing),
            Ok(None) => Ok(self.end()),
            // Our own header gives no length, so this is how the samples end.
            Err(Error::IoError(error)) if self.container == Container::Wav && is_eof(&error) => {
                Ok(self.end())
            }
            Err(Error::ResetRequired) => self.begin_next_stream(),
            Err(error) => self.survive(error),
        }
    }

    fn decode(&mut self, packet: &Packet, mono: &mut Vec<f32>) -> Result<Step, AudioError> {
        self.failures = 0;
        self.reached = packet.pts.get().saturating_add_unsigned(packet.dur.get());
        if packet.data.len() > MAX_PACKET_BYTES {
            self.last_error = Some(format!("a packet of {} bytes", packet.data.len()));
            return Ok(Step::Nothing);
        }
        let buffer = match self.decoder.decode(packet) {
            Ok(buffer) => buffer,
            Err(error) => {
                self.last_error = Some(error.to_string());
                return Ok(Step::Nothing);
            }
        };
        let rate = plausible_rate(buffer.spec().rate()).map_err(|detail| AudioError::NoTrack { detail })?;
        let (channels, frames) = (buffer.spec().channels().count(), buffer.frames());
        buffer.copy_to_vec_interleaved(&mut self.interleaved);
        let skip = self.delay.as_mut().map_or(0, |delay| delay.take(rate.hertz(), frames));
        mono.extend(self.interleaved.chunks_exact(channels.max(1)).skip(skip).map(mean));
        Ok(Step::Samples(rate))
    }

    /// Ogg files may be several streams one after the other; each has its own headers.
    fn begin_next_stream(&mut self) -> Result<Step, AudioError> {
        (self.id, self.decoder) = choose(self.format.tracks())?;
        (self.reached, self.expected) = (0, self.expected_end());
        Ok(Step::Nothing)
    }

    /// Goes on after damage between packets, as long as that can lead anywhere.
    fn survive(&mut self, error: Error) -> Result<Step, AudioError> {
        self.last_error = Some(error.to_string());
        self.failures += 1;
        match error {
            Error::IoError(error) if !is_eof(&error) => Err(error.into()),
            Error::DecodeError(_) if self.failures < MAX_FAILURES => Ok(Step::Nothing),
            _ => Ok(Step::End { truncated: true }),
        }
    }

    fn info(&self) -> Option<&TrackInfo> {
        self.format.tracks().iter().find(|track| track.id == self.id)
    }

    /// Where the last packet should end, for the containers whose word can be taken and who do not notice themselves.
    fn expected_end(&self) -> Option<u64> {
        let info = self.info()?;
        match self.container {
            Container::Flac | Container::Aiff => info.num_frames,
            // Without a LAME tag the number is an estimate from the bit rate.
            Container::Mp3 if info.delay.is_some() => Some(info.num_frames?.saturating_sub(MP3_SLACK)),
            _ => None,
        }
    }

    /// The end as the container sees it, which is not always the end that was meant.
    fn end(&self) -> Step {
        let falls_short =
            self.expected.is_some_and(|expected| self.reached.max(0).cast_unsigned() < expected);
        Step::End { truncated: self.promises_more || falls_short }
    }

    fn stated_duration(&self) -> Option<Duration> {
        let of_track = self.info().and_then(|info| info.time_base?.calc_duration(info.duration?));
        let of_file =
            || self.format.media_info().time_base?.calc_duration(self.format.media_info().duration?);
        let seconds = of_track.or_else(of_file)?.as_secs_f64();
        Duration::try_from_secs_f64(seconds).ok()
    }
}

fn reader(
    container: Container,
    stream: MediaSourceStream<'static>,
) -> SymphoniaResult<Box<dyn FormatReader>> {
    let options = FormatOptions::default();
    Ok(match container {
        Container::Wav => Box::new(WavReader::try_new(stream, options)?),
        Container::Aiff => Box::new(AiffReader::try_new(stream, options)?),
        Container::Flac => Box::new(FlacReader::try_new(stream, options)?),
        Container::Ogg => Box::new(OggReader::try_new(stream, options)?),
        Container::Mp4 => Box::new(IsoMp4Reader::try_new(stream, options)?),
        Container::Matroska => Box::new(MkvReader::try_new(stream, options)?),
        Container::Adts => Box::new(AdtsReader::try_new(stream, options)?),
        Container::Mp3 => Box::new(MpaReader::try_new(stream, options)?),
    })
}

fn open_error(error: Error) -> AudioError {
    match error {
        Error::IoError(error) if !is_eof(&error) => error.into(),
        Error::IoError(_) => AudioError::Damaged { detail: "it ends before its audio begins".into() },
        error => AudioError::Damaged { detail: error.to_string() },
    }
}

fn is_eof(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// The first track that is audio and has a decoder.
fn choose(tracks: &[TrackInfo]) -> Result<(u32, Box<dyn AudioDecoder>), AudioError> {
    let mut detail = format!("{} tracks, none of them audio", tracks.len());
    for track in tracks {
        let Some(parameters) = track.codec_params.as_ref().and_then(|parameters| parameters.audio()) else {
            continue;
        };
        match decoder(parameters) {
            Ok(decoder) => return Ok((track.id, decoder)),
            Err(error) => detail = error,
        }
    }
    Err(AudioError::NoTrack { detail })
}

fn decoder(parameters: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>, String> {
    let channels = parameters.channels.as_ref().map_or(1, Channels::count);
    let frames = parameters.max_frames_per_packet.unwrap_or(0);
    if channels > MAX_CHANNELS || frames > MAX_FRAMES_PER_PACKET {
        return Err(format!("{channels} channels with {frames} samples per packet"));
    }
    if let Some(rate) = parameters.sample_rate {
        plausible_rate(rate)?;
    }
    let options = AudioDecoderOptions::default();
    CODECS.make_audio_decoder(parameters, &options).map_err(|error| error.to_string())
}

fn plausible_rate(hertz: u32) -> Result<SampleRate, String> {
    let rate = SampleRate::new(hertz).filter(|_| RATES.contains(&hertz));
    rate.ok_or_else(|| {
        format!("a sample rate of {hertz} Hz; {} to {} Hz can be decoded", RATES.start(), RATES.end())
    })
}

/// The mean of one sample per channel, in −1…1 whatever the file holds.
fn mean(channels: &[f32]) -> f32 {
    channels.iter().map(|&sample| bounded(sample)).sum::<f32>() / channels.len() as f32
}

/// NaN and infinity are no loudness; they become silence.
fn bounded(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use symphonia::core::audio::layouts::CHANNEL_LAYOUT_STEREO;
    use symphonia::core::codecs::CodecParameters;
    use symphonia::core::codecs::audio::well_known::CODEC_ID_PCM_S16LE;

    fn pcm(frames_per_packet: u64) -> TrackInfo {
        let mut parameters = AudioCodecParameters::new();
        parameters
            .for_codec(CODEC_ID_PCM_S16LE)
            .with_sample_rate(44_100)
            .with_channels(CHANNEL_LAYOUT_STEREO)
            .with_max_frames_per_packet(frames_per_packet);
        let mut track = TrackInfo::new(frames_per_packet as u32);
        track.with_codec_params(CodecParameters::Audio(parameters));
        track
    }

    #[test]
    fn the_first_track_that_can_be_decoded_is_chosen() {
        let tracks = [TrackInfo::new(1), pcm(u64::from(u32::MAX)), pcm(4), pcm(8)];
        assert_eq!(choose(&tracks).unwrap().0, 4);
    }

    /// The decoder would reserve 16 GiB at once and the process would be gone.
    #[test]
    fn a_header_cannot_reserve_memory() {
        let error = choose(&[pcm(u64::from(u32::MAX))]).map(|(id, _)| id).unwrap_err();
        assert!(error.to_string().contains("4294967295 samples per packet"), "{error}");
    }

    #[test]
    fn the_mean_of_wild_samples_is_tame() {
        assert!((mean(&[f32::NAN, f32::INFINITY, 3.0, -0.5]) - 0.125).abs() < f32::EPSILON);
    }
}
