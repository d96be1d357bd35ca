"""Ours against PyTorch, in turn in one run: `python3 benches/compare/compare.py [--rows PATTERN]`.

Builds ours in release, makes an environment with PyTorch (`target/compare-venv`, or `--venv DIR`), and lets two
programs that live through the whole run, ours (`main.rs`) and the twin (`twin.py`), do each row A B A B ...: what else
the machine does meets both alike, so ratios count even where milliseconds do not. A sample is as many calls as take
about `--sample` seconds; the median of `--rounds` samples counts. Rows of whole programs (quick start, start to first
result) start processes in turn and also give their peak memory.

A row of another method comes either into the two programs, or as a pair of programs of its own that print lines of JSON
`{"row": NAME, "ms": MILLISECONDS}`: a file `peers/NAME.py` here and a binary `NAME` in `benches/`.
"""

import argparse
import fnmatch
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import report
from rows import want

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

# Seconds between the turns. PyTorch's OpenMP threads spin for some milliseconds after their last work, on a core that
# the other side then lacks: without the pause a sample of 30 ms of ours took up to 1.4 times as long.
PAUSE = 0.02

# Programs of both sides, what each is called with, how many rounds.
PROGRAMS = {
    "start to first result": (["run", HERE / "first.rhai", "--quiet"], [HERE / "first.py"]),
    "quick start": (["run", HERE / "quickstart.rhai", "--quiet"], [HERE / "quickstart.py"]),
}


class Side:
    """A program that answers a line with a line."""

    def __init__(self, command, env):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def ask(self, *words):
        self.process.stdin.write("\t".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().rstrip("\n")
        if not answer or answer.startswith("error: "):
            raise RuntimeError(f"{words}: {answer or 'the program has ended'}")
        return answer

    def seconds(self, row, times):
        return float(self.ask("run", row, times))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def environment(folder):
    """The environment's Python; makes it where it is not there yet."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    if subprocess.run([python, "-c", "import torch, bitsandbytes"], stderr=subprocess.DEVNULL).returncode:
        index = ["--index-url", "https://download.pytorch.org/whl/cpu"]
        install = [python, "-m", "pip", "install", "--quiet", "torch", "numpy"]
        # The index of builds without CUDA where it can be reached: a tenth of the size.
        if subprocess.run(install + index).returncode:
            subprocess.run(install, check=True)
        # What the 8-bit optimizers are held against; without its dependencies, as torch is there.
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "bitsandbytes", "packaging"], check=True)
    return python


def build():
    binaries = ["--bin", "compare", "--bin", "rhapsode"] + [arg for peer in peers() for arg in ("--bin", peer)]
    subprocess.run(["cargo", "build", "--release", "--workspace", *binaries], cwd=ROOT, check=True)


def peers():
    return sorted(path.stem for path in (HERE / "peers").glob("*.py"))


def alternate(sides, row, rounds, sample):
    """The samples of both sides: seconds of a call."""
    for side in sides:
        side.ask("make", row)
    # The first calls fill caches and show how many make a sample.
    first = [max(side.seconds(row, 1), side.seconds(row, 1), 1e-7) for side in sides]
    again = [min(side.seconds(row, 1) for _ in range(3)) if f < 0.2 else f for side, f in zip(sides, first)]
    times = [max(1, min(20_000, round(sample / max(a, 1e-7)))) for a in again]
    rounds = max(3, min(rounds, round(20.0 / max(sum(a * t for a, t in zip(again, times)), 1e-6))))
    samples = [[] for _ in sides]
    for turn in range(rounds):
        # Who begins alternates too.
        for i in (0, 1) if turn % 2 == 0 else (1, 0):
            time.sleep(PAUSE)
            samples[i].append(sides[i].seconds(row, times[i]))
    for side in sides:
        side.ask("drop", row)
    return samples


def process(command, env):
    """Seconds and peak MiB of a program."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command} failed with {child.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def programs(commands, rounds, env):
    """Seconds and peak MiB of each side, a number a round."""
    runs = [[process(command, env) for command in commands] for _ in range(rounds + 1)][1:]
    return [list(zip(*(run[side] for run in runs))) for side in (0, 1)]


def paired(commands, rounds, env):
    """Seconds a row of a pair of programs that print JSON lines."""
    seen = [{}, {}]
    for _ in range(rounds):
        for side, command in enumerate(commands):
            out = subprocess.run(command, check=True, env=env, stdout=subprocess.PIPE, text=True).stdout
            for line in out.splitlines():
                if line.startswith("{"):
                    record = json.loads(line)
                    seen[side].setdefault(record["row"], []).append(record["ms"] / 1e3)
    return {row: [s[row] for s in seen] for row in seen[0] if row in seen[1]}


def finish(name, samples, limits):
    """A row of the result: medians, and beside their ratio that of the least times, which a busy machine disturbs less."""
    peer, ours = map(statistics.median, samples)
    wanted = want(name)
    share = None
    # The limits are the best of several tries; so is what is held against them.
    least = min(samples[1])
    if wanted.flops:
        share = wanted.flops / least / 1e9 / limits["flops"]
    elif wanted.bytes:
        # What also writes is held against updates.
        share = wanted.bytes / least / 1e9 / limits["read" if any(w in name for w in ("sum", "max", "mean")) else "update"]
    row = {"name": name, "peer": "PyTorch", "peer_s": peer, "ours_s": ours, "ratio": peer / ours,
           "ratio_of_least": min(samples[0]) / min(samples[1]), "target": wanted.ratio,
           "share_of_limit": share}
    print(report.text(row), flush=True)
    return row


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="*", help="rows whose name has this in it, or fits this pattern with *")
    parser.add_argument("--venv", type=Path, default=TARGET / "compare-venv", help="environment with PyTorch; made if absent")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sample", type=float, default=0.03, help="seconds of a sample")
    parser.add_argument("--out", type=Path, default=ROOT / "benches" / "results")
    parser.add_argument("--no-build", action="store_true", help="take the programs as they are")
    return parser.parse_args()


def main():
    args = arguments()
    if not args.no_build:
        build()
    python = environment(args.venv)
    env = os.environ | {"RHAPSODE_THREADS": str(args.threads), "OMP_NUM_THREADS": str(args.threads)}
    binary = lambda name: TARGET / "release" / name
    wanted = lambda name: args.rows in name or fnmatch.fnmatchcase(name, args.rows)
    ours = Side([str(binary("compare"))], env)
    twin = Side([str(python), str(HERE / "twin.py"), str(args.threads)], env)
    # Each answer is one short try: the best of some.
    tries = [json.loads(ours.ask("limits")) for _ in range(10)]
    limits = tries[0] | {name: max(one[name] for one in tries) for name in ("flops", "read", "update")}
    names = [set(side.ask("list").split("\t")) for side in (ours, twin)]
    if names[0] ^ names[1]:
        sys.exit(f"rows of one side alone: {sorted(names[0] ^ names[1])}")
    print(report.heading())
    rows, memory = [], []
    for name in filter(wanted, ours.ask("list").split("\t")):
        peer, own = alternate([twin, ours], name, args.rounds, args.sample)
        rows.append(finish(name, (peer, own), limits))
    ours.close(), twin.close()
    for name, (left, right) in PROGRAMS.items():
        if wanted(name):
            commands = [[str(python), *map(str, right)], [str(binary("rhapsode")), *map(str, left)]]
            (peer, peer_mib), (own, own_mib) = programs(commands, 5, env)
            rows.append(finish(name, (peer, own), limits))
            memory.append({"name": name, "peer_mib": max(peer_mib), "ours_mib": max(own_mib)})
    for name in peers():
        pair = paired([[str(python), str(HERE / "peers" / f"{name}.py")], [str(binary(name))]], 3, env)
        rows += [finish(row, times, limits) for row, times in pair.items() if wanted(row)]
    version = subprocess.check_output([python, "-c", "import torch; print(torch.__version__)"], text=True).strip()
    machine = limits | {"cpu": platform.processor() or platform.machine(), "torch": version, "rounds": args.rounds}
    report.write({"machine": machine, "rows": rows, "memory": memory}, args.out)
    below = [row["name"] for row in rows if row["ratio"] < row["target"]]
    print(f"\n{len(rows)} rows, {len(below)} below their target; written to {args.out}")


if __name__ == "__main__":
    main()
