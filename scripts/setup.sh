#!/usr/bin/env bash
# Installs what a build and a first run need, and only what is missing. Says so when it cannot.
#
#   scripts/setup.sh                 all of it
#   scripts/setup.sh python          also pip, which is otherwise only needed to fetch the runtime files
#   scripts/setup.sh cuda-runtime    ONNX Runtime with its part for CUDA, for voices and the voice detector on a GPU (256 MB)
#
# Tools come from apt on Debian and Ubuntu. ONNX Runtime and Silero VAD are taken out of their pinned PyPI wheels;
# the checksums below are of the files in them, so a second call knows in a tenth of a second that all is well.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:$HOME/.cargo/bin"

say() { printf 'setup: %s\n' "$*"; }

die() {
    printf 'setup: error: %s\n' "$1" >&2
    shift
    printf 'setup: hint: %s\n' "$@" >&2
    exit 1
}

readonly SILERO_SHA256=1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3
# Of ONNX Runtime for CUDA 13: the library, and the two that it loads for a GPU.
readonly CUDA_RUNTIME_SHA256=5104254339ecadae808da771bd0b63b240f0dbd466514234905e54372435c303
readonly CUDA_SHARED_SHA256=086ec1d5388f64153d9c63470d126693db9a182c8ce236d3a1119068471b8a0d
readonly CUDA_PART_SHA256=d5290158115fa5569a3fe8f1f4037ee9b0e86658a96e52f852bbb7039aa88137
case "$(uname -s)-$(uname -m)" in
    Linux-x86_64)
        readonly PLATFORM=manylinux_2_28_x86_64
        readonly RUNTIME_SHA256=fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3 ;;
    Linux-aarch64)
        readonly PLATFORM=manylinux_2_28_aarch64
        readonly RUNTIME_SHA256=8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467 ;;
    *)
        die "no pinned ONNX Runtime for $(uname -s) on $(uname -m)" \
            "Stenopool runs on Linux, on x86-64 and aarch64" ;;
esac

have() { command -v "$1" >/dev/null 2>&1; }

# Rust is the one thing that is not installed here: where it comes from and which one it is are the user's choice.
check_rust() {
    local needed found
    needed="$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)"
    have rustc || die "Rust is missing" "install $needed or later with rustup: https://rustup.rs, then run this again"
    found="$(rustc --version | cut -d ' ' -f 2)"
    printf '%s\n' "$needed" "$found" | sort --check=quiet --version-sort ||
        die "Rust $found is too old: $needed or later is needed" \
            "with rustup: rustup update; Debian's own packages are older, get rustup from https://rustup.rs"
}

# The runtime files are there and are what was pinned: those for the processor, or those with the part for CUDA, which do all
# that the others do.
runtime_is_right() {
    [ -f models/licenses/onnxruntime/LICENSE ] && [ -f models/licenses/silero-vad/LICENSE ] &&
        { sums_are_right "$RUNTIME_SHA256  models/libonnxruntime.so" || cuda_runtime_is_right; } &&
        sums_are_right "$SILERO_SHA256  models/silero_vad.onnx"
}

cuda_runtime_is_right() {
    sums_are_right "$CUDA_RUNTIME_SHA256  models/libonnxruntime.so" &&
        sums_are_right "$CUDA_SHARED_SHA256  models/libonnxruntime_providers_shared.so" &&
        sums_are_right "$CUDA_PART_SHA256  models/libonnxruntime_providers_cuda.so"
}

sums_are_right() { printf '%s\n' "$1" | sha256sum --status --check 2>/dev/null; }

pip_works() { have python3 && python3 -m pip --version >/dev/null 2>&1; }

# The Debian packages that would bring what is missing.
missing_packages() {
    have make || echo make
    have cmake || echo cmake
    have cc || echo gcc
    have c++ || echo g++
    # The C compiler without the headers of the C library is no use to anyone.
    # The voice of conversations where nothing better is installed; elsewhere than on Debian nobody is made to have it.
    have espeak-ng || ! have apt-get || echo espeak-ng
    [ -e /usr/include/stdlib.h ] || ! have apt-get || echo libc6-dev
    if ! runtime_is_right || [ "${1-}" = python ] || { [ "${1-}" = cuda-runtime ] && ! cuda_runtime_is_right; }; then
        pip_works || echo python3-pip
        [ -e /etc/ssl/certs/ca-certificates.crt ] || ! have apt-get || echo ca-certificates
    fi
}

install_packages() {
    if ! have apt-get; then
        die "missing here: $*" \
            "this script installs packages on Debian and Ubuntu only" \
            "install these yourself: cmake, make, a C and a C++ compiler, python3 with pip; then run it again"
    fi
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || die "these packages are missing, and there is no sudo: $*" \
            "as root: apt-get update && apt-get install -y $*"
        say "sudo may ask for your password, to install packages"
        sudo true || die "these packages are missing, and sudo does not let you in: $*" \
            "as root: apt-get update && apt-get install -y $*"
        as_root=(sudo)
    fi
    say "installing $*"
    "${as_root[@]}" apt-get update -qq ||
        say "apt-get update failed; going on with the package lists that are here"
    # A machine that has just started may still be installing its updates: wait for them.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes \
        apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" >/dev/null ||
        die "apt-get could not install: $*" "run it by hand to see why: apt-get install $*"
}

# Unpacks the few files that are needed out of the wheels in $1, into $1/out.
unpack() {
    python3 - "$1" <<'PYTHON'
import glob, os, shutil, sys, zipfile

WANTED = {
    "onnxruntime/capi/libonnxruntime.so.1.31.1": "libonnxruntime.so",
    "onnxruntime/capi/libonnxruntime_providers_shared.so": "libonnxruntime_providers_shared.so",
    "onnxruntime/capi/libonnxruntime_providers_cuda.so": "libonnxruntime_providers_cuda.so",
    "onnxruntime/LICENSE": "licenses/onnxruntime/LICENSE",
    "onnxruntime/ThirdPartyNotices.txt": "licenses/onnxruntime/ThirdPartyNotices.txt",
    "silero_vad/data/silero_vad.onnx": "silero_vad.onnx",
    "silero_vad-6.2.3.dist-info/licenses/LICENSE": "licenses/silero-vad/LICENSE",
}
for wheel in glob.glob(os.path.join(sys.argv[1], "*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in WANTED.keys() & set(archive.namelist()):
            target = os.path.join(sys.argv[1], "out", WANTED[name])
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with archive.open(name) as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink)
PYTHON
}

# Takes the wheels that are listed in $1, and told as $2.
fetch_runtime() {
    say "fetching $2 and Silero VAD 6.2.3 from PyPI"
    mkdir -p models
    # Beside its destination, so that the last step is a rename and an interrupted setup leaves nothing half done.
    work="$(mktemp -d models/.setup.XXXXXX)"
    trap 'rm -rf "$work"' EXIT
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --python-version 3.11 --implementation cp --platform "$PLATFORM" \
        --require-hashes --requirement "$1" --dest "$work" ||
        die "pip could not download the wheels" \
            "behind a proxy, set HTTPS_PROXY; with a mirror, set PIP_INDEX_URL"
    unpack "$work"
    mkdir -p models/licenses
    rm -rf models/licenses/onnxruntime models/licenses/silero-vad
    mv "$work"/out/licenses/* models/licenses/
    rmdir "$work/out/licenses"
    # The parts of one version do not work with the library of another.
    rm -f models/libonnxruntime_providers_*.so
    mv -f "$work/out/"* models/
    runtime_is_right || die "the unpacked files are not the pinned ones" "remove models/*.so and models/*.onnx, then try again"
    say "installed ONNX Runtime and Silero in models/"
}

check_rust
mapfile -t packages < <(missing_packages "$@")
[ "${#packages[@]}" -eq 0 ] || install_packages "${packages[@]}"
if [ "${1-}" = cuda-runtime ]; then
    [ "$(uname -m)" = x86_64 ] || die "no pinned ONNX Runtime with CUDA for $(uname -m)" "voices and the detector run on the CPU"
    cuda_runtime_is_right || fetch_runtime scripts/cuda-runtime-requirements.txt "ONNX Runtime 1.31.1 for CUDA 13 (256 MB)"
    say "ONNX Runtime has its part for CUDA; it needs CUDA 13's libraries and cuDNN 9 where the loader finds them"
else
    runtime_is_right || fetch_runtime scripts/runtime-requirements.txt "ONNX Runtime 1.31.1 (32 MB)"
fi
