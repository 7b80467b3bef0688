//! Opus in Ogg (RFC 7845), packets of 20 ms.

use super::{SoundEncoder, failed};
use crate::audio::AudioError;
use ogg::writing::{PacketWriteEndInfo, PacketWriter};
use opusic_c::{Application, Bitrate, Channels, Encoder, SampleRate, Signal};

/// Samples of a packet.
const PACKET: usize = 480;

/// Packets of a page: what a listener waits for at most, 100 ms.
const PAGE: u64 = 5;

/// Positions are counted at 48 kHz, whatever the rate is.
const STEP: u64 = 2;

/// Bits per second: plenty for a voice.
const BITRATE: u32 = 48_000;

/// No packet of Opus is longer.
const LONGEST: usize = 1_275;

/// A file has one stream, so its number does not matter.
const SERIAL: u32 = 1;

pub(super) struct OggOpus {
    encoder: Encoder,
    writer: PacketWriter<'static, Vec<u8>>,
    pending: Vec<f32>,
    /// The last packet, which is not written before it is known whether another comes.
    held: Option<Vec<u8>>,
    packets: u64,
    samples: u64,
    /// What the decoder has to skip at the beginning, at 48 kHz.
    pre_skip: u64,
}

impl OggOpus {
    pub(super) fn new() -> Result<Self, AudioError> {
        let failure = |code: opusic_c::ErrorCode| failed(format!("Opus: {code:?}"));
        let mut encoder =
            Encoder::new(Channels::Mono, SampleRate::Hz24000, Application::Audio).map_err(failure)?;
        encoder.set_bitrate(Bitrate::Value(BITRATE)).map_err(failure)?;
        encoder.set_signal(Signal::Voice).map_err(failure)?;
        let pre_skip = u64::from(encoder.get_look_ahead().map_err(failure)?) * STEP;
        let mut own = Self {
            encoder,
            writer: PacketWriter::new(Vec::new()),
            pending: Vec::new(),
            held: None,
            packets: 0,
            samples: 0,
            pre_skip,
        };
        own.write(head(pre_skip), PacketWriteEndInfo::EndPage, 0)?;
        own.write(tags(), PacketWriteEndInfo::EndPage, 0)?;
        Ok(own)
    }

    pub(super) fn push(&mut self, samples: &[f32]) -> Result<Vec<u8>, AudioError> {
        self.samples += samples.len() as u64;
        self.pending.extend_from_slice(samples);
        self.encode()?;
        Ok(std::mem::take(self.writer.inner_mut()))
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, AudioError> {
        // What the encoder still holds back comes out with silence behind it.
        let end = self.samples * STEP + self.pre_skip;
        let missing = end.div_ceil(PACKET as u64 * STEP).max(1) * PACKET as u64 - self.samples;
        self.pending.extend(std::iter::repeat_n(0.0, missing as usize));
        self.encode()?;
        if let Some(last) = self.held.take() {
            self.write(last, PacketWriteEndInfo::EndStream, end)?;
        }
        Ok(self.writer.into_inner())
    }

    fn encode(&mut self) -> Result<(), AudioError> {
        while self.pending.len() >= PACKET {
            let mut packet = Vec::with_capacity(LONGEST);
            let encoded = self.encoder.encode_float_to_vec(&self.pending[..PACKET], &mut packet);
            encoded.map_err(|code| failed(format!("Opus: {code:?}")))?;
            self.pending.drain(..PACKET);
            if let Some(before) = self.held.replace(packet) {
                self.packets += 1;
                let full = self.packets.is_multiple_of(PAGE);
                let end = if full { PacketWriteEndInfo::EndPage } else { PacketWriteEndInfo::NormalPacket };
                self.write(before, end, self.packets * PACKET as u64 * STEP)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, packet: Vec<u8>, end: PacketWriteEndInfo, position: u64) -> Result<(), AudioError> {
        self.writer.write_packet(packet, SERIAL, end, position).map_err(failed)
    }
}

fn head(pre_skip: u64) -> Vec<u8> {
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend((pre_skip as u16).to_le_bytes());
    head.extend(SoundEncoder::RATE.hertz().to_le_bytes());
    head.extend([0, 0, 0]);
    head
}

fn tags() -> Vec<u8> {
    let vendor = b"stenopool";
    let mut tags = b"OpusTags".to_vec();
    tags.extend((vendor.len() as u32).to_le_bytes());
    tags.extend(vendor);
    tags.extend(0_u32.to_le_bytes());
    tags
}
