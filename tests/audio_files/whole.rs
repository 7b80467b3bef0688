//! Files that are what they say, or that are no audio at all.

use super::*;

#[test]
fn every_format_brings_the_same_speech() {
    let speech = speech();
    assert_eq!(speech.len(), 16_000);
    // How far length and beginning may be off, in ms: untagged MP3, bare and fragmented AAC do not tell the
    // encoder's delay, and few containers the padding at the end.
    let cases = [
        ("speech.flac", 0),
        ("alac.m4a", 0),
        ("speech.aiff", 0),
        ("alaw.wav", 0),
        ("mulaw.wav", 0),
        ("adpcm.wav", 21),
        ("speech.mp3", 0),
        ("stereo.mp3", 0),
        ("noxing.mp3", 50),
        ("vorbis.ogg", 0),
        ("vorbis.webm", 16),
        ("opus.ogg", 1),
        ("opus.webm", 14),
        ("video.webm", 14),
        ("speech.m4a", 22),
        ("faststart.m4a", 22),
        ("fragmented.mp4", 43),
        ("video.mp4", 22),
        ("speech.aac", 43),
    ];
    for (name, tolerance_ms) in cases {
        let Decoded { samples, truncated } =
            decode(fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let tolerance = 16 * tolerance_ms;
        assert!(samples.len().abs_diff(16_000) <= tolerance, "{name} has {} samples", samples.len());
        let likeness = likeness(&samples, &speech, tolerance.max(1));
        assert!(likeness > 0.93, "{name} correlates with {likeness:.3} only");
        assert!(!truncated, "{name} is whole");
    }
}

#[test]
fn the_delay_of_the_encoder_is_left_out() {
    let speech = speech();
    for name in ["speech.mp3", "vorbis.ogg", "opus.ogg", "opus.webm", "speech.m4a", "video.mp4"] {
        let likeness = likeness(&decode(fixture(name)).unwrap().samples, &speech, 2);
        assert!(likeness > 0.93, "{name} correlates with {likeness:.3} only where it should begin");
    }
}

#[test]
fn the_stated_duration_is_about_right() {
    let names = [
        "speech.wav",
        "adpcm.wav",
        "speech.flac",
        "speech.mp3",
        "vorbis.ogg",
        "opus.webm",
        "video.mp4",
        "speech.aac",
    ];
    for name in names {
        let reader = FileReader::open(Cursor::new(fixture(name)), None).unwrap();
        let seconds = reader.duration().unwrap_or_else(|| panic!("{name} states none")).as_secs_f64();
        assert!((seconds - 1.0).abs() < 0.08, "{name} states {seconds} s");
    }
}

#[test]
fn streams_that_follow_one_another_are_one_recording() {
    let samples = decode(fixture("chained.ogg")).unwrap().samples;
    assert!(samples.len().abs_diff(32_000) < 100, "{}", samples.len());
    assert!(likeness(&samples[samples.len() / 2..], &speech(), 50) > 0.95);
}

#[test]
fn wav_files_of_every_shape_sound_the_same() {
    let float = WavSpec { sample_format: SampleFormat::Float, ..spec(2, 44_100, 32) };
    let specs = [
        spec(1, 8_000, 8),
        spec(2, 11_025, 16),
        spec(1, 16_000, 24),
        spec(2, 48_000, 32),
        float,
        spec(8, 48_000, 16),
        spec(8, 48_000, 24),
        spec(1, 192_000, 16),
        spec(2, 384_000, 16),
        spec(1, 4_000, 8),
    ];
    for spec in specs {
        let samples = decode(sine_wav(spec, 0.5)).unwrap_or_else(|error| panic!("{spec:?}: {error}")).samples;
        assert!(samples.len().abs_diff(8_000) <= 1, "{spec:?}: {}", samples.len());
        let middle = &samples[2_000..6_000];
        let level = (middle.iter().map(|s| s * s).sum::<f32>() / middle.len() as f32).sqrt();
        assert!((level - 0.5 / 2.0_f32.sqrt()).abs() < 0.01, "{spec:?} is {level} loud");
    }
}

/// A mono WAV of 64-bit floats at 16 kHz.
fn float64_wav(samples: &[f64]) -> Vec<u8> {
    let mut bytes =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x03\0\x01\0\x80\x3e\0\0\0\xf4\x01\0\x08\0\x40\0data\0\0\0\0"
            .to_vec();
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    bytes
}

#[test]
fn floats_that_are_no_loudness_become_silence() {
    let wild = [0.25, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e9, -7.0, 1e-310];
    assert_eq!(decode(float64_wav(&wild)).unwrap().samples, [0.25, 0.0, 0.0, 0.0, 1.0, -1.0, 0.0]);
}

#[test]
fn channels_are_averaged() {
    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, spec(2, 16_000, 16)).unwrap();
    for sample in [16_384_i16, 0, -16_384, 16_384] {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
    assert_eq!(decode(file.into_inner()).unwrap().samples, [0.25, 0.0]);
}

#[test]
fn a_recording_of_no_seconds_is_refused_and_one_of_a_single_sample_is_not() {
    assert_eq!(code(sine_wav(spec(1, 44_100, 16), 0.0)), "audio_too_short");
    assert_eq!(decode(sine_wav(spec(1, 16_000, 16), 1.0 / 16_000.0)).unwrap().samples.len(), 1);
}

#[test]
fn what_is_not_audio_is_refused() {
    assert_eq!(code(b"".as_slice()), "audio_empty");
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &b"\xff".repeat(70_000)].concat();
    let utf16 = [b"\xff\xfe".as_slice(), &b"t\0e\0x\0t\0".repeat(500)].concat();
    let text = b"It was a bright cold day in April. ".repeat(3_000);
    for bytes in [png, utf16, text, b"R".to_vec(), vec![0; 100_000], b"RIFF\x04\0\0\0WEBPVP8 ".to_vec()] {
        assert_eq!(code(bytes), "audio_format_unknown");
    }
}

#[test]
fn the_name_of_a_file_that_is_not_audio_is_mentioned() {
    let error = FileReader::open(Cursor::new(b"not music"), Some("mp3")).unwrap_err();
    assert!(error.to_string().contains("called .mp3"), "{error}");
}

#[test]
fn a_film_without_sound_has_no_track() {
    assert_eq!(code(fixture("silent.mp4")), "audio_track_missing");
}

#[test]
fn surround_opus_is_refused_by_name() {
    let error = decode(fixture("surround.opus")).unwrap_err();
    assert!(error.to_string().contains("channels"), "{error}");
    assert_eq!(error.code(), "audio_track_missing");
}

#[test]
fn absurd_rates_and_channels_are_refused() {
    let mut bytes = sine_wav(spec(1, 16_000, 16), 0.1);
    for rate in [0_u32, 1, 999, 768_001, u32::MAX] {
        bytes[24..28].copy_from_slice(&rate.to_le_bytes());
        assert_eq!(code(bytes.clone()), "audio_track_missing", "{rate} Hz");
    }
    bytes[22..24].copy_from_slice(&u16::MAX.to_le_bytes());
    assert_eq!(code(bytes), "audio_track_missing");
}
