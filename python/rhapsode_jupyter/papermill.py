"""Parameters of papermill for notebooks in Rhai: `papermill in.ipynb out.ipynb -p lr 0.1`.

papermill has no entry point for translators, but imports all of its engines when it starts: importing this module
registers the translator.
"""

import math
import re

from papermill.engines import NBClientEngine
from papermill.models import Parameter
from papermill.translators import Translator, papermill_translators

__all__ = ["Engine", "RhaiTranslator"]


class RhaiTranslator(Translator):
    """Values of Python as Rhai."""

    # `let lr = 1e-3; // float: learning rate`
    PARAMETER = re.compile(
        r"^\s*(?:let|const)\s+(?P<name>[^\W\d]\w*)\s*=\s*(?P<value>.*?)\s*;"
        r"\s*(?://\s*(?:(?P<type>[a-z]+)\s*:)?\s*(?P<help>.*))?$"
    )

    @classmethod
    def translate_none(cls, val):
        return "()"

    @classmethod
    def translate_int(cls, val):
        if not -(2**63) <= val < 2**63:
            raise ValueError(f"{val} does not fit an integer of 64 bits")
        return str(val)

    @classmethod
    def translate_float(cls, val):
        if math.isnan(val):
            return "(0.0 / 0.0)"
        if math.isinf(val):
            return "(1.0 / 0.0)" if val > 0 else "(-1.0 / 0.0)"
        return repr(float(val))

    @classmethod
    def translate_escaped_str(cls, str_val):
        signs = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
        return '"' + "".join(signs.get(sign, sign) for sign in str(str_val)) + '"'

    @classmethod
    def translate_list(cls, val):
        return "[" + ", ".join(cls.translate(item) for item in val) + "]"

    @classmethod
    def translate_dict(cls, val):
        entries = (f"{cls.translate_escaped_str(key)}: {cls.translate(item)}" for key, item in val.items())
        return "#{ " + ", ".join(entries) + " }" if val else "#{}"

    @classmethod
    def comment(cls, cmt_str):
        return f"// {cmt_str}".strip()

    @classmethod
    def assign(cls, name, str_val):
        return f"let {name} = {str_val};"

    @classmethod
    def inspect(cls, parameters_cell):
        """The parameters that a cell declares, a line each, for `papermill --help-notebook`."""
        found = []
        for line in parameters_cell["source"].splitlines():
            match = cls.PARAMETER.match(line)
            if match:
                kind = match["type"] or "None"
                found.append(Parameter(match["name"], kind, match["value"], match["help"] or ""))
        return found


papermill_translators.register("rhai", RhaiTranslator)


class Engine(NBClientEngine):
    """The engine that papermill has anyway: `--engine rhapsode` changes nothing but is not wrong."""
