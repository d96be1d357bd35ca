#!/usr/bin/env bash
# The kernel against real clients: jupyter_kernel_test, jupyter_client, jupyter console, JupyterLab in a browser.
# Usage: run.sh PROGRAM [arguments of pytest]; PROGRAM is a built `rhapsode`.
# The clients come from PyPI into a virtual environment below the build folder; it is made again
# when requirements.txt changes. Chromium comes from the system's packages where there is none and we may install it.
set -euo pipefail
program="$(realpath "${1:?usage: run.sh PROGRAM [arguments of pytest]}")"
shift
target="${CARGO_TARGET_DIR:-$(dirname "$0")/../../target}"
mkdir -p "$target"
venv="$(realpath "$target")/jupyter-venv"
cd "$(dirname "$0")"

if ! cmp -s requirements.txt "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
    cp requirements.txt "$venv/requirements.txt"
fi

browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
if ! browser >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null || true
fi
if ! browser >/dev/null; then
    # Who may not install system packages still tests the rest.
    echo "NOT TESTED: JupyterLab in a browser, as there is no chromium (Debian: apt-get install chromium fonts-dejavu-core)" >&2
    set -- --ignore=test_browser.py "$@"
fi

# Nothing of the user's own Jupyter is read or written.
home="$(mktemp -d)"
trap 'rm -rf "$home"' EXIT
export HOME="$home" XDG_DATA_HOME="$home/data" JUPYTER_CONFIG_DIR="$home/config" JUPYTER_DATA_DIR="$home/jupyter"
export JUPYTER_RUNTIME_DIR="$home/runtime" IPYTHONDIR="$home/ipython" JUPYTER_PLATFORM_DIRS=1
export VIRTUAL_ENV="$venv" PATH="$venv/bin:$PATH" RHAPSODE="$program" PYTHONDONTWRITEBYTECODE=1

"$program" kernel install --sys-prefix
python -m pytest -q -p no:cacheprovider "$@"
