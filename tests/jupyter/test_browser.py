"""A person's hour in JupyterLab, in a real browser: open, run all, look, complete, ask for help, interrupt, restart.

Screenshots of every station are kept below the build folder (`browser/`), for people to look at.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from conftest import PATIENCE
from playwright.sync_api import expect, sync_playwright

CELLS = [
    """seed(0);
let x = data::moons(500);
let figure = plot::scatter(x, #{ title: "two moons" });
figure""",
    """let model = flow::rectified(#{ dim: 2, hidden: [64, 64] });
let run = model.fit(x, #{ steps: 400, batch: 128 });
run.steps""",
    """plot::line(run.loss, #{ title: "loss", interactive: true })""",
    """x""",
    """print("done");""",
]
TOKEN = "t"
# All cells of the notebook in view: JupyterLab renders no others.
VIEWPORT = {"width": 1400, "height": 2600}
IDLE = ".jp-Notebook-ExecutionIndicator[data-status=idle]"
BUSY = ".jp-Notebook-ExecutionIndicator[data-status=busy]"


def chromium():
    """The browser that is installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url):
    """Waits until the server does."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            if time.monotonic() > end:
                raise


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab on the loopback, asking nobody for news; gives the address of a notebook with `CELLS`."""
    room = tmp_path_factory.mktemp("lab")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(code) for code in CELLS],
        metadata={"kernelspec": {"name": "rhapsode", "display_name": "Rhapsode", "language": "rhai"}},
    )
    nbformat.write(notebook, room / "hour.ipynb")
    settings = room / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    port = free_port()
    log = open(room / "server.log", "w")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
            f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}",
            f"--ServerApp.root_dir={room}", f"--LabApp.workspaces_dir={room / 'workspaces'}",
            f"--LabApp.user_settings_dir={room / 'settings'}", "--LabApp.extension_manager=readonly",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ],
        stdout=log, stderr=log,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        answers(f"{address}/api/status?token={TOKEN}")
        yield address, room / "hour.ipynb"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def page(server):
    address, _ = server
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        page = browser.new_page(viewport=VIEWPORT)
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(f"{address}/lab/tree/hour.ipynb?token={TOKEN}&reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
        # The indicator of the notebook says idle before there is a kernel; the status bar does not.
        page.wait_for_selector(".jp-StatusBar-Item:has-text('| Idle')")
        yield page
        browser.close()


def shot(page, name):
    """Keeps a picture for people."""
    target = os.environ.get("CARGO_TARGET_DIR") or pathlib.Path(__file__).parents[2] / "target"
    folder = pathlib.Path(target) / "browser"
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")


def cell(page, index):
    return page.locator(".jp-CodeCell").nth(index)


def run_all(page):
    page.click(".lm-MenuBar-item:has-text('Run')")
    page.click(".lm-Menu-item[data-command='runmenu:run-all']")
    for index in range(len(CELLS)):
        expect(cell(page, index).locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]"), timeout=PATIENCE * 1000)


def type_cell(page, code):
    """Writes code into a new cell at the end, and leaves the cursor in it."""
    cell(page, page.locator(".jp-CodeCell").count() - 1).click()
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.type(code)
    return cell(page, page.locator(".jp-CodeCell").count() - 1)


def test_run_all(page):
    run_all(page)
    shot(page, "run-all")
    # A figure as SVG, in a picture that holds what it says it holds.
    figure = cell(page, 0).locator(".jp-OutputArea-output[data-mime-type='image/svg+xml'] img")
    expect(figure).to_be_visible()
    assert figure.evaluate("image => image.naturalWidth") > 300
    # The bar of a training: it ends as static figures with a curve.
    bar = cell(page, 1).locator(".jp-OutputArea-output").first
    expect(bar).to_contain_text("400")
    expect(bar).to_contain_text("loss")
    # Vega-Lite draws.
    drawing = cell(page, 2).locator(".jp-OutputArea-output canvas, .jp-OutputArea-output svg")
    expect(drawing.first).to_be_visible()
    # A tensor is a table, text is text.
    expect(cell(page, 3).locator(".jp-OutputArea-output table").first).to_be_visible()
    expect(cell(page, 4).locator(".jp-OutputArea-output")).to_have_text("done\n")


def test_tab_completes(page):
    new = type_cell(page, "plot::sca")
    page.keyboard.press("Tab")
    # One name only is taken at once; several are offered.
    page.wait_for_function(
        "() => document.querySelector('.jp-Completer .jp-Completer-item') || document.body.innerText.includes('plot::scatter(') "
    )
    shot(page, "completion")
    if page.locator(".jp-Completer .jp-Completer-item").count():
        page.keyboard.press("Enter")
    expect(new.locator(".cm-content")).to_contain_text("plot::scatter")


def test_shift_tab_explains(page):
    type_cell(page, "flow::rectified")
    page.keyboard.press("Shift+Tab")
    page.wait_for_selector(".jp-Tooltip")
    shot(page, "help")
    expect(page.locator(".jp-Tooltip")).to_contain_text("hidden")
    page.keyboard.press("Escape")


def test_interrupt_keeps_the_model(page):
    training = type_cell(page, "let long = model.fit(x, #{ steps: 10_000_000 });")
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector(BUSY)
    expect(training.locator(".jp-OutputArea-output").first).to_contain_text("loss", timeout=PATIENCE * 1000)
    shot(page, "training")
    page.click("[data-jp-item-name=interrupt] >> visible=true")
    page.wait_for_selector(IDLE)
    shot(page, "interrupted")
    after = type_cell(page, "long.interrupted && long.steps > 0")
    page.keyboard.press("Shift+Enter")
    expect(after.locator(".jp-OutputArea-output")).to_contain_text("true")


def test_restart_begins_anew(page):
    page.click("[data-jp-item-name=restart] >> visible=true")
    page.click(".jp-Dialog .jp-mod-accept")
    page.wait_for_selector(".jp-StatusBar-Item:has-text('| Idle')")
    after = type_cell(page, "x")
    page.keyboard.press("Shift+Enter")
    expect(after.locator(".jp-OutputArea-output")).to_contain_text("unknown variable `x`")
    shot(page, "restarted")


def test_a_page_of_a_figure_zooms(page, server, tmp_path):
    """`figure.save("x.html")` opens without a server, asks nobody for anything, and zooms."""
    program = os.environ["RHAPSODE"]
    script = tmp_path / "page.rhai"
    script.write_text(f'seed(0); plot::scatter(data::moons(300), #{{ title: "moons" }}).save("{tmp_path}/moons.html");')
    subprocess.run([program, "run", script], check=True, cwd=tmp_path)
    asked = []
    other = page.context.browser.new_page()
    other.on("request", lambda request: asked.append(request.url))
    other.goto(f"file://{tmp_path}/moons.html")
    svg = other.locator("svg").first
    before = svg.evaluate("node => node.outerHTML")
    svg.hover()
    other.mouse.wheel(0, -300)
    other.wait_for_function("before => document.querySelector('svg').outerHTML !== before", arg=before)
    shot(other, "page")
    assert all(url.startswith("file:") or url.startswith("data:") for url in asked), asked
    other.close()
