from pathlib import Path

import pytest

import launcher
from launcher.errors import JobFailed
from launcher.worker import rank

GLOO = "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:22981"


@pytest.mark.parametrize("message", [GLOO, "NCCL communicator was aborted, NCCL error", "writev [::1]: Broken pipe"])
def test_an_error_that_a_lost_peer_brings_about_is_a_victims(message: str) -> None:
    assert rank._kind(RuntimeError(message)) == "victim"


@pytest.mark.parametrize("message", ["cannot restore the vocabulary", "no store of images at /data"])
def test_an_error_of_the_users_is_not_taken_for_a_lost_peer(message: str) -> None:
    assert rank._kind(RuntimeError(message)) == "user"


@pytest.mark.parametrize(("file", "users"), [("launcher-jobs/task.py", True), ("launcher/worker/task.py", False)])
def test_a_file_beside_launcher_is_the_users_though_it_begins_alike(file: str, users: bool) -> None:
    path = Path(launcher.__file__).parents[1] / file
    code = compile("def build(error): raise error", str(path), "exec")
    scope: dict[str, object] = {}
    exec(code, scope)  # noqa: S102
    with pytest.raises(JobFailed) as caught:
        scope["build"](JobFailed("it cannot be built"))  # type: ignore[operator]
    error = caught.value.with_traceback(caught.value.__traceback__.tb_next if caught.value.__traceback__ else None)
    assert rank._names_the_users_code(error) == users
