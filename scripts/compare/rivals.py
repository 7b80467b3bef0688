"""Who is compared: how each is installed and started, with which options, and what is to know about its figures.

Every option was chosen so that the server does as well as it can at this task with what it documents: people who say short
sentences with pauses between them, in English, on one core. What is said here was seen on the versions named here.
"""
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from servers import answers_http, answers_tcp

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Package:
    """A virtual environment of its own: `needs` with their dependencies, then `alone` without theirs."""

    folder: str
    needs: tuple = ()
    alone: tuple = ()
    # Whose packages it may import besides its own: torch is 6 GB and need not be there twice.
    borrows: str = ""
    left_out: str = ""
    size: str = "0.5 GB"


WHISPERLIVEKIT = Package("whisperlivekit", needs=("whisperlivekit==0.2.26", "safetensors==0.8.0", "imageio-ffmpeg==0.8.1"), size="6.4 GB, most of it torch")
WHISPER_LIVE = Package(
    "whisper-live",
    # Its own pins of what its faster_whisper server on a CPU imports. torch comes from whisperlivekit's environment: it
    # is only asked whether there is a GPU.
    needs=("faster-whisper==1.2.0", "tokenizers==0.20.3", "websockets", "fastapi", "uvicorn", "python-multipart"),
    alone=("whisper-live==0.10.0",),
    borrows="whisperlivekit",
    left_out="openvino, openvino-genai, openvino-tokenizers, optimum, optimum-intel, openai-whisper, librosa, numba, "
             "kaldialign, PyAudio, websocket-client, soundfile, scipy, nvidia-*: other backends and the client",
)
FASTER_WHISPER_SERVER = Package("faster-whisper-server", needs=("faster-whisper-server==0.0.3",))
PACKAGES = (WHISPERLIVEKIT, WHISPER_LIVE, FASTER_WHISPER_SERVER)


@dataclass(frozen=True)
class Rival:
    """A server in one mode, and the protocol in which it is spoken to."""

    key: str
    name: str
    protocol: str
    # From where everything is and the ports (by name) to the command line.
    start: Callable[..., list]
    scheme: str
    # Where the load test is sent, and what says 200 when the server is ready (empty: a TCP port is enough).
    path: str = ""
    health: str = ""
    port: str = "port"
    package: Package | None = None
    # For estimates alone: how long it takes to start, and up to how many people it is likely to be worth trying.
    starts_seconds: int = 12
    reaches: int = 2
    # 2 is the first to be left out when time is short, 0 never is.
    spare: int = 0
    notes: tuple = ()

    def command(self, place, ports):
        return self.start(place, ports)

    def url(self, ports):
        return f"{self.scheme}://127.0.0.1:{ports[self.port]}{self.path}"

    def ready(self, ports):
        port = ports[self.port]
        return answers_http(f"http://127.0.0.1:{port}{self.health}") if self.health else answers_tcp(port)


def stenopool(window):
    def start(place, ports):
        return [place.binary, "--log", "warn", "serve", "--bind", f"127.0.0.1:{ports['port']}", "--model", "demo", "--window", window,
                "--models-dir", place.models]
    return start


def whisper_live(*flags):
    def start(place, ports):
        return [place.python("whisper-live"), HERE / "whisper_live_server.py", ports["port"], place.ct2, *flags]
    return start


def whisper_live_rest(place, ports):
    return whisper_live("--rest-port", ports["rest_port"])(place, ports)


def whisperlivekit(place, ports):
    return [place.python("whisperlivekit").parent / "wlk", "--host", "127.0.0.1", "--port", ports["port"], "--backend", "faster-whisper",
            "--model", "tiny.en", "--decoder-model-path", place.hf, "--encoder-model-path", place.ct2, "--lan", "en",
            "--pcm-input", "--warmup-file", "", "--log-level", "WARNING"]


def faster_whisper_server(place, ports):
    return [place.python("faster-whisper-server").parent / "faster-whisper-server", "--config", place.folder / "faster-whisper-server.yaml",
            "--host", "127.0.0.1", "--port", ports["port"]]


FULL_WINDOW = "The encoder looks at 30 s, however short the utterance is."
REST_TURN = "Gets each recording whole when it is over, so its latency holds no wait for the end of speech (Stenopool's is 0.5 s of silence)."
WL_FINALS = (
    "Transcribes all audio since the last complete segment again and again, one client after the other under one lock, with 5 "
    "beams and int8. A segment is `completed` when its text came out equal `same_output_threshold` + 1 times more, or when "
    "another follows it in the same window. There is no end of speech in its protocol, and END_OF_AUDIO flushes nothing.")
WL_REPEATS = (
    "A sentence equal to the one before it is dropped by its server when it would be completed for repeating itself: the load test "
    "counts it as lost.")

RIVALS = (
    Rival("stenopool-fit", "Stenopool, fit", "realtime", stenopool("fit"), "http", health="/readyz",
          starts_seconds=4, reaches=64,
          notes=("The encoder looks at the utterance alone, as the demo model was trained to. End of speech after 0.5 s of silence.",)),
    Rival("stenopool-full", "Stenopool, full", "realtime", stenopool("full"), "http", health="/readyz",
          starts_seconds=4, reaches=16,
          notes=(FULL_WINDOW,)),
    Rival("stenopool-fit-rest", "Stenopool, fit, REST", "rest", stenopool("fit"), "http", health="/readyz",
          starts_seconds=4, reaches=64, spare=2,
          notes=(REST_TURN,)),
    Rival("stenopool-full-rest", "Stenopool, full, REST", "rest", stenopool("full"), "http", health="/readyz",
          starts_seconds=4, reaches=16, spare=2,
          notes=(REST_TURN, FULL_WINDOW)),
    Rival("whisper-live", "WhisperLive 0.10.0", "whisperlive", whisper_live(), "ws", package=WHISPER_LIVE,
          reaches=2, spare=1,
          notes=("Single-model mode with a custom model, and what a client gets that asks for nothing: threshold 10.",
                 WL_FINALS, WL_REPEATS)),
    Rival("whisper-live-soon", "WhisperLive 0.10.0, threshold 1", "whisperlive", whisper_live("--repeats", "1"), "ws",
          package=WHISPER_LIVE,
          reaches=4,
          notes=("Single-model mode with a custom model and `same_output_threshold` 1, which a client may ask for: three equal readings "
                 "make a final. (A client that asks for nothing gets 10, which is twelve.) Half-said sentences become finals when "
                 "somebody hesitates.", WL_FINALS, WL_REPEATS)),
    Rival("whisper-live-rest", "WhisperLive 0.10.0, REST", "rest", whisper_live_rest, "http", health="/health", port="rest_port",
          package=WHISPER_LIVE,
          reaches=16, spare=2,
          notes=(REST_TURN, FULL_WINDOW, "int8, 5 beams; decodes on its event loop, one request at a time.")),
    Rival("whisperlivekit", "WhisperLiveKit 0.2.26", "deepgram", whisperlivekit, "ws", path="/v1/listen", health="/health",
          package=WHISPERLIVEKIT,
          reaches=2,
          notes=("Its Deepgram endpoint with its default policy (SimulStreaming/AlignAtt): torch decoder, faster-whisper encoder, greedy.",
                 "The folder of the weights has to end in `.en`, or it takes a multilingual tokenizer and writes gibberish; "
                 "`safetensors` is not among its dependencies. LocalAgreement, its other policy, did worse here.",
                 "It sends words as finals while they are said (`is_final` with `start` and `duration`) and the last of a turn "
                 "with `speech_final`. It keeps audio and text across pauses of less than 5 s (a constant), and the demo model was "
                 "never trained to go on from several sentences: after such pauses its texts suffer, and part of that is the model's doing.")),
    Rival("whisperlivekit-rest", "WhisperLiveKit 0.2.26, REST", "rest", whisperlivekit, "http", health="/health",
          package=WHISPERLIVEKIT,
          reaches=2, spare=2,
          notes=(REST_TURN, "Runs the recording through the same streaming policy in pieces of a second. Needs ffmpeg for every request.")),
    Rival("faster-whisper-server", "faster-whisper-server 0.0.3", "rest", faster_whisper_server, "http", health="/health",
          package=FASTER_WHISPER_SERVER,
          starts_seconds=4, reaches=16,
          notes=(REST_TURN, FULL_WINDOW,
                 "The PyPI package of that name: a thin FastAPI server around faster-whisper by another author than the one "
                 "that is now speaches. int8 and 1 beam by its configuration file; decodes on its event loop, one request at a time.")),
)

# Who does not run here, and why. Looked up in PyPI, and read, when the versions above were.
ABSENT = (
    ("speech-to-speech 1.1.0", "has no transcription alone: its Realtime server wants a language model and a voice beside the "
                               "recognizer, and its Silero VAD is fetched from a code host when it starts (torch.hub)"),
    ("RealtimeSTT 1.1.2", "its server speaks a protocol of its own, which the load test does not"),
    ("RealtimeVoiceChat", "not on PyPI"),
    ("speaches", "not on PyPI (images and source only)"),
    ("Kyutai moshi-server", "not on PyPI (a Rust crate that wants CUDA); moshi 0.2.13, its Python server, wants Kyutai's own weights from a hub"),
    ("vLLM 0.33.0", "its wheel is built for CUDA, and its Whisper model is none of those that /v1/realtime takes"),
)
