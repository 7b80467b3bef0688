use super::*;
use crate::vad::recorded::asset;
use tempfile::TempDir;

/// A folder with recordings and this table.
fn folder(table: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(TABLE), table).unwrap();
    fs::create_dir(folder.path().join("more")).unwrap();
    fs::write(folder.path().join("more/a.wav"), wav(16_000, 16_000)).unwrap();
    fs::write(folder.path().join("b.wav"), wav(48_000, 24_000)).unwrap();
    let whole = wav(16_000, 16_000);
    fs::write(folder.path().join("half.wav"), &whole[..whole.len() / 2]).unwrap();
    fs::write(folder.path().join("text.wav"), "not audio").unwrap();
    if table.contains("long.wav") {
        fs::write(folder.path().join("long.wav"), wav(16_000, 601 * 16_000)).unwrap();
    }
    folder
}

/// 16-bit mono at half of full scale.
fn wav(rate: u32, samples: u32) -> Vec<u8> {
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + 2 * samples).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(rate.to_le_bytes());
    wav.extend((2 * rate).to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend((2 * samples).to_le_bytes());
    wav.extend((0..samples).flat_map(|_| 16_384_i16.to_le_bytes()));
    wav
}

fn unasked(_: &[f32]) -> Result<Vec<Span>, String> {
    panic!("labels are in the table")
}

fn error(table: &str) -> String {
    let folder = folder(table);
    let mut label = |_: &[f32]| Err("no detector".to_owned());
    let error = read_clips(folder.path(), SampleRate::SPEECH, &mut label).unwrap_err();
    assert!(!error.hint().is_empty());
    error.to_string().replace(folder.path().to_str().unwrap(), "DIR")
}

#[test]
fn recordings_come_at_the_rate_asked_for_with_their_labels_at_16_khz() {
    let folder = folder("file\tkind\ttext\tsegments\nmore/a.wav\tx\tHello.\t0.25-0.5\nb.wav\t\t\t\n");
    let clips = read_clips(folder.path(), SampleRate::TELEPHONE, &mut unasked).unwrap();
    let [first, second] = &clips[..] else { panic!("{} clips", clips.len()) };
    assert_eq!((&*first.file, &*first.kind, &*first.text), ("more/a.wav", "x", "Hello."));
    assert_eq!((first.samples.len(), first.rate), (8_000, SampleRate::TELEPHONE));
    assert_eq!(first.speech, [Span::new(4_000, 8_000)]);
    assert!((i32::from(first.samples[4_000]) - 16_384).abs() < 100, "{}", first.samples[4_000]);
    assert_eq!((second.samples.len(), &*second.kind, second.speech.len()), (4_000, "all", 0));
}

#[test]
fn labels_are_asked_for_only_where_there_is_text_and_none_in_the_table() {
    let folder = folder(
        "file\ttext\tsegments\nmore/a.wav\tHello.\t0-1\nb.wav\t\t\nb.wav\tHi.\t\nmore/a.wav\tYou.\t\n",
    );
    let mut asked = Vec::new();
    let mut label = |samples: &[f32]| {
        asked.push(samples.len());
        Ok(if samples.len() == 8_000 { vec![Span::new(100, 9_000)] } else { Vec::new() })
    };
    let clips = read_clips(folder.path(), SampleRate::SPEECH, &mut label).unwrap();
    assert_eq!(asked, [8_000, 16_000]);
    // It ends with the recording; and where nothing is found, all of it is speech.
    assert_eq!(clips[2].speech, [Span::new(100, 8_000)]);
    assert_eq!(clips[3].speech, [Span::new(0, 16_000)]);
}

#[test]
fn a_label_that_ends_a_little_late_ends_with_the_recording() {
    let folder = folder("file\ttext\tsegments\nb.wav\tHello.\t0.2-0.51\n");
    let clips = read_clips(folder.path(), SampleRate::SPEECH, &mut unasked).unwrap();
    assert_eq!(clips[0].speech, [Span::new(3_200, 8_000)]);
}

#[test]
fn whatever_is_wrong_is_said_in_one_line_with_file_and_line() {
    let cases = [
        ("", "DIR/transcripts.tsv: it is empty"),
        ("file\tsaid\nb.wav\thi\n", "DIR/transcripts.tsv: it has no column `text`, only file, said"),
        ("file\ttext\n../b.wav\thi\n", "DIR/transcripts.tsv:2: ../b.wav leads out of the folder"),
        (
            "file\ttext\nb.wav\t\nc.wav\t\n",
            "DIR/transcripts.tsv:3: c.wav: No such file or directory (os error 2)",
        ),
        ("file\ttext\n\nhalf.wav\t\n", "DIR/transcripts.tsv:3: half.wav: it breaks off before its end"),
        ("file\ttext\nlong.wav\t\n", "DIR/transcripts.tsv:2: long.wav: it is longer than 10 minutes"),
        ("file\ttext\nb.wav\thi\n", "DIR/transcripts.tsv:2: b.wav: no detector"),
        (
            "file\ttext\tsegments\nb.wav\thi\t0.5-0.7\n",
            "DIR/transcripts.tsv:2: b.wav: a segment begins at 0.50 s, but it is 0.50 s long",
        ),
    ];
    for (table, expected) in cases {
        assert_eq!(error(table), expected, "{table:?}");
    }
    let text = error("file\ttext\ntext.wav\t\n");
    assert!(
        text.starts_with("DIR/transcripts.tsv:2: text.wav: this is not audio in a known format"),
        "{text}"
    );
    let directory = error("file\ttext\nmore\t\n");
    assert!(directory.starts_with("DIR/transcripts.tsv:2: more: "), "{directory}");
}

#[test]
fn a_folder_or_a_table_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let open = |dir: &Path| read_clips(dir, SampleRate::SPEECH, &mut unasked).unwrap_err();
    assert!(matches!(open(folder.path()), ClipsError::NoTable(dir) if dir == folder.path()));
    let gone = folder.path().join("gone");
    assert!(matches!(open(&gone), ClipsError::NoFolder(dir) if dir == gone));
}

#[test]
fn the_recordings_of_the_repository_can_be_opened() {
    let dir = asset("tests/recordings/eval");
    let clips = read_clips(&dir, SampleRate::new(24_000).unwrap(), &mut unasked).unwrap();
    assert_eq!(clips.len(), 60);
    assert!(clips.iter().all(|clip| clip.text.is_empty() == clip.speech.is_empty()));
    let long = clips.iter().find(|clip| clip.file == "long-003.wav").unwrap();
    assert_eq!(long.speech.len(), 3);
    assert!((long.samples.len() as f64 / 24_000.0 - 9.59).abs() < 0.01);
}

#[test]
fn a_recording_is_cut_to_its_speech_and_a_margin_as_far_as_it_goes() {
    let folder = folder("file\ttext\tsegments\nmore/a.wav\tHello.\t0.25-0.5|0.75-0.9\n");
    let clips = read_clips(folder.path(), SampleRate::TELEPHONE, &mut unasked).unwrap();
    let tight = |ms| clips[0].tight(Duration::from_millis(ms));
    let cut = tight(50);
    assert_eq!((cut.duration().as_millis(), cut.speech[0]), (750, Span::new(800, 4_800)));
    assert_eq!(cut.speech[1], Span::new(8_800, 11_200));
    let whole = tight(500);
    assert_eq!((whole.duration(), whole.speech[0]), (Duration::from_secs(1), Span::new(4_000, 8_000)));
}
