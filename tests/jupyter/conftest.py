"""A running kernel for the tests, and what they say to it."""

import os
import queue
import time

import pytest
from jupyter_client.manager import KernelManager

# How long a test waits for one message. Machines differ; a kernel that answers is far below it.
PATIENCE = 120
PROGRAM = os.environ.get("RHAPSODE", "rhapsode")


class Reply:
    """What one request brought: the reply and its outputs in order."""

    def __init__(self, reply, outputs):
        self.reply = reply
        self.content = reply["content"]
        self.outputs = outputs

    def kinds(self):
        return [m["msg_type"] for m in self.outputs]

    def of(self, kind):
        return [m["content"] for m in self.outputs if m["msg_type"] == kind]

    def text(self, name="stdout"):
        return "".join(c["text"] for c in self.of("stream") if c["name"] == name)

    def result(self):
        return self.of("execute_result")[0]["data"]["text/plain"]


class Kernel:
    """A kernel and a client of it."""

    def __init__(self, name="rhapsode", **options):
        self.manager = KernelManager(kernel_name=name)
        self.manager.start_kernel(**options)
        self.client = self.connect()

    def connect(self):
        client = self.manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE)
        return client

    @property
    def pid(self):
        return self.manager.provisioner.pid

    def send(self, kind, content, channel="shell", header=None):
        """Sends a request; gives its id."""
        message = self.client.session.msg(kind, content)
        message["header"].update(header or {})
        getattr(self.client, f"{channel}_channel").send(message)
        return message["header"]["msg_id"]

    def reply_to(self, ident, channel="shell"):
        return wait(getattr(self.client, f"get_{channel}_msg"), lambda m: m["parent_header"].get("msg_id") == ident)

    def outputs_of(self, ident):
        """The outputs of a request until it is idle, status messages aside."""
        found = []
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != ident:
                continue
            if message["msg_type"] != "status":
                found.append(message)
            elif message["content"]["execution_state"] == "idle":
                return found

    def output_of(self, ident, kind):
        """The next output of that kind."""
        return wait(
            self.client.get_iopub_msg,
            lambda m: m["parent_header"].get("msg_id") == ident and m["msg_type"] == kind,
        )

    def ask(self, kind, channel="shell", header=None, **content):
        """A request with its reply; its outputs are read too."""
        ident = self.send(kind, content, channel, header)
        return Reply(self.reply_to(ident, channel), self.outputs_of(ident))

    def start(self, code, header=None, **options):
        """Sends code to run; gives the request's id."""
        content = dict(code=code, silent=False, store_history=True, user_expressions={}, allow_stdin=False)
        return self.send("execute_request", {**content, **options}, header=header)

    def run(self, code, **options):
        ident = self.start(code, **options)
        return Reply(self.reply_to(ident), self.outputs_of(ident))

    def alive(self):
        return self.run("1 + 1").result() == "2"

    def stop(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def wait(get, wanted):
    """The first message that is wanted; others are dropped."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            message = get(timeout=1)
        except queue.Empty:
            continue
        if wanted(message):
            return message
    raise TimeoutError("no such message came")


@pytest.fixture
def kernel():
    """A kernel of the test's own."""
    kernel = Kernel()
    yield kernel
    kernel.stop()


@pytest.fixture(scope="module")
def shared():
    """One kernel for all tests of a file that leave nothing behind."""
    kernel = Kernel()
    yield kernel
    kernel.stop()
