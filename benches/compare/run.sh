#!/usr/bin/env bash
# Ours against PyTorch, side by side in one run: builds, makes the environment, measures, writes benches/results.
# Takes what compare.py takes, e.g. --rows MLP or --venv DIR.
set -euo pipefail
exec python3 "$(dirname "$0")/compare.py" "$@"
