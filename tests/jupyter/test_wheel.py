"""The wheel: built from this tree, installed into a fresh environment, and there at once."""

import json
import os
import pathlib
import pwd
import subprocess
import sys
import venv
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code", "execution_count": None, "id": "a", "metadata": {"tags": ["parameters"]},
            "outputs": [], "source": "let lr = 0.5; // float: learning rate",
        },
        {"cell_type": "code", "execution_count": None, "id": "b", "metadata": {}, "outputs": [], "source": "lr * 2.0"},
    ],
    "metadata": {"kernelspec": {"display_name": "Rhapsode", "language": "rhai", "name": "rhapsode"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def run(command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # The profile that the tests have built already: nothing is compiled anew.
    out = tmp_path_factory.mktemp("wheel")
    # The tests of the kernel have a home of their own; cargo and its registry are in the user's.
    environment = {**os.environ, "HOME": pwd.getpwuid(os.getuid()).pw_dir}
    environment.setdefault("CARGO_TARGET_DIR", str(ROOT / "target"))
    command = [sys.executable, "-m", "maturin", "build", "--profile", "dev", "--out", out, "--compatibility", "linux"]
    run(command, cwd=ROOT, env=environment)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    tools = ["jupyter-client", "nbconvert", "papermill", "nbclient"]
    run([python, "-m", "pip", "install", "--quiet", *tools])
    run([python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel])
    return folder


def clean(folder):
    """The variables of a user who has nothing but this environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "VIRTUAL_ENV", "XDG"))}
    return {**kept, "HOME": str(folder), "PATH": f"{folder / 'bin'}:/usr/bin:/bin"}


def test_what_is_in_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for end in ["scripts/rhapsode", "kernels/rhapsode/kernel.json", "kernels/rhapsode/logo-svg.svg",
                "kernels/rhapsode/logo-64x64.png", "rhapsode_jupyter/lexer.py", "rhapsode_jupyter/papermill.py"]:
        assert any(name.endswith(end) for name in names), (end, names)
    assert wheel.name.startswith("rhapsode-") and "py3-none-" in wheel.name


def test_the_kernel_is_offered_at_once(environment):
    specs = json.loads(run([environment / "bin" / "jupyter-kernelspec", "list", "--json"], env=clean(environment)))
    spec = specs["kernelspecs"]["rhapsode"]
    assert spec["spec"]["display_name"] == "Rhapsode"
    program = spec["spec"]["argv"][0].replace("{resource_dir}", spec["resource_dir"])
    assert pathlib.Path(program).resolve() == (environment / "bin" / "rhapsode").resolve()
    assert run([program, "--version"]).startswith("rhapsode ")


def test_papermill_takes_parameters(environment, tmp_path):
    source, target = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    source.write_text(json.dumps(NOTEBOOK))
    papermill = environment / "bin" / "papermill"
    assert "lr: float (default 0.5)" in run([papermill, "--help-notebook", source], env=clean(environment))
    run([papermill, source, target, "-p", "lr", "4"], env=clean(environment), cwd=tmp_path)
    cells = json.loads(target.read_text())["cells"]
    assert cells[1]["metadata"]["tags"] == ["injected-parameters"]
    assert "".join(cells[2]["outputs"][0]["data"]["text/plain"]) == "8.0"
    assert json.loads(target.read_text())["metadata"]["language_info"]["pygments_lexer"] == "rhai"


def test_nbconvert_highlights(environment, tmp_path):
    source = tmp_path / "in.ipynb"
    language = {"name": "rhai", "pygments_lexer": "rhai"}
    source.write_text(json.dumps({**NOTEBOOK, "metadata": {"language_info": language}}))
    run([environment / "bin" / "jupyter-nbconvert", "--to", "html", source], env=clean(environment), cwd=tmp_path)
    page = (tmp_path / "in.html").read_text()
    assert '<span class="kd">let</span>' in page and '<span class="mf">0.5</span>' in page
