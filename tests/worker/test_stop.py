"""All ranks stop after the same step, whoever is asked and whenever."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from torch.distributed import PrefixStore, TCPStore

from launcher.worker.stop import Stop

ENDLESS = 10**6


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """A store that listens on IPv4: of a client on `::ffff:127.0.0.1` torch asks the name server, for seconds."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    yield TCPStore(
        "127.0.0.1",
        port,
        is_master=True,
        wait_for_workers=False,
        timeout=timedelta(seconds=60),
        master_listen_fd=listener.detach(),
    )


def race(store: Any, world: int, asked: dict[int, int], seed: int, steps: int = ENDLESS) -> list[int]:
    """The step each rank stops at, or 0; steps meet at a barrier in their middle, as a gradient's sum does."""
    meeting, ended = threading.Barrier(world, timeout=60), [0] * world

    def train(rank: int) -> None:
        pause = random.Random(seed * world + rank)  # noqa: S311
        stop = Stop(rank, world)
        stop.listen(store.clone())
        for step in range(1, steps + 1):
            time.sleep(pause.choice([0, 0, 0.002]))
            meeting.wait()
            time.sleep(pause.choice([0, 0, 0.002]))
            stop.asked = stop.asked or asked.get(rank) == step
            if stop.asked and stop.now(step):
                ended[rank] = step
                return

    threads = [threading.Thread(target=train, args=(rank,)) for rank in range(world)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    return ended


@pytest.mark.parametrize("seed", range(20))
def test_all_ranks_stop_after_the_same_step(store: Any, seed: int) -> None:
    choose = random.Random(seed)  # noqa: S311
    world = choose.choice([2, 3, 4])
    asked = {rank: choose.randint(1, 20) for rank in choose.sample(range(world), choose.randint(1, world))}
    ended = race(PrefixStore(f"trial-{seed}", store), world, asked, seed)
    assert len(set(ended)) == 1 and ended[0] > min(asked.values())


def test_a_stop_beyond_the_last_step_is_not_waited_for(store: Any) -> None:
    assert race(PrefixStore("late", store), 2, {0: 5}, 0, steps=5) == [0, 0]


def test_the_device_has_done_its_steps_before_the_others_hear_of_them(store: Any) -> None:
    own, settled = PrefixStore("settled", store), []
    stop = Stop(0, 2, settle=lambda: settled.append(own.check(["stop/0"])))
    stop.listen(own)
    assert settled == []
    stop.now(3)
    stop.now(4)
    assert settled == [False, True]


def test_one_rank_alone_stops_at_once() -> None:
    stop = Stop(0, 1)
    stop.asked = True
    assert stop.now(5)


def test_sigterm_asks_and_does_nothing_else() -> None:
    before, stop = signal.getsignal(signal.SIGTERM), Stop(0, 1)
    try:
        stop.install()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_store_that_has_gone_does_not_raise_the_flag() -> None:
    class Gone:
        def clone(self) -> Gone:
            return self

        def wait(self, keys: list[str], timeout: timedelta) -> None:
            raise RuntimeError("connection reset")

    stop = Stop(0, 2)
    stop.listen(Gone())  # type: ignore[arg-type]
    assert not stop.asked
