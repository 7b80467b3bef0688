#!/usr/bin/env python3
"""Checks a running server with the unmodified `openai` package (PyPI): every REST format, times, streams, errors.

    pip install openai
    scripts/openai_rest.py http://127.0.0.1:8080/v1 [--key KEY] [--recordings DIR] [--count N]

DIR holds WAV files and `reliable.tsv` (columns `file`, `kind`, `text`): recordings that the demo model gets right to
the letter. One line per check; exit code 1 when one failed.
"""

import argparse
import base64
import csv
import json
import pathlib
import re
import sys

import openai

RECORDINGS = pathlib.Path(__file__).resolve().parents[1] / "tests" / "recordings" / "eval"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("base_url", help="for instance http://127.0.0.1:8080/v1")
parser.add_argument("--key", default="none", help="API key, when the server asks for one")
parser.add_argument("--model", default="whisper-1")
parser.add_argument("--recordings", type=pathlib.Path, default=RECORDINGS)
parser.add_argument("--count", type=int, default=6, help="how many recordings are compared to the letter")
args = parser.parse_args()

client = openai.OpenAI(base_url=args.base_url, api_key=args.key, max_retries=0)
checks = []


def check(function):
    """Registers a check; its first docstring line is what is printed."""
    checks.append(function)
    return function


def reliable():
    """Some recordings of each kind, with their texts."""
    with open(args.recordings / "reliable.tsv", newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    step = max(1, len(rows) // args.count)
    return [(args.recordings / row["file"], row["text"]) for row in rows[::step]][: args.count]


PATH, TEXT = reliable()[0]


def transcribe(path=PATH, **options):
    """One transcription."""
    with open(path, "rb") as file:
        return client.audio.transcriptions.create(file=file, model=args.model, **options)


def same(got, expected):
    assert got == expected, f"expected {expected!r}, got {got!r}"


def refused(kind, code, **options):
    """Runs a transcription that must fail with this class of error and this code."""
    try:
        got = transcribe(**options)
    except kind as error:
        same(error.code, code)
        assert error.body["message"] and error.body["type"], error.body
        assert error.response.headers["x-request-id"], "no request id"
        return error
    raise AssertionError(f"expected {kind.__name__}, got {got!r}")


@check
def texts_are_right():
    """json: the text of reliable recordings, to the letter"""
    for path, text in reliable():
        answer = transcribe(path)
        assert answer.text == text, f"{path.name}: expected {text!r}, got {answer.text!r}"
        same(answer.usage.type, "duration")
        assert answer.usage.seconds > 0, answer.usage


@check
def logprobs_add_up_to_the_text():
    """json: the log probability of every token, when asked for"""
    answer = transcribe(include=["logprobs"])
    same("".join(token.token for token in answer.logprobs).strip(), answer.text)
    assert all(token.logprob <= 0 for token in answer.logprobs), answer.logprobs


@check
def text_is_bare():
    """text: the bare text"""
    same(transcribe(response_format="text"), TEXT + "\n")


@check
def srt_has_cues():
    """srt: numbered cues with times"""
    srt = transcribe(response_format="srt")
    time = r"\d\d:\d\d:\d\d,\d\d\d"
    assert re.match(rf"1\n{time} --> {time}\n.+\n\n", srt), srt


@check
def vtt_has_cues():
    """vtt: a header, and cues with times"""
    vtt = transcribe(response_format="vtt")
    time = r"\d\d:\d\d:\d\d\.\d\d\d"
    assert re.match(rf"WEBVTT\n\n{time} --> {time}\n.+\n\n", vtt), vtt


@check
def verbose_json_has_segments():
    """verbose_json: language, duration, segments in order and within the recording"""
    answer = transcribe(response_format="verbose_json")
    same((answer.text, answer.language, answer.words), (TEXT, "english", None))
    same(" ".join(segment.text for segment in answer.segments), TEXT)
    last = 0.0
    for segment in answer.segments:
        assert last <= segment.start < segment.end <= float(answer.duration) + 0.1, segment
        assert segment.tokens and segment.avg_logprob <= 0 < segment.compression_ratio, segment
        assert 0 <= segment.no_speech_prob <= 1, segment
        last = segment.start


@check
def words_have_times():
    """verbose_json: word timestamps, with segments and without"""
    answer = transcribe(response_format="verbose_json", timestamp_granularities=["word"])
    same([word.word for word in answer.words], TEXT.split())
    starts = [word.start for word in answer.words]
    same(starts, sorted(starts))
    assert all(word.start <= word.end <= float(answer.duration) + 0.1 for word in answer.words), answer.words
    assert answer.segments is None, "segments were not asked for"
    both = transcribe(response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert both.words and both.segments, both


@check
def streams_tell_deltas():
    """stream: deltas that add up to the text, and one done with usage"""
    for path, text in reliable():
        events = list(transcribe(path, stream=True, response_format="json"))
        *deltas, done = events
        same({event.type for event in deltas}, {"transcript.text.delta"} if text else set())
        same((done.type, done.text), ("transcript.text.done", text))
        same("".join(event.delta for event in deltas), text)
        assert done.usage.seconds > 0, done


@check
def options_are_taken():
    """language, prompt, temperature and chunking_strategy are taken"""
    vad = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
    for strategy in ["auto", vad]:
        answer = transcribe(language="en", temperature=0, chunking_strategy=strategy)
        same(answer.text, TEXT)
    assert transcribe(prompt="Commands.", language="en").text, "a prompt silences it"


@check
def translations_are_english():
    """translations: English stays English"""
    with open(PATH, "rb") as file:
        answer = client.audio.translations.create(file=file, model=args.model)
    same(answer.text, TEXT)


@check
def models_are_listed():
    """models: the list has the alias, and each can be fetched"""
    names = [model.id for model in client.models.list()]
    assert args.model in names, names
    model = client.models.retrieve(args.model)
    same((model.id, model.object, model.owned_by), (args.model, "model", "stenopool"))


@check
def bad_values_are_bad_requests():
    """errors: BadRequestError with the field at fault"""
    same(refused(openai.BadRequestError, "invalid_value", temperature=3).param, "temperature")
    same(refused(openai.BadRequestError, "invalid_value", language="xx").param, "language")
    words = {"timestamp_granularities": ["word"], "response_format": "json"}
    same(refused(openai.BadRequestError, "unsupported_value", **words).param, "timestamp_granularities")
    logprobs = {"include": ["logprobs"], "response_format": "text"}
    same(refused(openai.BadRequestError, "unsupported_value", **logprobs).param, "include")


@check
def what_is_not_audio_is_a_bad_request():
    """errors: BadRequestError for an empty file and for one that is not audio"""
    for content, code in [(b"", "audio_empty"), (b"not audio" * 100, "audio_format_unknown")]:
        try:
            client.audio.transcriptions.create(file=("a.wav", content), model=args.model)
        except openai.BadRequestError as error:
            same((error.code, error.param), (code, "file"))
        else:
            raise AssertionError(f"{code} was not noticed")


@check
def unknown_models_are_not_found():
    """errors: NotFoundError for an unknown model, with the known ones"""
    try:
        with open(PATH, "rb") as file:
            client.audio.transcriptions.create(file=file, model="whisper-9")
    except openai.NotFoundError as error:
        same((error.code, error.param), ("model_not_found", "model"))
        assert args.model in error.body["message"], error.body
    else:
        raise AssertionError("an unknown model was taken")


@check
def streams_are_refused_like_documents():
    """errors: a stream that cannot begin is refused with a status"""
    error = refused(openai.BadRequestError, "invalid_value", stream=True, language="xx")
    same(error.status_code, 400)


def speak(**options):
    """Says something."""
    wanted = {"model": "tts-1", "voice": "alloy", "input": "Hello there. This is a test of the voice."} | options
    return client.audio.speech.create(**wanted)


def has_voice():
    """Whether the server speaks at all: one without a voice says so with a status of its own."""
    try:
        speak(response_format="pcm", input="Hello.")
    except openai.APIStatusError as error:
        if error.status_code == 501:
            return False
        raise
    return True


if has_voice():

    @check
    def speech_has_every_format():
        """speech: every format that there is an encoder for, mp3 unless another is asked for"""
        begins = {"wav": b"RIFF", "flac": b"fLaC", "opus": b"OggS", "mp3": b"\xff"}
        for name, magic in begins.items():
            content = speak(response_format=name).content
            assert content.startswith(magic) and len(content) > 3_000, f"{name}: {content[:8]!r}"
        assert speak().content.startswith(b"\xff")
        try:
            speak(response_format="aac")
        except openai.BadRequestError as error:
            same((error.code, error.param), ("unsupported_value", "response_format"))
        else:
            raise AssertionError("aac was taken")

    @check
    def speech_has_voice_and_speed():
        """speech: a voice by name or id, and a speed that is heard"""
        length = {speed: len(speak(response_format="pcm", speed=speed).content) for speed in (0.5, 1.0, 2.0)}
        assert length[2.0] * 1.4 < length[1.0] < length[0.5] / 1.4, length
        alloy, onyx = (speak(response_format="pcm", voice=voice).content for voice in ("alloy", "onyx"))
        assert alloy != onyx, "two voices sound the same"
        try:
            speak(voice="nobody")
        except openai.BadRequestError as error:
            same((error.code, error.param), ("voice_unknown", "voice"))
        else:
            raise AssertionError("a voice was taken that is not there")

    @check
    def speech_streams():
        """speech: a stream of bytes, and a stream of events"""
        wanted = {"model": "tts-1", "voice": "alloy", "input": "One sentence. And one more.", "response_format": "pcm"}
        with client.audio.speech.with_streaming_response.create(**wanted) as answer:
            whole = b"".join(answer.iter_bytes())
        with client.audio.speech.with_streaming_response.create(**wanted, stream_format="sse") as answer:
            events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
        same([event["type"] for event in events[-1:]], ["speech.audio.done"])
        deltas = [base64.b64decode(event["audio"]) for event in events[:-1]]
        same({event["type"] for event in events[:-1]}, {"speech.audio.delta"})
        same(len(b"".join(deltas)), len(whole))


failed = 0
for function in checks:
    try:
        function()
        print(f"ok      {function.__doc__}")
    except Exception as error:  # One failed check must not hide the others.
        failed += 1
        print(f"FAILED  {function.__doc__}: {type(error).__name__}: {error}")
print(f"{len(checks) - failed} of {len(checks)} checks passed ({args.base_url}, openai {openai.__version__})")
sys.exit(1 if failed else 0)
