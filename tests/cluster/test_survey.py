import pytest

from launcher.cluster import survey
from launcher.cluster.survey import Look, Route
from launcher.errors import EnvironmentUnfit, LauncherError


def unexpected(host: str, code: int, said: str) -> LauncherError:
    raise AssertionError(f"{host} ended with {code}: {said}")


def test_a_probe_that_hangs_is_named_at_the_deadline_and_not_waited_for() -> None:
    hangs = Route(host="node-b", argv=("/bin/sh", "-c", "exec sleep 3600"), explain=unexpected)
    with pytest.raises(EnvironmentUnfit, match="node-b: no answer within 1 s") as refusal:
        survey.look([hangs], Look(seconds=1.0, python="python3", bind=["127.0.0.1"]), meet=False)
    assert "look.seconds=4" in str(refusal.value.hint)
