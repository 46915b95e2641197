import pytest

from launcher.worker import rank

GLOO = "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:22981"


@pytest.mark.parametrize("message", [GLOO, "NCCL communicator was aborted, NCCL error", "writev [::1]: Broken pipe"])
def test_an_error_that_a_lost_peer_brings_about_is_a_victims(message: str) -> None:
    assert rank._kind(RuntimeError(message)) == "victim"


@pytest.mark.parametrize("message", ["cannot restore the vocabulary", "no store of images at /data"])
def test_an_error_of_the_users_is_not_taken_for_a_lost_peer(message: str) -> None:
    assert rank._kind(RuntimeError(message)) == "user"
