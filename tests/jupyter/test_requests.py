"""Every request that the protocol defines, and the fields that clients use of it."""

import time

import pytest
from conftest import PATIENCE, Kernel, wait


def test_kernel_info(shared):
    info = shared.ask("kernel_info_request").content
    assert info["status"] == "ok"
    assert tuple(map(int, info["protocol_version"].split("."))) >= (5, 4)
    assert info["supported_features"] == ["kernel subshells"]
    language = info["language_info"]
    assert language["name"] == "rhai" and language["file_extension"] == ".rhai"
    assert language["mimetype"] == "text/x-rhai" and language["version"]
    assert all(link["text"] and link["url"].startswith("https://") for link in info["help_links"])
    assert shared.ask("kernel_info_request", channel="control").content["status"] == "ok"


def test_outputs_come_in_order_before_the_reply(shared):
    done = shared.run('print("a"); eprint("b"); print("c"); show([1]); 2')
    assert done.kinds() == ["execute_input", "stream", "stream", "stream", "display_data", "execute_result"]
    assert [c["text"] for c in done.of("stream")] == ["a\n", "b\n", "c\n"]
    count = done.content["execution_count"]
    assert done.of("execute_input")[0]["execution_count"] == count
    assert done.of("execute_result")[0]["execution_count"] == count
    assert all(m["parent_header"]["msg_id"] == done.reply["parent_header"]["msg_id"] for m in done.outputs)


def test_silent_and_uncounted_cells(shared):
    count = shared.run("1").content["execution_count"]
    silent = shared.run("let quiet = 5; quiet", silent=True)
    assert silent.content["execution_count"] == count and silent.kinds() == []
    uncounted = shared.run("quiet", store_history=False)
    assert uncounted.content["execution_count"] == count and uncounted.result() == "5"
    assert shared.run("2").content["execution_count"] == count + 1
    assert shared.run("").content["execution_count"] == count + 1


def test_user_expressions(shared):
    wanted = {"sum": "1 + 1", "bad": "no_such", "unit": "()"}
    found = shared.run("let e = 1;", user_expressions=wanted).content["user_expressions"]
    assert found["sum"] == {"status": "ok", "data": {"text/plain": "2"}, "metadata": {}}
    assert found["bad"]["status"] == "error" and found["bad"]["ename"] == "name error"
    assert found["unit"]["status"] == "ok"


def test_an_error_tells_where(shared):
    done = shared.run("let a = 1;\nlet b = nowhere + a;")
    assert done.content["status"] == "error" and done.content["ename"] == "name error"
    (error,) = done.of("error")
    assert set(error) == {"ename", "evalue", "traceback"}
    text = "\n".join(error["traceback"])
    assert "\x1b[1;31m" in text and "nowhere" in text and ":2:9" in text
    assert f"cell {done.content['execution_count']}" in text


def test_completion_counts_code_points(shared):
    # A combining mark and an emoji are one code point each, in UTF-16 the latter two.
    code = 'let e\u0301 = "🎲"; data::checkerb + 1'
    cursor = code.index("checkerb") + len("checkerb")
    found = shared.ask("complete_request", code=code, cursor_pos=cursor).content
    assert found["matches"] == ["checkerboard"]
    assert (found["cursor_start"], found["cursor_end"]) == (cursor - len("checkerb"), cursor)
    (kind,) = found["metadata"]["_jupyter_types_experimental"]
    assert kind["type"] == "function" and kind["text"] == "checkerboard" and "checkerboard(" in kind["signature"]
    assert (kind["start"], kind["end"]) == (found["cursor_start"], found["cursor_end"])


@pytest.mark.parametrize("cursor", [None, -1, 10**9, "x"])
def test_cursors_out_of_range_mean_the_end(shared, cursor):
    found = shared.ask("complete_request", code="linsp", cursor_pos=cursor).content
    assert found["status"] == "ok" and found["matches"] == ["linspace"]


def test_completion_of_options_and_variables(shared):
    shared.run("let some_tensor = zeros([2, 3]);")
    found = shared.ask("complete_request", code="some_t", cursor_pos=6).content
    assert found["matches"] == ["some_tensor"]
    assert "Tensor [2, 3]" in found["metadata"]["_jupyter_types_experimental"][0]["signature"]
    code = "flow::rectified(#{ hid"
    assert shared.ask("complete_request", code=code, cursor_pos=len(code)).content["matches"] == ["hidden: "]


def test_inspection_has_text_and_html(shared):
    code = 'print("🎲"); flow::rectified(#{ dim: 2 })'
    found = shared.ask("inspect_request", code=code, cursor_pos=code.index("rectified") + 2, detail_level=0).content
    assert found["found"]
    assert "rectified" in found["data"]["text/plain"]
    html = found["data"]["text/html"]
    assert "<table>" in html and "<code>" in html and "<script" not in html
    missing = shared.ask("inspect_request", code="nobody_knows_me", cursor_pos=3).content
    assert missing["status"] == "ok" and not missing["found"] and missing["data"] == {}


def test_is_complete(shared):
    def ask(code):
        content = shared.ask("is_complete_request", code=code).content
        return content["status"], content.get("indent")

    assert ask("let x = 1") == ("complete", None)
    assert ask("for i in 0..3 {") == ("incomplete", "    ")
    assert ask("let = ") == ("invalid", None)


def test_a_name_with_a_question_mark_opens_the_pager(shared):
    for code in ["?linspace", "linspace?", " ? data::moons "]:
        done = shared.run(code)
        (page,) = done.content["payload"]
        assert page["source"] == "page" and page["start"] == 0
        assert code.strip(" ?") in page["data"]["text/plain"]
        assert done.kinds() == ["execute_input"]
    wrong = shared.run("?linspac")
    assert wrong.content["status"] == "error" and "linspace" in "".join(wrong.content["traceback"])


def test_comms(shared):
    def comms(**content):
        return shared.ask("comm_info_request", **content).content["comms"]

    assert comms() == {}
    ident = shared.send("comm_open", dict(comm_id="w", target_name="jupyter.widget", data={}))
    assert [(m["msg_type"], m["content"]["comm_id"]) for m in shared.outputs_of(ident)] == [("comm_close", "w")]
    shared.run("let watched = 3;")
    ident = shared.send("comm_open", dict(comm_id="v", target_name="rhapsode.variables", data={}))
    (first,) = shared.outputs_of(ident)
    rows = {row["name"]: row for row in first["content"]["data"]["variables"]}
    assert rows["watched"]["type"] == "int" and rows["watched"]["summary"] == "3"
    assert comms() == {"v": {"target_name": "rhapsode.variables"}}
    assert comms(target_name="other") == {}
    shared.run("let watched = 4;")
    told = wait(shared.client.get_iopub_msg, lambda m: m["msg_type"] == "comm_msg")
    assert told["parent_header"] == {}
    ident = shared.send("comm_close", dict(comm_id="v", data={}))
    shared.outputs_of(ident)
    assert comms() == {}


def test_a_question_is_answered(shared):
    ident = shared.start('let name = input("Name: "); print(`hello ${name}`)', allow_stdin=True)
    question = shared.client.get_stdin_msg(timeout=PATIENCE)
    assert question["msg_type"] == "input_request" and question["parent_header"]["msg_id"] == ident
    assert question["content"] == {"prompt": "Name: ", "password": False}
    shared.client.input("Ada 🎲")
    assert shared.reply_to(ident)["content"]["status"] == "ok"
    assert shared.outputs_of(ident)[-1]["content"]["text"] == "hello Ada 🎲\n"
    ident = shared.start('password("Key: ")', allow_stdin=True)
    assert shared.client.get_stdin_msg(timeout=PATIENCE)["content"] == {"prompt": "Key: ", "password": True}
    shared.client.input("secret")
    shared.reply_to(ident)
    refused = shared.run('input("Name: ")', allow_stdin=False)
    assert refused.content["ename"] == "io error"


def test_an_interrupt_ends_a_question(shared):
    ident = shared.start('input("Name: ")', allow_stdin=True)
    shared.client.get_stdin_msg(timeout=PATIENCE)
    shared.ask("interrupt_request", channel="control")
    assert shared.reply_to(ident)["content"]["ename"] == "interrupted"
    # A late answer meets nobody.
    shared.client.input("late")
    assert shared.alive()


def test_an_error_aborts_what_is_queued(shared):
    cells = [shared.start(code) for code in ["sleep(0.3); no_such", "1", "2"]]
    states = [shared.reply_to(ident)["content"]["status"] for ident in cells]
    assert states == ["error", "aborted", "aborted"]
    # What is sent after the error is run, however soon.
    assert shared.run("3").content["status"] == "ok"


def test_run_all_stops_at_an_error_that_comes_at_once(shared):
    # Sent one by one as Lab does; the first is answered before the second has arrived.
    messages = []
    for code in ["no_such", "1", "2"]:
        content = dict(code=code, silent=False, store_history=True, user_expressions={}, allow_stdin=False)
        messages.append(shared.client.session.msg("execute_request", content))
    for message in messages:
        shared.client.shell_channel.send(message)
        time.sleep(0.005)
    states = [shared.reply_to(m["header"]["msg_id"])["content"]["status"] for m in messages]
    assert states == ["error", "aborted", "aborted"]


def test_without_stop_on_error_the_queue_goes_on(shared):
    cells = [shared.start(code, stop_on_error=False) for code in ["sleep(0.2); no_such", "1"]]
    states = [shared.reply_to(ident)["content"]["status"] for ident in cells]
    assert states == ["error", "ok"]


def test_a_print_loop_is_gathered_and_in_order(shared):
    done = shared.run("for i in 0..100_000 { print(i); }")
    assert done.text() == "".join(f"{i}\n" for i in range(100_000))
    assert len(done.of("stream")) < 2_000


def test_requests_without_their_optional_fields(shared):
    # Old jupyter_client leaves out stop_on_error, Lab's history search `n` and `unique`.
    ident = shared.send("execute_request", {"code": "1 + 2"})
    assert shared.reply_to(ident)["content"]["status"] == "ok"
    for kind in ["complete_request", "inspect_request", "is_complete_request", "history_request", "comm_info_request"]:
        assert shared.ask(kind).content["status"] in ("ok", "complete"), kind


def test_history_is_kept_across_restarts(kernel):
    kernel.run("let kept_by_history = 1;")
    kernel.run("kept_by_history")
    kernel.stop()
    again = Kernel()
    try:
        search = dict(hist_access_type="search", pattern="*kept_by_history*", output=True, raw=True)
        rows = again.ask("history_request", **search).content["history"]
        assert [row[2] for row in rows[-2:]] == [["let kept_by_history = 1;", None], ["kept_by_history", "1"]]
        before = again.ask("history_request", hist_access_type="range", session=-1, start=1, stop=3).content["history"]
        assert [row[1:] for row in before] == [[1, "let kept_by_history = 1;"], [2, "kept_by_history"]]
    finally:
        again.stop()
