#!/usr/bin/env bash
# Runs everything that must hold, in order, and stops at the first thing that does not:
# format, lints, documentation, Rust tests with the examples in the documentation, the language suite, random cells,
# every script in scripts/ at reduced size, and the kernel against Jupyter's own clients (which come from PyPI). Needs Rust
# (rustup), a C and a C++ compiler and Python 3 with venv; Chromium is installed where there is none and apt-get may do it.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"

log="$(mktemp -d)"
trap 'rm -rf "$log"' EXIT

step() { printf '\n== %s\n' "$*"; }
fail() { printf '\nFAILED: %s\n' "$*" >&2; exit 1; }

# Runs a command; says which step failed.
check() {
    local name="$1"
    shift
    step "$name"
    "$@" || fail "$name ($*)"
}

step "tools"
command -v cargo >/dev/null || fail "there is no cargo: install Rust from https://rustup.rs"
command -v cc >/dev/null || fail "there is no C compiler (cc): install gcc or clang"
command -v c++ >/dev/null || fail "there is no C++ compiler (c++): install g++ or clang"
python3 -c 'import venv, ensurepip' 2>/dev/null || fail "there is no Python 3 with venv: install python3-venv"
for component in rustfmt clippy; do
    cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component" ||
        fail "cannot install $component"
done
cargo --version

check "format" cargo fmt --all -- --check
check "lints" cargo clippy --workspace --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" check "documentation" cargo doc --workspace --no-deps

# Everything with --workspace: for one set of crates' features everything is compiled once.
step "Rust tests"
cargo test --workspace --lib --bins --tests 2>&1 | tee "$log/rust" || fail "Rust tests"
# The operations on the instruction sets that this machine would not choose.
for level in scalar avx2; do
    RHAPSODE_SIMD="$level" check "contract of the operations, $level" cargo test --workspace --test contract
done
step "examples in the documentation"
cargo test --workspace --doc 2>&1 | tee "$log/doc" || fail "examples in the documentation"
step "language suite"
cargo lang 2>&1 | tee "$log/lang" || fail "language suite"

step "random cells"
cargo fuzz-cells 2>&1 | tee "$log/fuzz" || fail "random cells"

step "scripts, at reduced size"
rhapsode="${CARGO_TARGET_DIR:-target}/debug/rhapsode"
scripts=0
for script in scripts/*.rhai; do
    [ -e "$script" ] || continue
    printf '%s\n' "-- $script"
    "$rhapsode" run "$script" --set scale=test --quiet --out "$log/$(basename "$script" .rhai)" || fail "$script"
    scripts=$((scripts + 1))
done

step "the kernel against Jupyter's clients"
tests/jupyter/run.sh "$rhapsode" 2>&1 | tee "$log/jupyter" || fail "the kernel against Jupyter's clients"

# All summaries in one: `test result: ok. 12 passed; ...`, `12 passed, 0 failed` and `12 passed in 3.45s`.
passed=$(cat "$log/rust" "$log/doc" "$log/jupyter" | grep -Eo '[0-9]+ passed' | awk '{ n += $1 } END { print n + 0 }')
printf '\n%d passed, 0 failed\n' "$((passed + scripts))"
