#!/usr/bin/env bash
# Prints the folder of a CUDA toolkit: one that is installed, or one that is put together here from NVIDIA's wheels.
#
#   scripts/cuda-toolkit.sh             the installed one, else the one in target/cuda-toolkit, which is made if need be
#   scripts/cuda-toolkit.sh --wheels    the one in target/cuda-toolkit, whatever is installed
#
# Installed are: $CUDA_HOME or $CUDA_PATH, the one whose `nvcc` is on the PATH, /usr/local/cuda, /opt/cuda.
#
# The wheels are pinned with their checksums (0.5 GB, from PyPI) and unpack to 1 GB. They hold everything but the links
# without a version that a linker looks for, the stub of the driver's library, and the empty `libculibos` of former
# versions, which are made here. Only the folder is printed to the standard output.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly MADE="$PWD/target/cuda-toolkit"
readonly REQUIREMENTS=scripts/cuda-requirements.txt

say() { printf 'cuda-toolkit: %s\n' "$*" >&2; }

die() {
    printf 'cuda-toolkit: error: %s\n' "$1" >&2
    shift
    printf 'cuda-toolkit: hint: %s\n' "$@" >&2
    exit 1
}

# A toolkit is one when its compiler runs and the headers of cuBLAS are there.
is_toolkit() { [ -f "$1/include/cublas_v2.h" ] && "$1/bin/nvcc" --version >/dev/null 2>&1; }

installed() {
    local nvcc folder
    nvcc="$(command -v nvcc || true)"
    for folder in "${CUDA_HOME:-}" "${CUDA_PATH:-}" ${nvcc:+"$(dirname "$(dirname "$(readlink -f "$nvcc")")")"} \
        /usr/local/cuda /opt/cuda; do
        if [ -n "$folder" ] && is_toolkit "$folder"; then
            readlink -f "$folder"
            return
        fi
    done
    return 1
}

platform() {
    case "$(uname -s)-$(uname -m)" in
        Linux-x86_64) echo x86_64 ;;
        Linux-aarch64) echo aarch64 ;;
        *) die "no wheels of CUDA for $(uname -s) on $(uname -m)" "install a CUDA toolkit, and set CUDA_HOME to its folder" ;;
    esac
}

# The toolkit is finished, and is of the wheels that are pinned now.
is_made() { cmp --silent "$REQUIREMENTS" "$MADE/.made-of" && is_toolkit "$MADE"; }

download() {
    local machine tag platforms=()
    machine="$(platform)"
    for tag in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux_2_12 manylinux2014; do
        platforms+=(--platform "${tag}_$machine")
    done
    python3 -m pip --version >/dev/null 2>&1 || scripts/setup.sh python >&2
    say "fetching the CUDA compiler, headers and cuBLAS from PyPI (0.5 GB)"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --no-cache-dir \
        "${platforms[@]}" --require-hashes --requirement "$REQUIREMENTS" --dest "$1" ||
        die "pip could not download the wheels" "behind a proxy, set HTTPS_PROXY; with a mirror, set PIP_INDEX_URL" \
            "or install a CUDA toolkit, and set CUDA_HOME to its folder"
}

# Unpacks the folder `nvidia/cu13` of all wheels in $1 into $2, with the rights of programs; licences go into `licenses`.
unpack() {
    python3 - "$1" "$2" <<'PYTHON'
import pathlib, shutil, sys, zipfile

PREFIX = "nvidia/cu13/"
wheels, target = map(pathlib.Path, sys.argv[1:])
for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            name = entry.filename
            if entry.is_dir():
                continue
            if name.startswith(PREFIX):
                path = target / name[len(PREFIX):]
            elif "/licenses/" in name or name.lower().endswith("license.txt"):
                path = target / "licenses" / wheel.name.split("-")[0] / pathlib.Path(name).name
            else:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, open(path, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            if (entry.external_attr >> 16) & 0o111:
                path.chmod(0o755)
PYTHON
}

complete() {
    local name
    ln -sfn lib "$1/lib64"
    for name in cudart cublas cublasLt; do
        ln -sf "lib$name.so.13" "$1/lib/lib$name.so"
    done
    mkdir -p "$1/lib/stubs"
    # The driver's own library is nowhere but on a machine with a driver; nothing is called of it while a program is made.
    printf '' | cc -shared -x c -Wl,-soname,libcuda.so.1 -o "$1/lib/stubs/libcuda.so" -
    printf 'int culibos_is_empty;' | cc -c -x c -o "$1/lib/empty.o" -
    ar rcs "$1/lib/libculibos.a" "$1/lib/empty.o"
    rm "$1/lib/empty.o"
    cp "$REQUIREMENTS" "$1/.made-of"
}

make_toolkit() {
    local room
    mkdir -p target
    room="$(df --output=avail -k target | tail -1)"
    [ "$room" -gt 2000000 ] || die "$((room / 1024)) MiB are free for target/, 2000 are needed" "make room, and try again"
    # Beside its destination, so that the last step is a rename and an interruption leaves nothing half done.
    work="$(mktemp -d target/.cuda-toolkit.XXXXXX)"
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/wheels" "$work/toolkit"
    download "$work/wheels"
    unpack "$work/wheels" "$work/toolkit"
    complete "$work/toolkit"
    rm -rf "$MADE"
    mv "$work/toolkit" "$MADE"
    is_made || die "the toolkit that was put together does not work: $MADE/bin/nvcc --version says why" \
        "install a CUDA toolkit, and set CUDA_HOME to its folder"
    say "put together target/cuda-toolkit: $("$MADE/bin/nvcc" --version | sed -n 's/^Cuda compilation tools, //p')"
}

case "${1-}" in
    "") installed && exit ;;
    --wheels) ;;
    *) die "unknown argument: $1" "scripts/cuda-toolkit.sh [--wheels]" ;;
esac
is_made || make_toolkit
echo "$MADE"
