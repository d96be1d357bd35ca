"""What no client should send, and clients that do not read."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import psutil
from conftest import PATIENCE, Kernel, wait


def hostile(rng, session):
    """One message that is not quite one."""
    header = {
        "msg_id": "h", "msg_type": "execute_request", "session": "s", "username": "u",
        "date": "2020-01-01T00:00:00Z", "version": "5.3",
    }
    content = {"code": "1", "silent": True}
    kind = rng.randrange(12)
    if kind == 0:  # unknown type
        header["msg_type"] = rng.choice(["nonsense", "", "comm_msg", "input_reply", "🎲"])
    elif kind == 1:  # header without what it needs
        header = rng.choice([{}, [], 3, None, "x", {"msg_id": 1}, {"msg_id": "x", "msg_type": 7}])
    elif kind == 2:  # content of another shape
        content = rng.choice([[], 3, None, "x", {"code": 7}, {"code": None}, {"code": ["1"]}])
    elif kind == 3:  # a huge cell
        content["code"] = "1;" * rng.randrange(1, 20_000)
    elif kind == 4:
        content["code"] = "(" * rng.randrange(1, 5_000)
    elif kind == 5:
        header["msg_type"] = rng.choice(["complete_request", "inspect_request", "is_complete_request", "history_request"])
        content = {
            "code": "".join(chr(rng.choice([0, 10, 34, 46, 97, 123, 0x301, 0x1F3B2])) for _ in range(rng.randrange(40))),
            "cursor_pos": rng.choice([-5, 0, 3, 10**12, None, "x", 1.5]),
            "n": rng.choice([-1, 0, 10**12, "x"]), "hist_access_type": rng.choice(["tail", "range", "search", 3]),
            "session": rng.choice([0, -10**9, 10**9]), "pattern": rng.choice(["*" * 30, "", 4]),
        }
    frames = [json.dumps(part).encode() for part in (header, {}, {}, content)]
    signature = session.sign(frames)
    message = [b"<IDS|MSG>", signature, *frames]
    if kind == 6:  # wrong signature
        message[1] = rng.choice([b"", b"xyz", signature[::-1], b"0" * 64])
    elif kind == 7:  # frames missing
        message = message[: rng.randrange(len(message))]
    elif kind == 8:  # no delimiter
        message = message[1:]
    elif kind == 9:  # wrong JSON under a right signature
        frames[rng.randrange(4)] = rng.choice([b"", b"{", b"\xff\xfe", b"nul", b"[" * 100_000])
        message = [b"<IDS|MSG>", session.sign(frames), *frames]
    elif kind == 10:  # random bytes
        message = [rng.randbytes(rng.randrange(50)) for _ in range(rng.randrange(1, 9))]
    elif kind == 11:  # buffers, empty frames
        message += [b""] * rng.randrange(5) + [rng.randbytes(1000)]
    return message or [b""]


def test_ten_thousand_hostile_messages(kernel):
    rng = random.Random(0)
    session = kernel.client.session
    for i in range(10_000):
        channel = rng.choice(["shell", "shell", "shell", "control", "stdin"])
        getattr(kernel.client, f"{channel}_channel").socket.send_multipart(hostile(rng, session))
    # Among them are cells that fail, and what is queued behind those is aborted.
    while kernel.run("1").content["status"] == "aborted":
        pass
    assert kernel.alive()
    assert kernel.ask("complete_request", code="linsp", cursor_pos=5).content["matches"] == ["linspace"]
    assert kernel.ask("kernel_info_request", channel="control").content["status"] == "ok"


def test_a_wrong_signature_is_dropped_and_logged(tmp_path):
    with open(tmp_path / "log", "w+") as log:
        kernel = Kernel(stderr=log)
        try:
            forged = kernel.client.session.msg("execute_request", {"code": "let forged = 1;"})
            frames = kernel.client.session.serialize(forged)
            frames[1] = b"0" * 64
            kernel.client.shell_channel.socket.send_multipart(frames)
            assert kernel.run("forged").content["ename"] == "name error"
        finally:
            kernel.stop()
        assert "a message was dropped: a wrong signature" in (tmp_path / "log").read_text()


def test_noise_on_the_ports_is_no_harm(kernel):
    info = kernel.manager.get_connection_info()
    for name in ["shell_port", "iopub_port", "control_port", "stdin_port", "hb_port"]:
        with socket.create_connection((info["ip"], info[name])) as noise:
            noise.sendall(b"GET / HTTP/1.1\r\n\r\n" + os.urandom(10_000))
    assert kernel.alive()


def test_large_messages_pass(kernel):
    text = "x" * 8_000_000
    done = kernel.run(f"let s = `{text}`; print(s); s.len()")
    assert done.result() == "8000000" and len(done.text()) == 8_000_001


# A client that subscribes and is then frozen, as `jupyter console --existing` with Ctrl-Z.
SUBSCRIBER = """
import sys, zmq
socket = zmq.Context().socket(zmq.SUB)
socket.setsockopt(zmq.RCVHWM, 10)
socket.subscribe(b"")
socket.connect(sys.argv[1])
socket.recv_multipart()
print("ready", flush=True)
while True:
    socket.recv_multipart()
"""


def test_a_frozen_client_does_not_stop_the_others(kernel):
    info = kernel.manager.get_connection_info()
    frozen = subprocess.Popen(
        [sys.executable, "-c", SUBSCRIBER, f"tcp://{info['ip']}:{info['iopub_port']}"],
        stdout=subprocess.PIPE, text=True,
    )
    try:
        assert frozen.stdout.readline().strip() == "ready"
        frozen.send_signal(signal.SIGSTOP)
        done = kernel.run("let line = ``; for i in 0..1000 { line += `0123456789`; } for i in 0..2_000 { print(line); }")
        assert done.content["status"] == "ok" and len(done.text()) == 2_000 * 10_001
        assert kernel.alive()
        # It is cut off, and what waited for it is freed.
        process = psutil.Process(kernel.pid)
        ports = lambda: [c for c in process.net_connections("tcp") if c.raddr and c.raddr.port and c.laddr.port == info["iopub_port"]]
        before = len(ports())
        end = time.monotonic() + PATIENCE
        while len(ports()) >= before and time.monotonic() < end:
            time.sleep(0.5)
        assert len(ports()) < before
        frozen.send_signal(signal.SIGCONT)
        assert kernel.alive()
    finally:
        frozen.kill()
        frozen.wait()


def test_memory_does_not_grow_with_cells():
    kernel = Kernel()
    try:
        process = psutil.Process(kernel.pid)
        cell = "let x = randn([100, 100]); let y = x.matmul(x); print(`cell`); y.sum().item() > -1e9"

        def some(n):
            for _ in range(n):
                assert kernel.run(cell).result() == "true"
            return process.memory_info().rss

        warm = some(500)
        grown = some(2_000) - warm
        # What is kept of a cell: its text, for errors to quote. A leaked tensor or message would be tens of MB.
        assert grown < 8 << 20, f"{grown / 2**20:.1f} MiB in 2,000 cells"
    finally:
        kernel.stop()


def test_panics_and_overflows_are_errors(kernel):
    deep = kernel.run("fn f(n) { f(n + 1) } f(0)")
    assert deep.content["status"] == "error" and kernel.alive()
    nested = kernel.run("[" * 5_000)
    assert nested.content["status"] == "error" and kernel.alive()
    large = kernel.run("zeros([1_000_000, 1_000_000])")
    assert large.content["ename"] == "limit error" and kernel.alive()
