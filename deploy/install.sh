#!/usr/bin/env bash
# Installs what was built here as a systemd service, or anew over an older one. Settings and keys that are there stay as they are,
# and nothing is started.
#
#   deploy/install.sh [BINARY]     BINARY: target/cuda/release/stenopool, or target/release/stenopool where there is none
#
# DESTDIR=/some/root installs into the root of another system; its users are made at its next boot.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly DESTDIR="${DESTDIR:-}"
readonly PROGRAM="$DESTDIR/opt/stenopool"
readonly SETTINGS="$DESTDIR/etc/stenopool"

say() { printf 'install: %s\n' "$*"; }

die() {
    printf 'install: error: %s\n' "$1" >&2
    printf 'install: hint: %s\n' "$2" >&2
    exit 1
}

# What was built last for GPUs, else what was built for the CPU.
built() {
    local each
    for each in target/cuda/release/stenopool target/release/stenopool; do
        [ ! -x "$each" ] || { echo "$each" && return; }
    done
    die "there is no program to install" "make build-cuda, or make build"
}

[ "$(id -u)" -eq 0 ] || die "only root can install a service" "sudo $0 $*"
binary="${1:-$(built)}"
[ -x "$binary" ] || die "$binary is no program" "make build-cuda, or make build"
for file in libonnxruntime.so silero_vad.onnx licenses; do
    [ -e "models/$file" ] || die "models/$file is missing" "make setup"
done

# A program that runs is replaced, not written to.
install -D -m 0755 "$binary" "$PROGRAM/stenopool.new"
mv "$PROGRAM/stenopool.new" "$PROGRAM/stenopool"
install -d "$PROGRAM/models" "$DESTDIR/usr/local/bin" "$DESTDIR/etc/systemd/system"
install -m 0644 models/libonnxruntime.so models/silero_vad.onnx "$PROGRAM/models/"
cp -R models/licenses "$PROGRAM/models/"
ln -sfn /opt/stenopool/stenopool "$DESTDIR/usr/local/bin/stenopool"
# cuBLAS of the toolkit that was put together here: the service does not look into home folders.
if [ -e target/cuda-toolkit/lib/libcublas.so.13 ] && [[ "$binary" == *cuda* ]]; then
    install -m 0644 target/cuda-toolkit/lib/libcublas.so.13 target/cuda-toolkit/lib/libcublasLt.so.13 "$PROGRAM/"
    install -d "$PROGRAM/licenses"
    cp -R target/cuda-toolkit/licenses/nvidia_cublas "$PROGRAM/licenses/"
elif [[ "$binary" == *cuda* ]]; then
    say "cuBLAS is taken from where the loader, /usr/local/cuda or /opt/cuda has it: see what stenopool doctor says"
fi
# ONNX Runtime's part for CUDA, if `scripts/setup.sh cuda-runtime` brought it. One of another version does not work with this
# library.
rm -f "$PROGRAM"/models/libonnxruntime_providers_*.so
for file in models/libonnxruntime_providers_*.so; do
    [ ! -e "$file" ] || install -m 0644 "$file" "$PROGRAM/models/"
done

install -D -m 0644 deploy/stenopool.sysusers "$DESTDIR/etc/sysusers.d/stenopool.conf"
install -m 0644 deploy/stenopool.service deploy/stenopool.socket "$DESTDIR/etc/systemd/system/"
[ -e "$SETTINGS/stenopool.toml" ] || install -D -m 0644 deploy/stenopool.toml "$SETTINGS/stenopool.toml"
if [ -z "$DESTDIR" ]; then
    systemd-sysusers /etc/sysusers.d/stenopool.conf
    systemctl daemon-reload
fi
say "$binary is at /opt/stenopool; settings are in /etc/stenopool/stenopool.toml"
say "next: systemctl enable --now stenopool.socket stenopool.service"
