"""The translator of parameters: values as the language writes them, and defaults as papermill lists them."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

from papermill.translators import papermill_translators  # noqa: E402
from rhapsode_jupyter.papermill import RhaiTranslator  # noqa: E402

VALUES = {
    "a": None,
    "b": True,
    "c": -3,
    "d": 1e-3,
    "e": 'say "hi"\\\n\t${x} äψ😀',
    "f": [1, [2.5, "x"]],
    "g": {"lr": 0.1, "a key": []},
    "h": {},
    "i": 1e300,
}


def test_values_are_written_as_the_language_reads_them():
    text = RhaiTranslator.codify(VALUES)
    assert text.splitlines() == [
        "// Parameters",
        "let a = ();",
        "let b = true;",
        "let c = -3;",
        "let d = 0.001;",
        'let e = "say \\"hi\\"\\\\\\n\\t${x} äψ😀";',
        'let f = [1, [2.5, "x"]];',
        'let g = #{ "lr": 0.1, "a key": [] };',
        "let h = #{};",
        "let i = 1e+300;",
    ]


def test_the_language_takes_them(tmp_path):
    program = os.environ.get("RHAPSODE_BIN") or os.environ["RHAPSODE"]
    script = tmp_path / "values.rhai"
    special = {"nan": float("nan"), "up": float("inf"), "down": float("-inf")}
    ask = "print(b, c, d, f, g.lr); print(i > 1e299, up, down, nan); print(e);"
    script.write_text(RhaiTranslator.codify({**VALUES, **special}) + "\n" + ask)
    done = subprocess.run([program, "run", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == 'true -3 0.001 [1, [2.5, "x"]] 0.1'
    assert lines[1] == "true inf -inf NaN"
    assert "\n".join(lines[2:]) == VALUES["e"]


def test_what_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="64 bits"):
        RhaiTranslator.codify({"n": 2**63})


def test_defaults_are_found_with_type_and_help():
    cell = {"source": "// about\nlet lr = 1e-3; // float: learning rate\nconst N = [1, 2];\nlet x = f(1); // why\nx"}
    found = [(p.name, p.inferred_type_name, p.default, p.help) for p in RhaiTranslator.inspect(cell)]
    assert found == [
        ("lr", "float", "1e-3", "learning rate"),
        ("N", "None", "[1, 2]", ""),
        ("x", "None", "f(1)", "why"),
    ]


def test_papermill_finds_it_by_the_language():
    assert papermill_translators.find_translator("some-name", "rhai") is RhaiTranslator
