"""jupyter_kernel_test with every optional sample filled in: nothing that the protocol defines is skipped."""

import jupyter_kernel_test


class Conformance(jupyter_kernel_test.KernelTests):
    kernel_name = "rhapsode"
    language_name = "rhai"
    file_extension = ".rhai"

    code_hello_world = 'print("hello, world")'
    code_stderr = 'eprint("something is odd")'
    completion_samples = [
        {"text": "checkerb", "matches": set()},
        {"text": "data::checkerb", "matches": {"checkerboard"}},
        {"text": "linsp", "matches": {"linspace"}},
    ]
    complete_code_samples = ["1", "let x = 1;", "fn f(x) {\n  x + 1\n}", "// only a comment", ""]
    incomplete_code_samples = ["let x = (1 +", "fn f(x) {", "[1, 2,", "/* open", "`open"]
    invalid_code_samples = ["let = 3", "1 + + )", "fn {}"]
    code_page_something = "?linspace"
    code_generate_error = "no_such_name"
    code_execute_result = [
        {"code": "6 * 7", "result": "42"},
        {"code": '"a" + "b"', "result": '"ab"'},
        {"code": "[1, 2.5]", "result": "[1, 2.5]"},
        {"code": "plot::line([1.0, 2.0])", "mime": "image/svg+xml"},
        {"code": "plot::line([1.0, 2.0])", "mime": "image/png"},
    ]
    code_display_data = [
        {"code": "show(plot::line([1.0, 2.0]))", "mime": "image/svg+xml"},
        {"code": "help(linspace)", "mime": "text/markdown"},
        {"code": "let x = 1; vars();", "mime": "text/html"},
    ]
    code_history_pattern = "6 * ?"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "linspace"
    code_clear_output = "clear_output();"


class Welcome(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = "rhapsode"
    support_iopub_welcome = True
