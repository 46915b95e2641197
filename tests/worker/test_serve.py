import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from launcher.errors import EnvironmentUnfit, JobFailed, RequestError
from launcher.worker.serve import Settings, predictor
from launcher.worker.serve.predictor import Arrays, Input, Predictor
from launcher.worker.serve.server import Server
from launcher.worker.trained import Trained

from .serving import Client, doubling, served, until

ROOT = Path(__file__).parents[2]
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with served(doubling(), max_batch=4, max_body=500) as client:
        yield client


def linear() -> Trained:
    torch.manual_seed(3)
    return Trained(
        run_id="job-20261122T000000-00aa",
        checkpoint="step-00000001",
        step=1,
        name="",
        module=nn.Linear(3, 2).eval(),
        args=(torch.ones(4, 3),),
        kwargs={},
    )


def test_samples_are_computed(client: Client) -> None:
    assert client.post([[1, 2, 3], [0.5, 0, -1]]).body == {"outputs": [[[2, 4, 6], [1, 0, -2]]]}


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ([[1, 2]], "input: a sample has shape [2], and the model takes [3]"),
        ([1, 2, 3], "input: a sample has shape [], and the model takes [3]"),
        ([[1, 2, 3], [1]], "input: the samples are not all of one shape, [3]"),
        ([["a", "b", "c"]], "input holds something that is not a number"),
        ([[1, None, 3]], "input holds something that is not a number"),
        ([[True, True, True]], "input takes float32"),
        ([[1e300, 0, 0]], "input holds a number that is too large for float32"),
        ([], "input holds no sample"),
        ([[0, 0, 0]] * 5, "a request holds 1 to 4 samples, and this one 5"),
        ({"other": [[1, 2, 3]]}, "inputs holds the arrays input, each by its name"),
        ("text", "inputs holds the arrays input, each by its name"),
    ],
)
def test_what_cannot_be_computed_is_answered_with_why(client: Client, inputs: Any, sentence: str) -> None:
    answer = client.post(inputs)
    assert (answer.status, answer.body) == (422, {"detail": sentence})


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"inputs": [[NaN, 0, 0]]}', "NaN is not a number that can be computed with"),
        (b'{"inputs": [[Infinity, 0, 0]]}', "Infinity is not a number that can be computed with"),
        (b"{", "the body is not JSON"),
        (b"\xff\xfe", "the body is not"),
        (b"[" * 400, "the body is not"),
        (b'{"input": []}', 'the body is not {"inputs": …}'),
        (b"", "the body is not JSON"),
    ],
)
def test_a_body_that_is_no_request_is_answered_with_why(client: Client, body: bytes, sentence: str) -> None:
    answer = client.send(body)
    assert answer.status == 422 and sentence in answer.body["detail"]


def test_its_page_shows_the_request_and_asks_no_other_server(client: Client) -> None:
    shown = client.get("/docs").body
    assert "{&quot;inputs&quot;: [[" in shown and "the samples cannot be computed" in shown
    assert "//" not in shown and "connect-src 'self'" in shown


def test_a_body_has_a_cap_whether_or_not_it_says_its_length(client: Client) -> None:
    assert client.send(b" " * 501).status == 413
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as raw:
        raw.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1ff\r\n" + b" " * 511 + b"\r\n0\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 413")


def test_another_kind_of_body_is_refused(client: Client) -> None:
    assert client.send(b"x", Content_Type="text/plain").status == 415


def test_integers_do_not_wrap_around() -> None:
    inputs = (Input(name="input", dtype="uint8", shape=(None,)),)
    with served(Predictor(about="bytes", inputs=inputs, compute=lambda arrays: arrays)) as client:
        assert client.post([[255, 0]]).body == {"outputs": [[[255, 0]]]}
        assert "does not fit into uint8" in client.post([[256]]).body["detail"]
        assert "takes whole numbers" in client.post([[0.5]]).body["detail"]


def test_what_is_not_finite_is_null() -> None:
    with served(doubling(lambda arrays: [np.where(arrays[0] > 0, arrays[0], np.inf)])) as client:
        assert client.post([[1, 0, -1]]).body == {"outputs": [[[1, None, None]]]}


def test_a_model_that_cannot_make_its_first_prediction_is_not_served() -> None:
    def broken(arrays: Arrays) -> Arrays:
        raise IndexError("index out of range")

    server = Server(doubling(broken), Settings(port=0), ready=lambda _: None)
    with pytest.raises(JobFailed, match="first prediction failed: IndexError: index out of range"):
        server.serve_until_stopped()


def test_a_sample_that_the_model_refuses_costs_nobody_else_anything() -> None:
    def picky(arrays: Arrays) -> Arrays:
        if (arrays[0] < 0).any():
            raise IndexError("index out of range")
        return arrays

    with served(doubling(picky), latency=0.3) as client, ThreadPoolExecutor(2) as pool:
        bad, good = pool.map(client.post, ([[-1, 0, 0]], [[1, 0, 0]]))
    assert (good.status, bad.status) == (200, 422)
    assert bad.body["detail"] == "the model cannot compute these samples: index out of range"


def test_requests_that_come_together_are_computed_together() -> None:
    sizes: list[int] = []

    def counting(arrays: Arrays) -> Arrays:
        sizes.append(len(arrays[0]))
        return arrays

    with served(doubling(counting), latency=5.0, max_batch=8) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.post([[n, n, n]]), range(8)))
    assert [answer.body["outputs"][0][0][0] for answer in answers] == list(range(8))
    assert sizes == [1, 8]  # the first is the warm-up's


def test_a_full_queue_is_answered_at_once() -> None:
    go_on = threading.Event()
    calls: list[int] = []

    def slow(arrays: Arrays) -> Arrays:
        calls.append(len(arrays[0]))
        if len(calls) > 1:  # not the warm-up
            assert go_on.wait(60)
        return arrays

    with served(doubling(slow), queue=2, max_batch=2, latency=0.0) as client, ThreadPoolExecutor(2) as pool:
        under_way = pool.submit(client.post, [[0, 0, 0]])
        until(lambda: len(calls) == 2)
        waits = pool.submit(client.post, [[0, 0, 0]] * 2)
        until(lambda: "waiting_samples 2" in client.get("/metrics").body)
        full = client.post([[0, 0, 0]])
        go_on.set()
        assert (full.status, full.headers["retry-after"]) == (503, "1")
        assert (under_way.result().status, waits.result().status) == (200, 200)


def test_a_client_that_sends_slowly_is_let_go_and_hinders_nobody() -> None:
    with (
        served(doubling(), body_timeout=0.5) as client,
        socket.create_connection(("127.0.0.1", client.port), timeout=60) as slow,
    ):
        slow.sendall(HEAD + b"Content-Length: 9\r\n\r\n{")
        assert client.post([[1, 2, 3]]).status == 200
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_a_token_is_asked_for_where_one_is_set() -> None:
    with served(doubling(), token="secret") as client:  # noqa: S106
        assert (client.post([[1, 2, 3]]).status, client.get("/metrics").status) == (401, 401)
        assert client.post([[1, 2, 3]], Authorization="Bearer other").status == 401
        assert client.post([[1, 2, 3]], Authorization="Bearer secret").status == 200
        assert client.get("/health").status == 200


def test_it_is_ready_only_after_a_first_prediction() -> None:
    warm = threading.Event()

    def cold(arrays: Arrays) -> Arrays:
        assert warm.wait(60)
        return arrays

    told: list[int] = []
    server = Server(doubling(cold), Settings(port=0), ready=told.append)
    thread = threading.Thread(target=server.serve_until_stopped)
    thread.start()
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=0.3):
        pass
    assert not told
    warm.set()
    until(lambda: server.started)
    assert told == [server.port] and Client(server.port).get("/health").body == {"ready": True}
    server.should_exit = True
    thread.join(60)


def test_what_was_done_is_counted(client: Client) -> None:
    before = client.get("/metrics").body
    client.post([[1, 2, 3], [1, 2, 3]])
    after = client.get("/metrics").body
    samples = [int(re.findall(r"samples_total (\d+)", text)[0]) for text in (before, after)]
    assert samples[1] == samples[0] + 2 and 'requests_total{status="200"}' in after


def test_a_run_and_its_exports_are_served_alike(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from launcher.worker import export

    trained = linear()
    sample = [torch.tensor([[1.0, 2.0, 3.0]]).numpy()]
    (expected,) = predictor.of_run(trained).compute(sample)
    for form, name in (("onnx", "m.onnx"), ("torch-export", "m.pt2")):
        export.export(trained, form, tmp_path / name, tolerance=1e-5, opset=None, warn=lambda _: None)
        loaded = predictor.of_file(tmp_path / name)
        assert (loaded.inputs[0].shape, loaded.inputs[0].dtype) == ((3,), "float32")
        assert abs(loaded.compute(sample)[0] - expected).max() < 1e-5


@pytest.mark.parametrize(("name", "words"), [("m.pt2", "not a .pt2 model"), ("m.safetensors", "holds no model")])
def test_a_file_that_cannot_be_served_is_a_wrong_request(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(RequestError, match=words):
        predictor.of_file(tmp_path / name)


def test_a_port_that_is_taken_is_an_unfit_environment() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(EnvironmentUnfit, match="cannot be listened on"),
    ):
        Server(doubling(), Settings(port=taken.getsockname()[1]), ready=lambda _: None)


def test_stopped_by_sigterm_it_answers_what_is_under_way_and_ends_with_0(tmp_path: Path) -> None:
    trained = linear()
    program = torch.export.export(trained.module, trained.args, dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, tmp_path / "m.pt2")
    command = [sys.executable, "-P", "-m", "launcher", "serve", "m.pt2", "--port", "0", "--latency", "2000"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    body = json.dumps({"inputs": [[1, 2, 3]]}).encode()
    with ended(subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True)) as process:
        assert process.stdout is not None
        port = int(re.findall(r"http://127.0.0.1:(\d+)/docs", process.stdout.readline())[0])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
            raw.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            until(lambda: "waiting_samples 1" in Client(port).get("/metrics").body)
            process.send_signal(signal.SIGTERM)
            assert raw.recv(100).startswith(b"HTTP/1.1 200")
        assert process.wait(60) == 0


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    with process:
        try:
            yield process
        finally:
            process.kill()
