"""What steering costs beside backpropagation through the solver, in time and in memory: `python3 benches/steering/steering.py PROGRAM`.

Each way runs in a process of its own (`steering.rhai`, a U-Net on 8 x 8 images); what the training alone takes, which is the
same for all, is measured too and taken off. `solver` is one descent on the noise, of which an optimizer of the noise needs
dozens; the other ways are a whole walk.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPT = Path(__file__).with_name("steering.rhai")
WAYS = ["none", "skipped", "full", "solver"]
ROUNDS = 3


def run(program, way, folder):
    """Seconds and peak MiB of a process."""
    start = time.perf_counter()
    command = [program, "run", SCRIPT, "--quiet", "--out", folder, "--set", f"way={way}"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{way} failed with {child.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main():
    program = Path(sys.argv[1]).resolve()
    # Turn by turn: what else the machine does meets all alike.
    with tempfile.TemporaryDirectory() as folder:
        rounds = [[run(program, way, folder) for way in WAYS] for _ in range(ROUNDS)]
    found = {way: [statistics.median(values) for values in zip(*(r[i] for r in rounds))] for i, way in enumerate(WAYS)}
    seconds, memory = found.pop("none")
    cheapest = found["skipped"][0] - seconds
    print(f"{'way':<10}{'seconds':>10}{'of skipped':>12}{'more MiB':>10}")
    for way, (s, m) in found.items():
        print(f"{way:<10}{s - seconds:>10.2f}{(s - seconds) / cheapest:>12.1f}{m - memory:>10.0f}")


if __name__ == "__main__":
    main()
