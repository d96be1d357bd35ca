"""The notebooks of this repository with the tools that people run them with."""

import copy
import os
import pathlib
import re
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
sys.path.insert(0, str(ROOT / "python"))


def rounded(text):
    """Numbers to two digits: the last ones differ with the instructions that a machine has."""
    return re.sub(r"\d+\.\d{4,}", lambda number: f"{float(number[0]):.2g}", text)


def texts(cell):
    """What a cell prints and gives, without what depends on the clock."""
    found = []
    for output in cell.get("outputs", []):
        if output["output_type"] == "stream":
            found.append((output["name"], "".join(output["text"])))
        elif output["output_type"] == "error":
            found.append(("error", output["ename"], output["evalue"]))
        else:
            kinds = sorted(kind for kind in output["data"])
            text = "".join(output["data"]["text/plain"])
            # A model names the path that this machine takes: `(fused network, AVX-512)`.
            text = "\n".join(line for line in text.splitlines() if not line.startswith("  ("))
            # Drawings differ with the room: they are there.
            is_text = kinds in (["text/plain"], ["text/html", "text/plain"], ["text/markdown", "text/plain"])
            if " steps in " in text or " steps of " in text:
                # Whether short work shows a bar depends on the machine.
                continue
            found.append((kinds, rounded(text) if is_text else ""))
    return [(kind, *rest) if "took" not in "".join(map(str, rest)) else (kind,) for kind, *rest in found]


def test_there_are_some():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_valid(path):
    assert path.stat().st_size < 1_500_000
    nbformat.validate(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nbclient_gives_what_is_written(path):
    written = nbformat.read(path, as_version=4)
    fresh = copy.deepcopy(written)
    # A cell's code must not hang for ever; how long it takes is not measured.
    client = NotebookClient(fresh, timeout=600, kernel_name="rhapsode", resources={"metadata": {"path": path.parent}})
    client.execute()
    for old, new in zip(written.cells, fresh.cells):
        if old["source"].startswith("?"):
            # Help: the kernel opens the pager, `rhapsode run` writes it below the cell.
            continue
        assert texts(old) == texts(new), old["source"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nbconvert_makes_a_page(path, tmp_path):
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--output-dir", tmp_path, path]
    # The lexer of the wheel, without the wheel: an entry point in a folder of its own.
    info = tmp_path / "lexer" / "rhapsode_lexer-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rhapsode-lexer\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[pygments.lexers]\nrhai = rhapsode_jupyter.lexer:RhaiLexer\n")
    found = f"{ROOT / 'python'}{os.pathsep}{tmp_path / 'lexer'}"
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": found})
    assert done.returncode == 0, done.stderr
    page = (tmp_path / path.with_suffix(".html").name).read_text()
    assert '<span class="kd">let</span>' in page
    assert "<svg" in page or "image/png" in page


def test_papermill_runs_one_with_parameters(tmp_path):
    import papermill
    import rhapsode_jupyter.papermill  # noqa: F401

    # To papermill any error is the end, also one that is expected.
    tour = nbformat.read(ROOT / "notebooks" / "tour.ipynb", as_version=4)
    tour.cells = [c for c in tour.cells if "raises-exception" not in c["metadata"].get("tags", [])]
    source, target = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    nbformat.write(tour, source)
    papermill.execute_notebook(
        str(source), str(target), parameters={"steps": 3, "points": 100},
        kernel_name="rhapsode", cwd=str(tmp_path), progress_bar=False,
    )
    cells = nbformat.read(target, as_version=4).cells
    assert "let steps = 3;" in [c for c in cells if "injected-parameters" in c["metadata"].get("tags", [])][0]["source"]
    assert "with 3 steps of training" in str(cells[-1]["outputs"])
