"""The kernel against ipykernel (and evcxr, when installed), turn by turn in one run: ratios count, milliseconds do
not, for the machine may be busy.

Needs a *release* build of the program, and the environment that `tests/jupyter/run.sh` makes:

    cargo build --release -p rhapsode
    target/jupyter-venv/bin/python benches/kernel/compare.py target/release/rhapsode

Measured: start (of the process, until the reply to the first cell has come), a cell's round trip, the completion of a
name, a cell of 10,000 small outputs.
"""

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_client.manager import KernelManager

PATIENCE = 120

# Kernel: code with a result, 10,000 outputs, a name to complete.
CODE = {
    "rhapsode": ("1 + 1", "for i in 0..10_000 { print(i); }", "linsp"),
    "python3": ("1 + 1", "for i in range(10_000): print(i)", "enumer"),
    "rust": ("1 + 1", 'for i in 0..10_000 { println!("{i}"); }', "std::pri"),
}


def reply(client, code):
    """Runs a cell until its reply has come."""
    ident = client.execute(code)
    while client.get_shell_msg(timeout=PATIENCE)["parent_header"].get("msg_id") != ident:
        pass
    return ident


def run(client, code):
    """Runs a cell until its reply and its idle have come."""
    ident = reply(client, code)
    while True:
        message = client.get_iopub_msg(timeout=PATIENCE)
        idle = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
        if idle and message["parent_header"].get("msg_id") == ident:
            return


def measure(name, specs, cells):
    """One turn of a kernel: seconds of each thing."""
    code, many, word = CODE[name]
    manager = KernelManager(kernel_name=name, kernel_spec_manager=specs)
    started = time.perf_counter()
    # ipykernel warns at every start that its sockets are open to the machine's users.
    manager.start_kernel(stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    try:
        # No wait_for_ready: it asks once a second whether the kernel is there. The request waits in the socket; the
        # first outputs may come before the subscription, so only the reply counts.
        reply(client, code)
        found = {"start": time.perf_counter() - started}
        client.wait_for_ready(timeout=PATIENCE)
        trips = []
        for _ in range(cells):
            began = time.perf_counter()
            run(client, code)
            trips.append(time.perf_counter() - began)
        found["round trip"] = statistics.median(trips)
        completions = []
        for _ in range(10):
            began = time.perf_counter()
            client.complete(word, reply=True, timeout=PATIENCE)
            completions.append(time.perf_counter() - began)
        found["completion"] = statistics.median(completions)
        began = time.perf_counter()
        run(client, many)
        found["10,000 outputs"] = time.perf_counter() - began
        return found
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--cells", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as prefix:
        subprocess.run([args.program, "kernel", "install", "--prefix", prefix], check=True, stdout=subprocess.DEVNULL)
        specs = KernelSpecManager()
        specs.kernel_dirs.insert(0, f"{prefix}/share/jupyter/kernels")
        names = ["rhapsode", "python3"]
        try:
            specs.get_kernel_spec("rust")
            names.append("rust" if shutil.which("evcxr_jupyter") else None)
        except NoSuchKernel:
            pass
        turns = {name: [] for name in names if name}
        for _ in range(args.turns):
            for name in turns:
                turns[name].append(measure(name, specs, args.cells))
    for what in turns["rhapsode"][0]:
        ours = statistics.median(turn[what] for turn in turns["rhapsode"])
        row = [f"{what:16} rhapsode {ours * 1e3:8.2f} ms"]
        for name in list(turns)[1:]:
            theirs = statistics.median(turn[what] for turn in turns[name])
            row.append(f"{name} {theirs * 1e3:8.2f} ms   ratio {theirs / ours:5.1f}")
        print("   ".join(row))


if __name__ == "__main__":
    main()
