"""Start, end, restart, crash; the kernelspec; SIGINT; the parent's death."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import PATIENCE, PROGRAM, Kernel
from jupyter_client.kernelspec import KernelSpecManager


def gone(pid):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_a_restart_is_clean(kernel):
    kernel.run("let x = 1;")
    kernel.manager.restart_kernel()
    kernel.client.wait_for_ready(timeout=PATIENCE)
    done = kernel.run("x")
    assert done.content["ename"] == "name error" and done.text("stderr") == ""
    assert done.content["execution_count"] == 1


def test_shutdown_is_answered_also_while_a_cell_runs(kernel):
    kernel.start("loop { }")
    ident = kernel.send("shutdown_request", {"restart": False}, channel="control")
    reply = kernel.reply_to(ident, "control")
    assert reply["content"] == {"status": "ok", "restart": False}
    assert gone(kernel.pid)


def test_after_a_crash_the_first_cell_says_what_happened(kernel):
    kernel.run("let x = 1;")
    os.kill(kernel.pid, signal.SIGKILL)
    kernel.manager.provisioner.process.wait()
    kernel.client.stop_channels()
    # As the restarter of a server does: the same connection file again.
    kernel.manager.restart_kernel(now=True)
    kernel.client = kernel.connect()
    first = kernel.run("1")
    assert "had ended unexpectedly" in first.text("stderr") and first.result() == "1"
    assert kernel.run("2").text("stderr") == ""


# Starts a kernel as a server does, then dies without a word.
ORPHAN = """
import os, sys
from jupyter_client.manager import KernelManager
manager = KernelManager(kernel_name="rhapsode")
manager.start_kernel()
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=100)
print(manager.provisioner.pid, flush=True)
os._exit(1)
"""


def test_an_orphan_leaves():
    out = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, timeout=PATIENCE)
    assert gone(int(out.stdout))


def program(*args, **env):
    return subprocess.run([PROGRAM, "kernel", *args], capture_output=True, text=True, env={**os.environ, **env})


def test_kernelspecs_are_installed_and_removed(tmp_path):
    data = tmp_path / "data"
    done = program("install", "--user", "--name", "mine", "--display-name", "Mine", JUPYTER_DATA_DIR=str(data))
    assert done.returncode == 0, done.stderr
    folder = data / "kernels" / "mine"
    spec = json.loads((folder / "kernel.json").read_text())
    assert Path(spec["argv"][0]).is_absolute() and spec["argv"][1:] == ["kernel", "start", "{connection_file}"]
    assert spec["display_name"] == "Mine" and spec["interrupt_mode"] == "message" and spec["language"] == "rhai"
    assert (folder / "logo-svg.svg").exists() and (folder / "logo-64x64.png").exists()
    done = program("uninstall", "--user", "--name", "mine", JUPYTER_DATA_DIR=str(data))
    assert done.returncode == 0 and not folder.exists()
    done = program("uninstall", "--user", "--name", "mine", JUPYTER_DATA_DIR=str(data))
    assert done.returncode == 1 and "there is no kernel `mine`" in done.stderr


def test_a_prefix_is_searched_by_jupyter(tmp_path):
    assert program("install", "--prefix", str(tmp_path)).returncode == 0
    found = KernelSpecManager(kernel_dirs=[str(tmp_path / "share/jupyter/kernels")]).get_kernel_spec("rhapsode")
    assert found.display_name == "Rhapsode"
    environment = tmp_path / "environment"
    assert program("install", "--sys-prefix", VIRTUAL_ENV=str(environment)).returncode == 0
    assert (environment / "share/jupyter/kernels/rhapsode/kernel.json").exists()


def test_names_that_are_none_are_refused(tmp_path):
    done = program("install", "--prefix", str(tmp_path), "--name", "../x")
    assert done.returncode == 1 and "no name of a kernel" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"shell_port": "x"}'])
def test_a_connection_file_that_is_none(tmp_path, text):
    file = tmp_path / "connection.json"
    file.write_text(text)
    done = program("start", str(file))
    assert done.returncode == 1 and "the connection file" in done.stderr
    missing = program("start", str(tmp_path / "missing.json"))
    assert missing.returncode == 1 and "missing.json" in missing.stderr
