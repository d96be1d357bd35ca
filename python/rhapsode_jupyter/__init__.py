"""What Python's Jupyter tools need to know of Rhapsode's language: a lexer for Pygments, a translator for papermill.

The kernel itself is the program `rhapsode`, which the same wheel brings. Neither tool is a dependency: each finds its
part by an entry point and imports it only then.
"""
