"""The lexer: every character comes out again, and what matters has its colour."""

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

from pygments.token import Comment, Error, Keyword, Name, Number, String, Token  # noqa: E402
from rhapsode_jupyter.lexer import RhaiLexer  # noqa: E402


def tokens(code):
    return [(kind, text) for kind, text in RhaiLexer().get_tokens(code) if text.strip()]


SCRIPTS = sorted((ROOT / "scripts").glob("*.rhai")) + sorted((ROOT / "tests" / "suite").rglob("*.rhai"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_of_ours_have_no_error_and_lose_nothing(path):
    text = path.read_text()
    if path.stem == "syntax":
        # Its cells are wrong on purpose.
        return
    found = list(RhaiLexer(stripnl=False, ensurenl=False).get_tokens(text))
    assert "".join(piece for _, piece in found) == text
    wrong = [piece for kind, piece in found if kind is Error]
    assert not wrong or path.is_relative_to(ROOT / "tests"), wrong


def test_names_numbers_and_texts():
    found = tokens('let x = flow::rectified(#{ dim: 2, lr: 1e-3 }); // why\nx.t("a\\n")')
    assert (Keyword.Declaration, "let") in found
    assert (Name.Namespace, "flow") in found
    assert (Name.Function, "rectified") in found
    assert (Name.Attribute, "dim") in found
    assert (Number.Integer, "2") in found
    assert (Number.Float, "1e-3") in found
    assert (Comment.Single, "// why") in found
    assert (String.Escape, "\\n") in found


def test_a_range_is_no_float():
    assert [text for kind, text in tokens("0..10") if kind in Number] == ["0", "10"]
    assert (Number.Float, "1.5") in tokens("1.5")
    assert (Name.Function, "max") in tokens("1.max(2)")


def test_templates_hold_code_with_braces():
    found = tokens("`a ${#{ x: 1 }.x + f(`${y}`)} b` + 1")
    assert found[-1] == (Number.Integer, "1")
    assert (String.Interpol, "${") in found and (Name.Function, "f") in found
    assert Error not in [kind for kind, _ in found]


def test_comments_may_be_nested():
    assert tokens("/* a /* b */ c */ 1")[-1] == (Number.Integer, "1")


def test_magics():
    assert tokens("%time f(1)")[0] == (Keyword.Pseudo, "%time")
    assert tokens("!ls -l")[0] == (Keyword.Pseudo, "!")
    found = tokens("%%bash\necho it's\n")
    assert found[0] == (Keyword.Pseudo, "%%bash")
    assert (Token.Text, "echo it's\n") in found
    # A modulo at the beginning of a line.
    assert (Keyword.Pseudo, "%") not in tokens("let a = 7\n  % 4;")
