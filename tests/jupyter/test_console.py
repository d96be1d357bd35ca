"""jupyter console in a pseudo-terminal, as a user types."""

import sys

import pexpect
import pytest
from conftest import PATIENCE


@pytest.fixture
def console():
    child = pexpect.spawn(
        sys.executable, ["-m", "jupyter_console", "--kernel", "rhapsode", "--simple-prompt"],
        encoding="utf-8", timeout=PATIENCE, dimensions=(40, 120), echo=False,
    )
    child.expect(r"In \[1\]: ")
    yield child
    child.close(force=True)


def test_results_prints_errors_and_input(console):
    console.sendline("6 * 7")
    console.expect(r"Out\[1\]: 42")
    console.expect(r"In \[2\]: ")
    console.sendline('print("hello");')
    console.expect("hello")
    console.expect(r"In \[3\]: ")
    console.sendline("no_such_name")
    console.expect("name error")
    console.expect(r"In \[4\]: ")
    console.sendline('print(`hello ${input("Who? ")}`);')
    console.expect(r"Who\? ")
    console.sendline("Ada")
    console.expect("hello Ada")
    console.expect(r"In \[5\]: ")
    console.sendline("plot::line([1.0, 3.0, 2.0])")
    console.expect(r"In \[6\]: ")


def test_ctrl_c_stops_a_training_that_can_go_on(console):
    console.sendline("let m = flow::rectified(#{ hidden: [16] }); let d = data::moons(100);")
    console.expect(r"In \[2\]: ")
    console.sendline("let run = m.fit(d, #{ steps: 100_000_000, batch: 16 });")
    console.expect("fit rectified flow")
    console.sendintr()
    console.expect("interrupted")
    console.expect(r"In \[3\]: ")
    console.sendline("run.more(5).interrupted")
    console.expect(r"Out\[3\]: false")
