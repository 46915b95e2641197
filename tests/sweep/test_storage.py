"""Several workers over real storages, one of them killed: the trials are those of one undisturbed worker."""

import contextlib
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from launcher import waiting
from launcher.errors import EnvironmentUnfit, RequestError
from launcher.sweep import board, folder, storage, sweeping
from tests.sweep import servers
from tests.sweep.conftest import SWEEP, Toy
from tests.sweep.test_worker import PATIENCE, begun

OF_TWO = SWEEP.replace("trials: 6", "trials: 8") + "workers: 2\npruner: {kind: median, startup: 2, warmup: 1}\n"
SERVERS = {"redis": servers.redis, "postgresql": servers.postgresql}


@pytest.mark.parametrize("kind", SERVERS)
def test_workers_on_several_machines_make_the_trials_of_one_and_a_killed_ones_are_taken_over(
    toys: Callable[..., Toy], kind: str
) -> None:
    alone = toys("alone", OF_TWO)
    alone.start()
    with SERVERS[kind]() as url:
        apart = toys("apart", OF_TWO + "storage: env:SWEEP_STORAGE\n")
        first = apart.worker("start", SWEEP_STORAGE=url, FAKE_SECONDS="1")  # it is killed long before its end
        assert waiting.until(lambda: (apart.runs / "sweeps").is_dir() and begun(apart, 0), PATIENCE)
        others = [
            apart.worker("start", apart.sweep_dir.name, runs=runs, SWEEP_STORAGE=url) for runs in ("there", "elsewhere")
        ]
        assert waiting.until(lambda: any((apart.path / "there").glob("toy-trial-*")), PATIENCE)
        first.kill()
        for process in others:
            assert process.wait(PATIENCE) == 0, (apart.path / "worker.log").read_text()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SWEEP_STORAGE", url)
            assert apart.rows() == alone.rows()
        assert url not in "".join(path.read_text() for path in apart.sweep_dir.glob("*.*") if path.is_file())


def test_a_worker_with_another_sweep_file_may_not_join(toy: Toy, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    toy.write(sweep=SWEEP + f"storage: {url}\n")
    toy.start()
    toy.write(sweep=SWEEP + f"storage: {url}\nmode: max\n")
    with pytest.raises(RequestError, match="are not those given here"):
        joined(toy, toy.sweep_dir.name)
    with pytest.raises(RequestError, match="the storage has no such sweep"):
        joined(toy, "toy-sweep-20261122T000000-0000")


def joined(toy: Toy, sweep_id: str) -> None:
    files = toy.path / "job.yaml", toy.path / "sweep.yaml"
    sweeping.start(*files, [], runs_dir=toy.path / "there", join=sweep_id, listener=toy.events.append)


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("redis://:secret@127.0.0.1:1/0", EnvironmentUnfit, r"redis://\*\*\*@127.0.0.1:1/0 does not answer"),
        ("postgresql://a:secret@127.0.0.1:1/b", EnvironmentUnfit, r"//\*\*\*@127.0.0.1:1/b does not answer"),
        ("postgresql://a:b@secret@127.0.0.1:1/b", EnvironmentUnfit, r"@127.0.0.1:1/b does not answer: in a URL, @ / "),
        ("redis://:secret#b@127.0.0.1:1/0", RequestError, r"redis://\*\*\*@127.0.0.1:1/0 is the URL of no storage"),
        ("ftp://host/file", RequestError, "ftp://host/file is the URL of no storage"),
        ("env:NO_SUCH", RequestError, "the variable NO_SUCH is not set"),
    ],
)
def test_a_storage_that_cannot_be_reached_is_told_without_its_password_and_nothing_is_written(
    toy: Toy, url: str, error: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_STORAGE", url)
    toy.write(sweep=SWEEP + f"storage: {url if url.startswith('env:') else 'env:SWEEP_STORAGE'}\n")
    with pytest.raises(error, match=said) as refusal:
        toy.start()
    assert "secret" not in str(refusal.value) and not toy.runs.exists()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("unix:///run/redis.sock?db=0&password=x", "unix:///run/redis.sock"),
        ("postgresql://host/db?user=u&password=x", "postgresql://host/db"),
        ("postgresql://host/db?password=x@y", "postgresql://***"),
        ("postgresql://u:pa/ss@host/db", "postgresql://***@host/db"),
        ("redis://:a#b@h:1/0", "redis://***@h:1/0"),
        ("redis://:a?b@h:1/0", "redis://***"),
        ("redis://:a@b@h:1/0", "redis://***@h:1/0"),
        ("env:NAME", "env:NAME"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert storage.masked(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret@host/0",
        "postgresql://user:secret@host/db",
        "postgresql://u:sec@ret@host/db",
        "redis://:secret?b@host/0",
        "unix:///run/redis.sock?db=0&password=secret",
        "postgresql://host/db?sslpassword=secret",
    ],
)
def test_a_password_in_the_sweep_file_is_refused_and_nothing_is_written(toy: Toy, url: str) -> None:
    toy.write(sweep=SWEEP + f"storage: {url}\n")
    with pytest.raises(
        RequestError, match=r"sweep.yaml:7 storage: a password .* write storage: env:SWEEP_STORAGE"
    ) as no:
        toy.start()
    assert "secret" not in str(no.value) and not toy.runs.exists()


@pytest.mark.parametrize("url", ["postgresql://user@host:5432/db?sslmode=require", "redis://host/0", "env:A", "a@b"])
def test_a_url_without_a_password_may_stand_in_the_file(url: str) -> None:
    assert not storage.has_secret(url)


def test_a_database_lost_in_mid_sweep_is_unfit_and_the_remedy_goes_on_with_the_sweep(toy: Toy) -> None:
    toy.write(sweep=SWEEP + f"storage: sqlite:///{toy.path}/trials.db\n")
    sweep = folder.read(toy.path / "job.yaml", toy.path / "sweep.yaml", [], toy.runs, None)
    folder.write(sweep)
    with (
        pytest.raises(EnvironmentUnfit, match=r"does not answer: .*no such table") as lost,
        storage.opened(sweep) as kept,
    ):
        trials = board.create(kept, sweep)
        with contextlib.closing(sqlite3.connect(toy.path / "trials.db")) as database:
            database.execute("DROP TABLE study_user_attributes")
        trials.beat("worker", 1)
    assert str(lost.value.hint).endswith(f"; then launcher sweep resume {sweep.id} --runs-dir {toy.runs}")


@pytest.mark.parametrize("sweep_id", ["toy-sweep-20261122T000000-0000", "../../evil", "latest"])
def test_who_cannot_join_leaves_nothing_behind(toy: Toy, sweep_id: str) -> None:
    with pytest.raises(RequestError, match=f"--join {sweep_id}: ") as refusal:
        joined(toy, sweep_id)
    assert {path.name for path in toy.path.iterdir()} == {"job.yaml", "sweep.yaml", "toy.py"}
    assert ("sweep resume" in str(refusal.value.hint)) == sweep_id.startswith("toy")


def test_the_folder_that_holds_the_url_is_for_its_owner_alone(toy: Toy) -> None:
    sweep = folder.read(toy.path / "job.yaml", toy.path / "sweep.yaml", [], toy.runs, None)
    folder.write(sweep)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (sweep.folder, sweep.folder / "workers")] == [0o700] * 2


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RequestError) as refusal:
        storage.need("optuna", "a sweep")
    assert (refusal.value.exit_code, refusal.value.hint) == (2, "pip install 'launcher[sweep]'")
