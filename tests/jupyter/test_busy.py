"""What works while a cell trains: interrupts, questions about code, subshells, the bar."""

import base64
import re
import signal
import statistics
import time

import pytest
from conftest import PATIENCE

SETUP = "seed(0); let data = data::moons(200); let m = flow::rectified(#{ dim: 2, hidden: [16] });"
TRAIN = "let run = m.fit(data, #{ steps: 100_000_000, batch: 16 });"


@pytest.fixture
def training(kernel):
    """A kernel in the middle of a training, and the request's id."""
    assert kernel.run(SETUP).content["status"] == "ok"
    ident = kernel.start(TRAIN)
    kernel.output_of(ident, "display_data")
    yield kernel, ident


def test_control_heartbeat_completion_and_inspection_answer(training):
    kernel, ident = training
    assert kernel.ask("kernel_info_request", channel="control").content["status"] == "ok"
    assert kernel.client.is_alive()
    found = kernel.ask("complete_request", code="m.samp", cursor_pos=6).content
    assert found["matches"] == ["sample", "sample_with_log_prob"]
    names = kernel.ask("complete_request", code="dat", cursor_pos=3).content["matches"]
    assert "data" in names
    help = kernel.ask("inspect_request", code="m.fit", cursor_pos=5).content
    assert help["found"] and "fit" in help["data"]["text/plain"]
    assert kernel.ask("is_complete_request", code="fn f() {").content["status"] == "incomplete"
    assert kernel.ask("history_request", hist_access_type="tail", n=1).content["status"] == "ok"
    kernel.ask("interrupt_request", channel="control")
    assert kernel.reply_to(ident)["content"]["ename"] == "interrupted"


def test_an_interrupt_keeps_the_run_and_it_goes_on(training):
    kernel, ident = training
    kernel.ask("interrupt_request", channel="control")
    assert kernel.reply_to(ident)["content"]["ename"] == "interrupted"
    before = int(kernel.run("run.steps").result())
    assert before > 0 and kernel.run("run.interrupted").result() == "true"
    assert kernel.run("run.more(5).steps").result() == str(before + 5)


def test_a_signal_interrupts_too(training):
    # Managers that do not know interrupt_mode "message" send SIGINT.
    kernel, ident = training
    kernel.manager.provisioner.process.send_signal(signal.SIGINT)
    assert kernel.reply_to(ident)["content"]["ename"] == "interrupted"
    kernel.manager.provisioner.process.send_signal(signal.SIGINT)
    assert kernel.alive()


@pytest.mark.parametrize("code", ["loop { }", "let x = 0; while true { x += 1; }", "sleep(1000)", TRAIN])
def test_interrupts_are_quick(kernel, code):
    kernel.run(SETUP)
    times = []
    for _ in range(9):
        ident = kernel.start(code)
        kernel.output_of(ident, "execute_input")
        started = time.perf_counter()
        kernel.send("interrupt_request", {}, channel="control")
        assert kernel.reply_to(ident)["content"]["ename"] == "interrupted"
        times.append(time.perf_counter() - started)
    print(f"{code}: median {statistics.median(times) * 1e3:.1f} ms")
    # 100 ms is what is promised; the median forgives a machine that is busy with something else.
    assert statistics.median(times) < 0.1


def test_an_interrupt_when_idle_does_not_hit_the_next_cell(kernel):
    kernel.ask("interrupt_request", channel="control")
    assert kernel.run("let n = 0; for i in 0..1000 { n += 1; } n").result() == "1000"


def subshell(kernel):
    return kernel.ask("create_subshell_request", channel="control").content["subshell_id"]


def beside(kernel, shell, code, **options):
    ident = kernel.start(code, header={"subshell_id": shell}, **options)
    reply = kernel.reply_to(ident)
    return reply["content"], kernel.outputs_of(ident)


def test_subshells_are_made_listed_and_deleted(kernel):
    ids = [subshell(kernel), subshell(kernel)]
    listed = kernel.ask("list_subshell_request", channel="control").content["subshell_id"]
    assert sorted(listed) == sorted(ids)
    assert kernel.ask("delete_subshell_request", channel="control", subshell_id=ids[0]).content["status"] == "ok"
    assert kernel.ask("list_subshell_request", channel="control").content["subshell_id"] == [ids[1]]
    again = kernel.ask("delete_subshell_request", channel="control", subshell_id=ids[0]).content
    assert again["status"] == "error"
    content, _ = beside(kernel, ids[0], "1")
    assert content["status"] == "error"
    # Lab opens one for each comm target: many are no burden.
    many = [subshell(kernel) for _ in range(20)]
    assert beside(kernel, many[-1], "40 + 2")[1][-1]["content"]["data"]["text/plain"] == "42"


def test_a_second_shell_works_while_the_first_trains(training):
    kernel, ident = training
    shell = subshell(kernel)
    content, outputs = beside(kernel, shell, "vars()")
    assert content["status"] == "ok"
    assert "RectifiedFlow" in outputs[-1]["content"]["data"]["text/plain"]
    content, outputs = beside(kernel, shell, "help(linspace)")
    assert "linspace" in outputs[-1]["content"]["data"]["text/plain"]
    # The model as it is learned just now.
    content, outputs = beside(kernel, shell, "plot::scatter(m.sample(20, #{ steps: 2 }))")
    assert content["status"] == "ok", content
    assert "image/svg+xml" in outputs[-1]["content"]["data"]
    content, _ = beside(kernel, shell, "let z = 7; fn twice(x) { 2 * x }")
    assert content["status"] == "ok"
    content, outputs = beside(kernel, shell, "running()[0].loss.len() > 0")
    assert outputs[-1]["content"]["data"]["text/plain"] == "true"
    error, _ = beside(kernel, shell, "no_such")
    assert error["ename"] == "name error"
    kernel.ask("interrupt_request", channel="control")
    assert kernel.reply_to(ident)["content"]["ename"] == "interrupted"
    kernel.outputs_of(ident)
    # What the subshell has made is there for all.
    assert kernel.run("twice(z)").result() == "14"
    assert kernel.run("running().len()").result() == "0"


def test_the_learning_rate_is_changed_while_it_trains(training):
    kernel, ident = training
    shell = subshell(kernel)
    content, outputs = beside(kernel, shell, "running()[0].set(#{ lr: 1e-5 }).metrics.lr")
    assert content["status"] == "ok", content
    taken = "sleep(0.5); running()[0].metrics.lr"
    assert beside(kernel, shell, taken)[1][-1]["content"]["data"]["text/plain"] == "0.00001"
    wrong, _ = beside(kernel, shell, "running()[0].set(#{ lr: -1.0 })")
    assert wrong["status"] == "error"
    kernel.ask("interrupt_request", channel="control")
    kernel.reply_to(ident)
    kernel.outputs_of(ident)
    assert kernel.run("run.metrics.lr").result() == "0.00001"


def test_a_question_of_one_shell_outlives_the_cells_of_another(kernel):
    shell = subshell(kernel)
    ident = kernel.start('let name = input("Name: "); name', allow_stdin=True)
    kernel.client.get_stdin_msg(timeout=PATIENCE)
    assert beside(kernel, shell, "1", allow_stdin=True)[0]["status"] == "ok"
    kernel.client.input("Ada")
    assert kernel.reply_to(ident)["content"]["status"] == "ok"
    assert kernel.run("name").result() == '"Ada"'


def test_subshells_see_changes_and_change_in_turn(kernel):
    shell = subshell(kernel)
    kernel.run("let a = 1; const C = 5; fn f() { a }")
    assert beside(kernel, shell, "a = 2; f() + C")[1][-1]["content"]["data"]["text/plain"] == "7"
    assert kernel.run("a").result() == "2"
    kernel.run("let a = 10; let m = flow::rectified(#{ hidden: [4] });")
    assert beside(kernel, shell, "f()")[1][-1]["content"]["data"]["text/plain"] == "10"
    beside(kernel, shell, "m = 3; let b = [1];")
    assert kernel.run("b.push(m); b").result() == "[1, 3]"
    assert beside(kernel, shell, "C = 6")[0]["status"] == "error"


def test_one_bar_is_updated_in_place_and_ends_as_a_line(kernel):
    kernel.run(SETUP)
    done = kernel.run('print("before"); m.fit(data, #{ steps: 2_000 }); print("after")')
    assert done.content["status"] == "ok"
    kinds = [kind for kind in done.kinds() if kind != "execute_input"]
    assert kinds[:2] == ["stream", "display_data"] and kinds[-1] == "stream"
    assert set(kinds[2:-1]) == {"update_display_data"} and "clear_output" not in kinds
    (first,) = done.of("display_data")
    updates = done.of("update_display_data")
    assert {u["transient"]["display_id"] for u in updates} == {first["transient"]["display_id"]}
    last = updates[-1]["data"]
    assert re.match(r"✓ fit rectified flow  2,000 steps in .* · loss ", last["text/plain"])
    html = last["text/html"]
    assert "2,000 steps" in html and "<script" not in html and "<style" not in html and "<svg" not in html
    picture = base64.b64decode(re.search(r"data:image/svg\+xml;base64,([^\"]+)", html)[1]).decode()
    assert picture.startswith("<svg") and picture.count(",") > 50
    # The first state has a bar.
    assert "<progress" in first["data"]["text/html"]


def test_an_interrupted_bar_says_so(training):
    kernel, ident = training
    kernel.ask("interrupt_request", channel="control")
    outputs = kernel.outputs_of(ident)
    last = [m for m in outputs if m["msg_type"] == "update_display_data"][-1]
    assert last["content"]["data"]["text/plain"].startswith("■ fit rectified flow  interrupted at step")


def test_a_loop_of_ones_own_has_a_bar_with_its_metrics(kernel):
    done = kernel.run('for i in progress(0..50, "mine") { log(#{ loss: 1.0 / (i + 1) }); sleep(0.005); }')
    last = done.of("update_display_data")[-1]["data"]
    assert last["text/plain"].startswith("✓ mine  50 steps in") and "<img" in last["text/html"]
