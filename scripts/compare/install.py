"""Puts the rivals into a folder: a virtual environment for each package, the demo weights in the layouts they want."""
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rivals import PACKAGES

# Asked of a package's own Python: are these there, in these versions? (Names that are normalised, `name==version` or `name`.)
ASK = """
import sys
from importlib.metadata import version
for need in sys.argv[1:]:
    name, _, wanted = need.partition("==")
    if wanted and version(name) != wanted or not version(name):
        sys.exit(1)
"""
FFMPEG = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"


class CannotInstall(Exception):
    """What failed, shortened for a table."""


@dataclass(frozen=True)
class Place:
    """Where everything is."""

    folder: Path
    weights: Path
    binary: Path
    models: Path

    def python(self, package):
        return self.folder / package / "bin" / "python"

    # Their names end in `.en`, from which some servers conclude that the model is for English only.
    @property
    def ct2(self):
        return self.folder / "weights" / "demo-ct2.en"

    @property
    def hf(self):
        return self.folder / "weights" / "demo-hf.en"


def install(place, say=print):
    """Installs what is missing; returns why what failed failed, by the folder of its package."""
    failed = {}
    for package in PACKAGES:
        try:
            install_package(place, package, say)
        except CannotInstall as error:
            failed[package.folder] = str(error)
            say(f"{package.folder}: {error}")
    link_ffmpeg(place, say)
    prepare_weights(place, say)
    return failed


def missing(place):
    """What stands in the way of each package, by its folder; without installing anything."""
    return {p.folder: "not installed (compare.py install)" for p in PACKAGES if not is_installed(place, p)}


def is_installed(place, package):
    python = place.python(package.folder)
    needs = [*package.needs, *package.alone]
    return python.exists() and subprocess.run([python, "-c", ASK, *needs], capture_output=True).returncode == 0


def install_package(place, package, say):
    if is_installed(place, package):
        say(f"{package.folder}: is there")
        return
    say(f"{package.folder}: installing ({package.size})")
    python = place.python(package.folder)
    if not python.exists():
        checked([sys.executable, "-m", "venv", place.folder / package.folder], "no virtual environment")
    if package.needs:
        checked([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *package.needs], "pip install")
    if package.alone:
        checked([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", *package.alone], "pip install --no-deps")
    if package.borrows:
        borrow(place, package)


def borrow(place, package):
    """Lets a package import what another environment has, after what it has itself."""
    find = "import sysconfig; print(sysconfig.get_path('purelib'))"
    mine, theirs = (checked([place.python(name), "-c", find], "no Python").strip() for name in (package.folder, package.borrows))
    Path(mine, "zz-borrowed.pth").write_text(theirs + "\n")


def link_ffmpeg(place, say):
    """One rival calls `ffmpeg`. Where the system has none, a PyPI package brings it."""
    ffmpeg = place.folder / "bin" / "ffmpeg"
    if shutil.which("ffmpeg") or ffmpeg.exists():
        return
    try:
        found = checked([place.python("whisperlivekit"), "-c", FFMPEG], "no ffmpeg").strip()
    except (CannotInstall, OSError):
        say("ffmpeg: none; WhisperLiveKit's REST endpoint will fail")
        return
    ffmpeg.parent.mkdir(parents=True, exist_ok=True)
    link(ffmpeg, Path(found))


def prepare_weights(place, say):
    """Links the weights under names that say `.en`, converts them for CTranslate2 where that was not done, writes settings."""
    if not (place.weights / "hf" / "model.safetensors").exists():
        raise SystemExit(f"error: {place.weights}/hf has no model.safetensors\n"
                         "hint: --weights takes a folder with the demo model in Hugging Face layout (hf/) and, if there, for "
                         "CTranslate2 (ct2/). The ggml file of this repository is not enough: the rivals want the tokenizer's "
                         "merges, which ggml leaves out; scripts/demo-model/export.py writes hf/ from a training run.")
    place.ct2.parent.mkdir(parents=True, exist_ok=True)
    link(place.hf, place.weights / "hf")
    if (place.weights / "ct2" / "model.bin").exists():
        link(place.ct2, place.weights / "ct2")
    elif not (place.ct2 / "model.bin").exists():
        convert(place, say)
    settings = {"model_options": {"device": "cpu", "compute_type": "int8", "cpu_threads": 1},
                "models": [{"name": "whisper-1", "path": str(place.ct2), "transcribe_options": {"beam_size": 1, "language": "en"}}]}
    # JSON is YAML.
    (place.folder / "faster-whisper-server.yaml").write_text(json.dumps(settings, indent=1) + "\n")


def link(name, target):
    if name.is_symlink():
        name.unlink()
    name.symlink_to(target.resolve())


def convert(place, say):
    """With CTranslate2's own converter, in an environment that is thrown away."""
    say("weights: converting for CTranslate2")
    tools = place.folder / "converter"
    checked([sys.executable, "-m", "venv", tools], "no virtual environment")
    checked([tools / "bin/python", "-m", "pip", "install", "-q", "ctranslate2", "transformers", "safetensors", "torch"], "pip install")
    checked([tools / "bin/ct2-transformers-converter", "--model", place.hf, "--output_dir", place.ct2, "--quantization", "float16",
             "--copy_files", "tokenizer.json", "preprocessor_config.json"], "conversion")
    shutil.rmtree(tools)


def checked(command, what):
    """The output of a command that has to succeed."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        told = next((line for line in lines if line.startswith("ERROR")), lines[-1])
        raise CannotInstall(f"{what}: {told[:200]}")
    return done.stdout
