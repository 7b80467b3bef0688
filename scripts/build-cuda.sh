#!/usr/bin/env bash
# Builds target/cuda/release/stenopool, which decodes on NVIDIA GPUs. It needs neither a GPU nor a driver, and the
# program starts on machines without them, too.
#
#   CUDA_ARCHITECTURES="90-real"   what to build for, in CMake's notation, several with ";" between. Left alone: the GPUs
#                                  of this machine, and without any all that are in use, which takes hours on two cores.
#   CUDA_HOME=/usr/local/cuda-13   the toolkit. Left alone: as scripts/cuda-toolkit.sh finds or makes it.
#   GGML_NATIVE=ON                 the part for the CPU only for the processor of this machine. Left alone: for every
#                                  x86-64 processor with AVX2.
#
# Arguments go to `cargo build`.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:$HOME/.cargo/bin"

# Turing to Blackwell. Code for later ones is made out of that for 100, when the program starts there.
readonly ALL="75-real;80-real;86-real;89-real;90-real;100;120-real"

# How many MB of memory one run of the compiler takes.
readonly COMPILER_MB=2500

say() { printf 'build-cuda: %s\n' "$*" >&2; }

# The architectures of the GPUs here, as in "86-real;90-real"; nothing without a driver.
found_here() {
    nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | tr -d '. ' | sort -un |
        sed -n 's/^\([0-9][0-9]*\)$/\1-real/p' | paste -sd ';' -
}

# As many compilers at once as there are cores, and memory for.
jobs() {
    local cores memory
    cores="$(nproc)"
    memory="$(awk '/^MemAvailable/ {print int($2 / 1024)}' /proc/meminfo)"
    local fit=$((memory / COMPILER_MB))
    [ "$fit" -ge 1 ] || fit=1
    echo $((fit < cores ? fit : cores))
}

CUDA_HOME="$(scripts/cuda-toolkit.sh)"
architectures="${CUDA_ARCHITECTURES:-$(found_here || true)}"
architectures="${architectures:-$ALL}"
export CUDA_HOME
export CUDA_PATH="$CUDA_HOME" CUDAToolkit_ROOT="$CUDA_HOME" CUDACXX="$CUDA_HOME/bin/nvcc"
export CMAKE_CUDA_ARCHITECTURES="$architectures" GGML_NATIVE="${GGML_NATIVE:-OFF}"
CARGO_BUILD_JOBS="${CARGO_BUILD_JOBS:-$(jobs)}"
export CARGO_BUILD_JOBS

say "CUDA $("$CUDACXX" --version | sed -n 's/^.*release \([0-9.]*\).*$/\1/p') in $CUDA_HOME, for $architectures, $CARGO_BUILD_JOBS compilers at once"

# Cargo does not know that whisper.cpp depends on these.
readonly STAMP=target/cuda/.settings
settings="$CUDA_HOME $architectures $GGML_NATIVE"
if [ -e "$STAMP" ] && [ "$(cat "$STAMP")" != "$settings" ]; then
    say "the settings have changed since the last build: whisper.cpp is built anew"
    cargo clean --quiet --release --target-dir target/cuda -p whisper-rs-sys
fi
mkdir -p target/cuda
printf '%s\n' "$settings" >"$STAMP"

# nvcc says nothing for minutes: tell how far it is. The last line of each stage is whisper.cpp's own.
progress() {
    local done_before=-1 found
    while sleep 20; do
        found="$(find target/cuda/release/build -path '*ggml-cuda*' -name '*.cu.o' 2>/dev/null | wc -l)"
        [ "$found" = "$done_before" ] || say "$found CUDA files compiled, $SECONDS s"
        done_before="$found"
    done
}
progress &
trap 'kill %1 2>/dev/null || true' EXIT

cargo build --release --locked --features cuda --target-dir target/cuda "$@"
say "target/cuda/release/stenopool in $SECONDS s: $(stat -c %s target/cuda/release/stenopool | numfmt --to=iec) for $architectures"
