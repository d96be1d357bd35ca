"""The kernel against ipykernel (and evcxr, when installed), turn by turn in one run: ratios count, milliseconds do
not, for the machine may be busy.

Needs a *release* build of the program, and the environment that `tests/jupyter/run.sh` makes:

    cargo build --release --workspace
    target/jupyter-venv/bin/python benches/kernel/compare.py target/release/rhapsode

Measured: start (of the process, until the reply to the first cell has come), a cell's round trip (until its `idle`),
the completion of a name, a cell of 10,000 small outputs. All of it twice: **at the wire**, by a client that does
nothing but send and receive frames, which is what the kernel itself takes; and **through jupyter_client**, whose own
work (ports and files at the start, signatures and dates of five messages a cell, all in Python) both kernels carry
alike: of our round trip it is the larger half, so that no kernel, however fast, could be ten times ipykernel there.
"""

import argparse
import hashlib
import hmac
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import zmq
from jupyter_client.connect import write_connection_file
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


class Wire:
    """A client that sends and receives frames, and reads of them only what it must."""

    KEY = b"benchmark"

    def __init__(self, spec, directory):
        path, ports = write_connection_file(str(Path(directory) / f"{uuid.uuid4()}.json"), key=self.KEY)
        # As a manager does: a bare `python` is the one that runs this.
        program = sys.executable if spec.argv[0].startswith("python") else spec.argv[0]
        argv = [program, *(part.replace("{connection_file}", path) for part in spec.argv[1:])]
        self.process = subprocess.Popen(
            argv, env=os.environ | spec.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.context = zmq.Context()
        self.shell = self.socket(zmq.DEALER, ports["shell_port"])
        self.iopub = self.socket(zmq.SUB, ports["iopub_port"])
        self.iopub.setsockopt(zmq.SUBSCRIBE, b"")

    def socket(self, kind, port):
        socket = self.context.socket(kind)
        # The kernel does not listen yet: asked for again each millisecond, not each tenth of a second.
        socket.setsockopt(zmq.RECONNECT_IVL, 1)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"tcp://127.0.0.1:{port}")
        return socket

    def send(self, kind, content):
        header = {
            "msg_id": uuid.uuid4().hex,
            "session": "benchmark",
            "username": "",
            "date": "2026-01-01T00:00:00.000000Z",
            "msg_type": kind,
            "version": "5.3",
        }
        parts = [json.dumps(part).encode() for part in (header, {}, {}, content)]
        signature = hmac.new(self.KEY, b"".join(parts), hashlib.sha256).hexdigest().encode()
        self.shell.send_multipart([b"<IDS|MSG>", signature, *parts])

    def reply(self, code):
        self.send("execute_request", {"code": code})
        return self.shell.recv_multipart()

    def run(self, code):
        self.reply(code)
        self.idle()

    def complete(self, word):
        self.send("complete_request", {"code": word, "cursor_pos": len(word)})
        self.shell.recv_multipart()
        self.idle()

    def idle(self):
        while b'"idle"' not in self.iopub.recv_multipart()[-1]:
            pass

    def ready(self):
        """The first outputs may have come before the subscription: asks until an `idle` has been heard."""
        self.iopub.setsockopt(zmq.RCVTIMEO, 1000)
        for _ in range(PATIENCE):
            self.reply("")
            try:
                self.idle()
                break
            except zmq.Again:
                pass
        self.iopub.setsockopt(zmq.RCVTIMEO, PATIENCE * 1000)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.context.destroy()


class Jupyter:
    """The same through jupyter_client."""

    def __init__(self, spec, specs):
        self.manager = KernelManager(kernel_name=spec, kernel_spec_manager=specs)
        # ipykernel warns at every start that its sockets are open to the machine's users.
        self.manager.start_kernel(stderr=subprocess.DEVNULL)
        self.client = self.manager.client()
        self.client.start_channels()

    def reply(self, code):
        return reply(self.client, code)

    def run(self, code):
        run(self.client, code)

    def complete(self, word):
        self.client.complete(word, reply=True, timeout=PATIENCE)

    def ready(self):
        self.client.wait_for_ready(timeout=PATIENCE)

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def median_of(times, work):
    """Seconds of one call."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def measure(name, start, cells):
    """One turn of a kernel: seconds of each thing."""
    code, many, word = CODE[name]
    began = time.perf_counter()
    kernel = start()
    try:
        # No wait for the kernel before: the request waits in the socket.
        kernel.reply(code)
        found = {"start": time.perf_counter() - began}
        kernel.ready()
        found["round trip"] = median_of(cells, lambda: kernel.run(code))
        found["completion"] = median_of(10, lambda: kernel.complete(word))
        found["10,000 outputs"] = median_of(1, lambda: kernel.run(many))
        return found
    finally:
        kernel.close()


def table(title, starts, turns, cells):
    """Measures all kernels in turn and prints the ratios."""
    found = {name: [] for name in starts}
    for _ in range(turns):
        for name, start in starts.items():
            found[name].append(measure(name, start, cells))
    print(title)
    for what in found["rhapsode"][0]:
        ours = statistics.median(turn[what] for turn in found["rhapsode"])
        row = [f"  {what:16} rhapsode {ours * 1e3:8.2f} ms"]
        for name in list(found)[1:]:
            theirs = statistics.median(turn[what] for turn in found[name])
            row.append(f"{name} {theirs * 1e3:8.2f} ms   ratio {theirs / ours:5.1f}")
        print("   ".join(row), flush=True)


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
        names = [name for name in names if name]
        wires = {name: lambda name=name: Wire(specs.get_kernel_spec(name), prefix) for name in names}
        table("at the wire", wires, args.turns, args.cells)
        clients = {name: lambda name=name: Jupyter(name, specs) for name in names}
        table("through jupyter_client", clients, args.turns, args.cells)


if __name__ == "__main__":
    main()
