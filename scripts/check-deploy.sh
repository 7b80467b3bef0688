#!/usr/bin/env bash
# Checks Dockerfile.cuda, deploy/ and our shell scripts, without Docker, a GPU or a running systemd.
#
#   scripts/check-deploy.sh                       lints all of it: seconds
#   scripts/check-deploy.sh clean-root [BINARY]   runs the steps of Dockerfile.cuda in fresh Debian roots, and what comes of them
#                                                 as a container would; with BINARY instead of what would be built. As root.
#   scripts/check-deploy.sh units BINARY          installs the units in such a root, boots it, and sees how they do. As root.
#
# Fetches its tools from PyPI (28 MB, once, into target/deploy-tools) and, where they are missing, from apt.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly TOOLS="$PWD/target/deploy-tools"
readonly WANTED=scripts/deploy-requirements.txt
# Of 10, as `systemd-analyze security` counts. What is left is that the server listens, and that CUDA is as it is.
readonly EXPOSURE=2.0

say() { printf 'check-deploy: %s\n' "$*"; }

die() {
    printf 'check-deploy: error: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf 'check-deploy: hint: %s\n' "$@" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Installs packages of Debian and Ubuntu: `PROGRAM=PACKAGE` where the program is missing.
need() {
    local each missing=()
    for each in "$@"; do
        have "${each%=*}" || missing+=("${each#*=}")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    have apt-get && [ "$(id -u)" -eq 0 ] || die "missing here: ${missing[*]}" "as root: apt-get install ${missing[*]}"
    say "installing ${missing[*]}"
    apt-get update -qq || say "apt-get update failed; going on with the package lists that are here"
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null ||
        die "apt-get could not install: ${missing[*]}" "run it by hand to see why"
}

fetch_tools() {
    python3 -m pip --version >/dev/null 2>&1 || scripts/setup.sh python
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$(python3 --version) is too old" "Python 3.11 or later is needed to check the deployment"
    ! cmp --silent "$WANTED" "$TOOLS/made-for.txt" || return 0
    say "fetching $(sed -n 's/==.*//p' "$WANTED" | paste -sd ' ') into target/deploy-tools, from PyPI (28 MB)"
    rm -rf "$TOOLS"
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --no-warn-script-location --require-hashes --target "$TOOLS" --requirement "$WANTED" ||
        die "pip could not install what $WANTED lists" "behind a proxy, set HTTPS_PROXY; with a mirror, set PIP_INDEX_URL"
    # The last step: an interrupted installation is begun anew.
    cp "$WANTED" "$TOOLS/made-for.txt"
}

lint_shell() {
    need shellcheck=shellcheck
    local scripts
    mapfile -t scripts < <(git ls-files --cached --others --exclude-standard '*.sh' .ci/run)
    shellcheck "${scripts[@]}" || die "shellcheck found something in our scripts" "its wiki explains each SC number"
    say "ok: shellcheck, ${#scripts[@]} scripts"
}

lint_image() {
    hadolint --failure-threshold style Dockerfile.cuda ||
        die "hadolint found something in Dockerfile.cuda" "its wiki explains each DL number"
    say "ok: hadolint, Dockerfile.cuda"
}

# Compose itself reads the file, and prints what it understood.
read_compose() {
    # The key file need not exist for that, but a name that is set elsewhere must not get in.
    env -u STENOPOOL_PUBLISH -u STENOPOOL_KEYS -u STENOPOOL_LLM_KEY \
        docker-compose --env-file /dev/null -f deploy/compose.yaml config --format json >"$work/compose.json" ||
        die "docker-compose does not take deploy/compose.yaml"
    say "ok: $(docker-compose version), deploy/compose.yaml"
}

# As systemd reads them, installed or not. The program is not there yet: /bin/true stands in for it.
lint_units() {
    need systemd-analyze=systemd
    sed 's|^ExecStart=/opt/stenopool/stenopool .*|ExecStart=/bin/true|' deploy/stenopool.service >"$work/stenopool.service"
    cp deploy/stenopool.socket "$work/"
    local said
    # Other units of this machine are none of our business.
    said="$(systemd-analyze verify --man=no "$work/stenopool.service" "$work/stenopool.socket" 2>&1 | grep -F stenopool || true)"
    [ -z "$said" ] || die "systemd does not take the units: $said"
    systemd-analyze security --no-pager --offline=true --threshold="$(tr -d . <<<"$EXPOSURE")" "$work/stenopool.service" \
        >"$work/exposure.txt" 2>&1 || {
        cat "$work/exposure.txt" >&2
        die "the service is exposed by more than $EXPOSURE of 10" "the table above says by what"
    }
    said="$(systemd-sysusers --dry-run "$PWD/deploy/stenopool.sysusers" 2>&1)" ||
        die "systemd does not take deploy/stenopool.sysusers: $said"
    say "ok: $(systemd-analyze --version | head -1 | cut -d ' ' -f 1,2), units; exposure $(sed -n 's/.*: \([0-9.]* [A-Z]*\).*/\1/p' "$work/exposure.txt" | tail -1)"
}

lint() {
    lint_shell
    lint_image
    read_compose
    python3 scripts/deploy_lint.py "$work/compose.json" || die "the deployment lacks something: see FAIL above"
    lint_units
    say "ok: all of it in $SECONDS s"
}

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
fetch_tools
export PATH="$TOOLS/bin:$PATH" PYTHONPATH="$TOOLS${PYTHONPATH:+:$PYTHONPATH}"
case "${1-}" in
    "") lint ;;
    clean-root | units)
        [ "$(id -u)" -eq 0 ] || die "a root of another system is made, and entered, as root" "sudo $0 $*"
        need mmdebstrap=mmdebstrap bwrap=bubblewrap curl=curl
        [ "$1" = clean-root ] || need systemd-nspawn=systemd-container
        exec python3 scripts/clean_root.py "$@" ;;
    *) die "unknown argument: $1" "scripts/check-deploy.sh [clean-root [BINARY] | units BINARY]" ;;
esac
