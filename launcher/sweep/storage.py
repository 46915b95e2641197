"""Where a sweep's trials are kept: a journal file, Redis, or a relational database, behind Optuna's storages."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from launcher import lock
from launcher.errors import EnvironmentUnfit, RequestError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.storages.journal import BaseJournalBackend
    from optuna.storages.journal._file import BaseJournalFileLock

    from launcher.sweep.folder import Sweep

LONGEST_LINE = 1 << 20
"""Bytes; the journal's lines are shorter."""
REDIS = ("redis", "rediss", "unix")
DIALECTS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
"""What SQLAlchemy is told instead: the driver that the extra installs."""
PACKAGES = {"redis": "redis", "rediss": "redis", "unix": "redis", "postgres": "psycopg", "postgresql": "psycopg"}


def need(package: str, purpose: str) -> None:
    """Raises RequestError where a package of the extra is missing."""
    if importlib.util.find_spec(package) is None:
        raise RequestError(
            f"{purpose} needs the package {package}, which is not installed here", hint="pip install 'launcher[sweep]'"
        )


@contextmanager
def opened(sweep: Sweep) -> Iterator[BaseStorage]:
    """The storage of a sweep, closed at the end.

    Raises RequestError for a URL of no known kind, EnvironmentUnfit where nobody answers, now or later.
    """
    need("optuna", "a sweep")
    from optuna.storages import JournalStorage

    if sweep.spec.storage is None:
        with lock.unfit(sweep.journal):
            yield JournalStorage(_file(sweep.journal))
        return
    url = _given(sweep.spec.storage)
    with _unfit(url, sweep):
        kept = _connected(url, sweep.id)
        try:
            yield kept
        finally:
            _close(kept)


def _connected(url: str, sweep_id: str) -> BaseStorage:
    from optuna.storages import JournalStorage, RDBStorage, get_storage
    from sqlalchemy.exc import ArgumentError

    scheme = url.partition("://")[0]
    if scheme in PACKAGES:
        need(PACKAGES[scheme], f"the storage {masked(url)}")
    try:
        if scheme in REDIS:
            return JournalStorage(_redis(url, sweep_id))
        known = url.replace(scheme, DIALECTS.get(scheme, scheme), 1)
        return get_storage(RDBStorage(known, engine_kwargs={"pool_pre_ping": True}))
    except (ValueError, ImportError, ArgumentError) as error:
        told = isinstance(error, ImportError) or masked(url) == url  # others may quote what the URL hides
        raise RequestError(
            f"storage: {masked(url)} is the URL of no storage that can be reached from here"
            + (f" ({_first_line(error)})" if told else ""),
            hint="redis://host:6379/0, postgresql://user@host/database, or nothing for a journal file",
        ) from error


def _close(kept: BaseStorage) -> None:
    """Optuna leaves this to the end of the process."""
    kept.remove_session()
    backend = getattr(kept, "_backend", None)
    if (engine := getattr(backend, "engine", None)) is not None:
        engine.dispose()
    if (client := getattr(backend, "_redis", None)) is not None:
        client.close()


@contextmanager
def _unfit(url: str, sweep: Sweep) -> Iterator[None]:
    """A storage that does not answer becomes EnvironmentUnfit, with its URL but not its password."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    errors: tuple[type[Exception], ...] = (StorageInternalError, SQLAlchemyError)
    if importlib.util.find_spec("redis") is not None:
        from redis.exceptions import RedisError

        errors = (*errors, RedisError)
    try:
        yield
    except errors as error:
        begun = f"; then {sweep.resume_command}" if sweep.folder.exists() else ""
        raise EnvironmentUnfit(
            _lost(url, error), hint=f"see that it runs and that this machine may reach it{begun}"
        ) from error


def masked(url: str) -> str:
    """A URL as it may be shown: without what stands before its last @, where a password may hold any letter, and
    without its query, where there may be another."""
    kind, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    hidden, at, place = rest.rpartition("@")
    if "?" in hidden:  # in a password, or the @ in that of a query
        return f"{kind}{mark}***"
    return f"{kind}{mark}{'***@' if at else ''}{re.split('[?#]', place)[0]}"


def has_secret(url: str) -> bool:
    """Whether a URL holds a password, in front of its last @ or in its query."""
    before_at = url.partition("://")[2].rpartition("@")[0]
    return ":" in before_at or re.search(r"[?&]\w*(password|passwd|pwd|secret|token)\w*=", url) is not None


def _lost(url: str, error: Exception) -> str:
    hidden = url.partition("://")[2].rpartition("@")[0]
    if re.search("[@/?#]", hidden):  # a driver may take the rest of such a password for the host, and quote it
        reason = "in a URL, @ / ? # of a password are written %40 %2F %3F %23"
    else:
        reason = re.sub(r"\s+", " ", _first_line(error.__cause__ or error))
    return f"the sweep's storage {masked(url)} does not answer: {reason}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _given(url: str) -> str:
    """The URL itself, or that in the variable that `env:NAME` names."""
    if not url.startswith("env:"):
        return url
    name = url.removeprefix("env:")
    if not os.environ.get(name):
        raise RequestError(f"storage: the variable {name} is not set", hint=f"export {name}=postgresql://…")
    return os.environ[name]


def _file(journal: Path) -> BaseJournalBackend:
    from optuna.storages.journal import JournalFileBackend

    return JournalFileBackend(str(journal), lock_obj=cast("BaseJournalFileLock", JournalLock(journal)))


class JournalLock:
    """Held while a line is added to the journal, and let go by the kernel when its holder is killed.

    Optuna's own lock is a file that a killed holder leaves behind for half a minute.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        self._descriptor = os.open(self._journal, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        _cut_torn(self._descriptor)
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


def _cut_torn(descriptor: int) -> None:
    """Remove the half line of a writer that was killed: what is added next would be lost with it."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, LONGEST_LINE, max(0, size - LONGEST_LINE))
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(descriptor, size - len(tail) + tail.rfind(b"\n") + 1)


def _redis(url: str, sweep_id: str) -> BaseJournalBackend:
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages.journal import JournalRedisBackend

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return JournalRedisBackend(url, prefix=f"launcher:{sweep_id}")
