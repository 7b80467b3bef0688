#!/usr/bin/env bash
# Makes target/python: a Python environment with the official clients that tests drive against our server. Does nothing
# when it is there and right.
#
# pip comes from outside and is told where to install, so that Debian's python3-venv is not needed.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PYTHON=target/python
readonly WANTED=scripts/test-requirements.txt

say() { printf 'test-tools: %s\n' "$*"; }

die() {
    printf 'test-tools: error: %s\n' "$1" >&2
    printf 'test-tools: hint: %s\n' "$2" >&2
    exit 1
}

# It was made for these requirements, to the end, and its Python is still there.
is_right() {
    cmp --silent "$WANTED" "$PYTHON/made-for.txt" &&
        "$PYTHON/bin/python" -c 'from importlib.util import find_spec; assert find_spec("openai")' 2>/dev/null
}

! is_right || exit 0

python3 -m pip --version >/dev/null 2>&1 || scripts/setup.sh python
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    die "$(python3 --version) is too old for the official clients" "Python 3.10 or later is needed to run all tests"

say "installing $(grep --invert-match '^#' "$WANTED" | paste -sd ' ') into $PYTHON, from PyPI (10 MB)"
rm -rf "$PYTHON"
python3 -m venv --without-pip "$PYTHON" || die "python3 cannot make a virtual environment" "on Debian: apt-get install python3-venv"
packages="$("$PYTHON/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
# What else is installed on this machine is none of its business.
PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-warn-conflicts \
    --no-warn-script-location --only-binary=:all: --target "$packages" --requirement "$WANTED" ||
    die "pip could not install what $WANTED lists" "behind a proxy, set HTTPS_PROXY; with a mirror, set PIP_INDEX_URL"
# The last step: an interrupted installation is begun anew.
cp "$WANTED" "$PYTHON/made-for.txt"
is_right || die "what was installed into $PYTHON cannot be imported" "remove $PYTHON, then try again"
