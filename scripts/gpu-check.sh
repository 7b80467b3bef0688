#!/usr/bin/env bash
# Checks everything on a machine with a GPU that can only be checked there: memory, slots, speed, aborts, word error.
#
#   scripts/gpu-check.sh pack [BINARY]     on the machine that builds: makes target/stenopool-gpu-check.tar.xz, below 60 MiB
#   scripts/gpu-check.sh run [OPTIONS]     on the machine with the GPU, in the unpacked package or in a checkout
#
#   --device auto|cpu|cuda:N   where to decode [default: auto]; the CPU goes the same way
#   --budget SECONDS           when nothing new is begun any more [default: 520]
#   --shapes "NAME:TYPE …"     which shapes, in this order; one with +fill behind it opens as many slots as fit on a GPU
#   --max-slots N              slots at most [default: 16, on the CPU no more than two for each core]
#   --seconds S                for how long each number of slots is busy [default: 3]
#   --out FOLDER               where the figures go [default: bench]
#   --binary FILE              [default: bin/stenopool, target/cuda/release/stenopool or target/release/stenopool]
#
# `run` needs bash, coreutils and what the binary needs: an NVIDIA driver and CUDA's libraries, which are looked for. The
# shapes of real models, filled with random numbers, need Python (any since 3.9): without it only the demo model is measured.
# It prints a table and writes bench/gpu-NAME.json. What fails is told, and the rest goes on; the exit status is 1 then.
set -uo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
cd "$root" || exit 1

readonly NAME=stenopool-gpu-check
readonly MOST_BYTES=$((60 * 1024 * 1024))
readonly RECORDINGS=tests/recordings/eval
# A decode of random weights never ends by itself.
readonly TOKENS=32
# What is begun later than so many seconds before the end of the budget would not be done in time.
readonly SHORTEST=15
# What takes longer hangs, or is of no use here; the rest is to have its turn.
readonly LONGEST=180
# Hundreds of slots are opened one after the other, and then decode a few times.
readonly LONGEST_FILL=480

# The most telling ones first: the budget may not be enough for all.
readonly SHAPES="large-v3-turbo:q5_0 large-v3:f16 small:f16 large-v3-turbo:f16 tiny:f16 base:f16 medium:f16 large-v3:q5_0 small:q8_0 medium:q5_0 base:q8_0 tiny:q8_0 large-v3:f16+fill"

say() { printf 'gpu-check: %s\n' "$*" >&2; }

die() {
    printf 'gpu-check: error: %s\n' "$1" >&2
    shift
    printf 'gpu-check: hint: %s\n' "$@" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# ---- pack ----------------------------------------------------------------------------------------------------------

# Copies what `run` needs into the folder $1, under the same names as in a checkout, and the binary $2.
collect() {
    local to=$1 binary=$2 script
    mkdir -p "$to/bin" "$to/scripts" "$to/models" "$to/$RECORDINGS" "$to/bench" || return
    # Symbols are of no use on the other machine, and half of the file.
    strip --strip-all -o "$to/bin/stenopool" "$binary" || return
    cp models/libonnxruntime.so models/silero_vad.onnx "$to/models/" || return
    cp -r models/licenses "$to/models/" || return
    cp "$RECORDINGS"/*.wav "$RECORDINGS"/*.tsv "$to/$RECORDINGS/" || return
    cp scripts/gpu-check.sh "$to/scripts/" || return
    # What a script imports lies beside it.
    for script in whisper_shapes.py full_kokoro.py filling.py onnx_file.py; do
        [ ! -e "scripts/$script" ] || cp "scripts/$script" "$to/scripts/" || return
    done
    cp LICENSE-APACHE LICENSE-MIT models/demo/LICENSE* "$to/" 2>/dev/null || true
}

pack() {
    local binary="${1:-target/cuda/release/stenopool}" out="target/$NAME.tar.xz" size
    [ -x "$binary" ] || die "there is no binary $binary" "build it with: make build-cuda, or name another: scripts/gpu-check.sh pack target/release/stenopool"
    [ -e models/libonnxruntime.so ] || die "models/libonnxruntime.so is missing" "run: make setup"
    [ -e scripts/whisper_shapes.py ] || say "scripts/whisper_shapes.py is not here: only the demo model will be measured"
    work="$(mktemp -d)"
    trap 'rm -rf "$work"' EXIT
    collect "$work/$NAME" "$binary" || die "the package could not be put together" "see above for the file that is missing"
    mkdir -p target
    # The same content is the same package, whenever it is made. All samples stay WAV: xz makes them as small as FLAC would.
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$work" -c "$NAME" | xz -9 -T0 >"$out" ||
        die "the package could not be written" "it takes some 100 MiB in target/"
    size="$(stat -c %s "$out")"
    say "$out: $size bytes ($((size / 1024 / 1024)) MiB), $(sha256sum "$out" | cut -c 1-16)…"
    du -b --max-depth=1 "$work/$NAME" | sort -rn | sed "s|$work/||; s/^/gpu-check:   /" >&2
    [ "$size" -le "$MOST_BYTES" ] ||
        die "the package has more than 60 MiB" "build for fewer architectures, best for the one of that machine"
    check_package "$out"
}

# Unpacks it elsewhere, and looks whether the binary starts there.
check_package() {
    mkdir "$work/again"
    tar -C "$work/again" -xf "$1" || die "the package cannot be unpacked" "make it again"
    (cd "$work/again/$NAME" && bin/stenopool --version >/dev/null && bin/stenopool bench --table >/dev/null && bash -n scripts/gpu-check.sh) ||
        die "the unpacked package does not work" "try its bin/stenopool --version"
    say "unpacked elsewhere it starts: $("$work/again/$NAME/bin/stenopool" --version)"
}

# ---- run -----------------------------------------------------------------------------------------------------------

device=auto budget=520 shapes=$SHAPES max_slots='' seconds=3 out=bench binary=
# What was measured, what could not be, and what there was no time for.
reports=() failed=() skipped=()

arguments() {
    while [ $# -gt 0 ]; do
        [ $# -ge 2 ] || die "$1 needs a value" "see the head of this script"
        case "$1" in
            --device) device=$2 ;;
            --budget) budget=$2 ;;
            --shapes) shapes=$2 ;;
            --max-slots) max_slots=$2 ;;
            --seconds) seconds=$2 ;;
            --out) out=$2 ;;
            --binary) binary=$2 ;;
            *) die "nobody knows $1" "see the head of this script" ;;
        esac
        shift 2
    done
    [[ $budget =~ ^[0-9]+$ ]] || die "--budget is $budget" "give it whole seconds"
}

find_binary() {
    local candidate
    for candidate in "$binary" bin/stenopool target/cuda/release/stenopool target/release/stenopool; do
        if [ -n "$candidate" ] && [ -x "$candidate" ]; then
            binary="$(cd "$(dirname "$candidate")" && pwd)/$(basename "$candidate")"
            return
        fi
        [ -z "$binary" ] || die "there is no binary $binary" "name one with --binary"
    done
    die "there is no binary" "make build-cuda, or name one with --binary"
}

# Whether the loader finds a library by itself.
loader_has() { [[ "$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null)" == *"$1"* ]]; }

# Where CUDA's libraries may be besides: a toolkit, or the wheels that PyTorch brings.
library_folders() {
    local folder
    for folder in /usr/local/cuda*/lib64 /usr/local/cuda*/targets/*/lib /opt/cuda/lib64 /usr/lib/x86_64-linux-gnu /usr/lib/wsl/lib \
        /usr/local/nvidia/lib64 "$root"/target/cuda-toolkit/nvidia/cu13/lib; do
        printf '%s\n' "$folder"
    done
    python_folders | while read -r folder; do
        printf '%s\n' "$folder"/nvidia/cu13/lib "$folder"/nvidia/*/lib
    done
}

python_folders() {
    ! have python3 || python3 -c 'import sys; print("\n".join(p for p in sys.path if p.endswith("-packages")))' 2>/dev/null
    printf '%s\n' "${VIRTUAL_ENV:-/nowhere}"/lib/python3*/site-packages "${CONDA_PREFIX:-/nowhere}"/lib/python3*/site-packages \
        "${HOME:-/nowhere}"/.local/lib/python3*/site-packages {,.}venv/lib/python3*/site-packages ~/{,.}venv/lib/python3*/site-packages \
        /usr/local/lib/python3*/{site,dist}-packages /opt/*/lib/python3*/site-packages /opt/*/{*,.venv}/lib/python3*/site-packages
}

# Lets the loader find CUDA's libraries, and says where they are. The last ones are for ONNX Runtime's part, where that is here.
find_libraries() {
    local library folder found folders wanted=(libcuda.so.1 libcublas.so.13 libcublasLt.so.13 libcudart.so.13)
    folders="$(library_folders)"
    [ ! -e models/libonnxruntime_providers_cuda.so ] || wanted+=(libcurand.so.10 libcufft.so.12 libcudnn.so.9)
    for library in "${wanted[@]}"; do
        if loader_has "$library"; then
            say "$library: the loader knows it"
            continue
        fi
        found=
        while read -r folder; do
            [ ! -e "$folder/$library" ] || { found=$folder && break; }
        done <<<"$folders"
        if [ -n "$found" ]; then
            say "$library: in $found"
            case ":${LD_LIBRARY_PATH:-}:" in
                *":$found:"*) ;;
                *) export LD_LIBRARY_PATH="$found${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" ;;
            esac
        else
            say "$library: not found"
        fi
    done
}

left() { echo $((budget - SECONDS)); }

fail() {
    say "FAILED $1: $2"
    failed+=("$1: $2")
}

skip() {
    say "left out: $1: $2"
    skipped+=("$1: $2")
}

# Runs the binary's bench with the arguments behind the name $1, and keeps its report. What takes longer than $longest hangs.
measure() {
    local name=$1 report log status reason limit longest=${longest:-$LONGEST}
    shift
    report="$work/${#reports[@]}-${#failed[@]}.json" log="$work/log"
    if [ "$(left)" -lt "$SHORTEST" ]; then
        skip "$name" "the budget of $budget s was used up"
        return
    fi
    say "$name ($(left) s are left)"
    limit=$(($(left) < longest ? $(left) : longest))
    timeout --kill-after=10 "$limit" "$binary" bench --device "$device" --models-dir "$root/models" --json "$report" "$@" >"$work/table" 2>"$log"
    status=$?
    if [ -s "$report" ]; then
        # What did not hold stands in it.
        reports+=("$report")
        cat "$work/table"
        echo
        return
    fi
    tail -n 5 "$log" | sed 's/^/gpu-check:   /' >&2
    if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
        if [ "$limit" -lt "$longest" ]; then
            skip "$name" "it was not done within the budget of $budget s"
        else
            fail "$name" "it was not done after $longest s"
        fi
        return
    fi
    reason="$(grep -m 1 '^error: ' "$log" | cut -c 8-)"
    [ -n "$reason" ] || reason="$(tail -n 1 "$log" | cut -c 1-200)"
    fail "$name" "exit status $status, ${reason:-without a word}"
}

# MiB of a shape's file, about; more than any, for one that nobody knows.
size_of() {
    case "$1" in
        tiny:f16) echo 75 ;; base:f16) echo 142 ;; small:f16) echo 466 ;; medium:f16) echo 1464 ;;
        large-v*-turbo:f16) echo 1550 ;; large-v*-turbo:q8_0) echo 834 ;; large-v*-turbo:*) echo 548 ;;
        large-v*:f16) echo 2952 ;; large-v*:q8_0) echo 1580 ;; large-v*:*) echo 1032 ;;
        medium:q8_0) echo 786 ;; medium:*) echo 515 ;; small:*) echo 253 ;; base:*) echo 78 ;; tiny:*) echo 42 ;;
        *) echo 3000 ;;
    esac
}

# Whether disk and memory have room for a file of $1 MiB and 1 GiB besides; says what is missing.
room() {
    local disk memory
    disk="$(($(df --output=avail -B1 "$work" | tail -n 1) / 1024 / 1024))"
    memory="$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo) / 1024))"
    [ "$disk" -ge $(($1 + 1024)) ] || { echo "$disk MiB are free on the disk of $work, $1 and 1024 are needed" && return 1; }
    [ "$memory" -ge $(($1 + 1024)) ] || { echo "$memory MiB of memory are free, $1 and 1024 are needed" && return 1; }
}

# Whether a GPU decoded, as the reports say.
on_gpu() { grep -q -s '"kind": "cuda"' "${reports[@]:-/nowhere}"; }

# Writes one shape, measures it, and removes it. $1 is as in large-v3:f16, or large-v3:f16+fill.
shape() {
    local spec="${1%+fill}" most=$max_slots each=$seconds longest=$LONGEST ends=() name type file missing
    if [ "$spec" != "$1" ]; then
        # On a CPU hundreds fit, of which two or four are of use.
        on_gpu || { skip "$1" "only on a GPU it matters how many slots fit" && return; }
        most=256 each=0.5 longest=$LONGEST_FILL ends=(--ends)
    fi
    name="${spec%%:*}" type="${spec#*:}"
    if [ "$(left)" -lt $((2 * SHORTEST)) ]; then
        skip "$1" "the budget of $budget s was used up"
        return
    fi
    if ! missing="$(room "$(size_of "$spec")")"; then
        skip "$1" "$missing"
        return
    fi
    # Under the name of the published file the manifest knows what kind of window it has.
    file="$work/ggml-$name$([ "$type" = f16 ] || echo "-$type").bin"
    if ! timeout --kill-after=5 "$(left)" python3 scripts/whisper_shapes.py "$name" --type "$type" --out "$file" >"$work/log" 2>&1; then
        fail "$1" "its file could not be written: $(tail -n 1 "$work/log" | cut -c 1-200)"
    else
        measure "$1" --model "$file" --debug-max-tokens "$TOKENS" --max-slots "$most" --seconds "$each" "${ends[@]}"
    fi
    rm -f "$file"
}

# Kokoro at its full size, with random numbers and a voice of zeros: the time is the real one, the sound is none.
kokoro() {
    local missing
    [ -e scripts/full_kokoro.py ] || { skip kokoro "scripts/full_kokoro.py is not here" && return; }
    [ "$(left)" -ge $((2 * SHORTEST)) ] || { skip kokoro "the budget of $budget s was used up" && return; }
    missing="$(room 400)" || { skip kokoro "$missing" && return; }
    mkdir -p "$work/kokoro/voices"
    head -c 522240 /dev/zero >"$work/kokoro/voices/af_heart.bin"
    if python3 scripts/full_kokoro.py "$work/kokoro/model.onnx" >"$work/log" 2>&1; then
        measure kokoro --model demo --speech --tts kokoro --kokoro-model "$work/kokoro/model.onnx" --voices-dir "$work/kokoro/voices"
    else
        fail kokoro "its file could not be written: $(tail -n 1 "$work/log" | cut -c 1-200)"
    fi
    rm -rf "$work/kokoro"
}

with_shapes() {
    local spec
    if ! have python3 || ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
        skip shapes "there is no Python here, 3.9 or later, that could write them; the demo model alone was measured"
    elif [ ! -e scripts/whisper_shapes.py ]; then
        skip shapes "scripts/whisper_shapes.py is not here; the demo model alone was measured"
    else
        # The voice is one figure and quickly had; the last shapes are what the budget is most likely to leave out.
        kokoro
        for spec in $shapes; do shape "$spec"; done
    fi
}

finish() {
    local told=() note
    [ "${#reports[@]}" -gt 0 ] || die "nothing could be measured" "see above, and what $binary doctor says"
    for note in "${failed[@]}"; do told+=(--failed "$note"); done
    for note in "${skipped[@]}"; do told+=(--skipped "$note"); done
    mkdir -p "$out"
    echo
    "$binary" bench --merge "${reports[@]}" "${told[@]}" --json "$out"
    exit $?
}

# Whether anything here speaks of an NVIDIA GPU: its device, its driver, or what the driver says.
gpu_in_sight() {
    compgen -G '/dev/nvidia[0-9]*' >/dev/null || loader_has libcuda.so.1 || [[ "$(nvidia-smi -L 2>/dev/null)" == *GPU* ]]
}

# Where there is a GPU it is named: left to itself the program would quietly measure the CPU if it cannot use it.
choose_device() {
    [ "$device" = auto ] || return 0
    if gpu_in_sight; then
        device=cuda:0
    else
        device=cpu
        skip GPU "no sign of an NVIDIA GPU or its driver was found here"
    fi
    say "measuring on $device"
}

# Where the CPU decodes its cores are the knee, and whatever is past them takes minutes to show nothing new.
choose_slots() {
    [ -z "$max_slots" ] || return 0
    max_slots=16
    [ "$device" != cpu ] || [ $((2 * $(nproc))) -ge 16 ] || max_slots=$((2 * $(nproc)))
}

run() {
    arguments "$@"
    find_binary
    # Not /tmp where that is memory: the files are to be read from a disk, and memory is what is measured.
    work="$(mktemp -d "${TMPDIR:-/var/tmp}/gpu-check.XXXXXX")"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    say "$("$binary" --version)"
    find_libraries
    choose_device
    choose_slots
    if ! "$binary" doctor --device "$device" --models-dir "$root/models" --bind 127.0.0.1:0; then
        fail doctor "it says that the server would not start"
    fi
    if [ "$device" = cpu ]; then
        measure "demo, word error" --model demo --words "$RECORDINGS"
    else
        measure "demo, word error" --model demo --words "$RECORDINGS" --compare cpu
    fi
    measure demo --model demo --audio "$RECORDINGS" --debug-max-tokens "$TOKENS" --max-slots "$max_slots" --seconds "$seconds"
    with_shapes
    finish
}

case "${1:-}" in
    pack) shift && pack "$@" ;;
    run) shift && run "$@" ;;
    *) sed -n '2,17s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
