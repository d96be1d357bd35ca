"""A Pygments lexer for Rhai, so that nbconvert and Sphinx colour it. Cells may hold magics."""

from pygments.lexer import RegexLexer, bygroups, words
from pygments.token import (
    Comment,
    Keyword,
    Name,
    Number,
    Operator,
    Punctuation,
    String,
    Text,
    Whitespace,
)

__all__ = ["RhaiLexer"]

KEYWORDS = (
    "if", "else", "switch", "do", "while", "until", "loop", "for", "in", "continue", "break", "return",
    "throw", "try", "catch", "import", "export", "as", "private", "global",
)
FUNCTIONS = (
    "print", "eprint", "debug", "type_of", "show", "help", "vars", "input", "password", "call", "curry",
    "is_def_fn", "is_def_var", "is_shared",
)
NAME = r"[^\W\d]\w*"


class RhaiLexer(RegexLexer):
    """Rhai (https://rhai.rs), with the operators and magics of Rhapsode."""

    name = "Rhai"
    aliases = ["rhai"]
    filenames = ["*.rhai"]
    mimetypes = ["text/x-rhai"]
    url = "https://rhai.rs"

    tokens = {
        "root": [
            # A magic takes its line, or its cell.
            (r"\A(\s*)(%%(?:bash|html|markdown|latex|writefile|rust)\b)(.*\n?)((?:.*\n?)*)",
             bygroups(Whitespace, Keyword.Pseudo, String, Text)),
            (r"^([ \t]*)(%%?[a-z]\w*)", bygroups(Whitespace, Keyword.Pseudo)),
            (r"^([ \t]*)(!)(?=[a-z./~])(.*)", bygroups(Whitespace, Keyword.Pseudo, String)),
            (r"^([ \t]*)(\?\??)(.*)", bygroups(Whitespace, Keyword.Pseudo, Name)),
            (r"\s+", Whitespace),
            (r"//[/!].*", Comment.Special),
            (r"//.*", Comment.Single),
            (r"/\*", Comment.Multiline, "comment"),
            (r'"', String.Double, "string"),
            (r"`", String.Backtick, "template"),
            (r"'(?:\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}|\\.|[^\\'\n])'", String.Char),
            # `#"raw"#`, with as many signs at the end as at the beginning.
            (r'(#+)"(?:.|\n)*?"\1', String.Other),
            (r"(fn)(\s+)(" + NAME + ")", bygroups(Keyword.Declaration, Whitespace, Name.Function)),
            (words(("let", "const", "fn"), suffix=r"\b"), Keyword.Declaration),
            (words(("true", "false"), suffix=r"\b"), Keyword.Constant),
            (r"this\b", Name.Builtin.Pseudo),
            (words(KEYWORDS, suffix=r"\b"), Keyword),
            (words(FUNCTIONS, suffix=r"(?=\s*\()"), Name.Builtin),
            (r"(" + NAME + r")(\s*)(::)", bygroups(Name.Namespace, Whitespace, Punctuation)),
            (r"(" + NAME + r")(\s*)(:)(?!:)", bygroups(Name.Attribute, Whitespace, Punctuation)),
            (NAME + r"(?=\s*\()", Name.Function),
            (NAME, Name),
            (r"0x[0-9a-fA-F_]+", Number.Hex),
            (r"0o[0-7_]+", Number.Oct),
            (r"0b[01_]+", Number.Bin),
            # Not the range of `0..10`.
            (r"\d[\d_]*(?:\.(?!\.|[^\W\d])[\d_]*(?:[eE][+-]?\d+)?|[eE][+-]?\d+)", Number.Float),
            (r"\d[\d_]*", Number.Integer),
            (r"#\{", Punctuation),
            (r"\.\.=?|\?\.|\?\?|\?\[", Operator),
            (r"[-+*/%=<>!&|^~@?]+", Operator),
            (r"[\[\](){},;:.$#]", Punctuation),
        ],
        "comment": [
            (r"[^*/]+", Comment.Multiline),
            (r"/\*", Comment.Multiline, "#push"),
            (r"\*/", Comment.Multiline, "#pop"),
            (r"[*/]", Comment.Multiline),
        ],
        "string": [
            (r'"', String.Double, "#pop"),
            (r"\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}|\\(?:.|\n)", String.Escape),
            (r'[^"\\]+', String.Double),
        ],
        "template": [
            (r"``", String.Escape),
            (r"`", String.Backtick, "#pop"),
            (r"\$\{", String.Interpol, "interpolation"),
            (r"[^`$]+", String.Backtick),
            (r"\$", String.Backtick),
        ],
        "interpolation": [
            (r"\}", String.Interpol, "#pop"),
            (r"#?\{", Punctuation, "braces"),
            (r"(?![}])", Text, "interpolated"),
        ],
        "interpolated": [
            (r"(?=\})", Text, "#pop"),
            (r"#?\{", Punctuation, "braces"),
        ],
        "braces": [
            (r"\}", Punctuation, "#pop"),
            (r"#?\{", Punctuation, "#push"),
        ],
    }
    # Inside of `${..}` and its braces stands what stands elsewhere, but for lines of magics.
    _code = tokens["root"][4:]
    tokens["interpolated"] = tokens["interpolated"] + _code
    tokens["braces"] = tokens["braces"] + _code
    del _code
