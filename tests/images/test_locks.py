"""Locks hold every distribution with its digests, and nothing that names a machine."""

import re

import pytest

from launcher.images import locks, versions

PINS = versions.read()
NAMES = [*PINS.variants, "test"]


@pytest.mark.parametrize("name", PINS.variants)
def test_a_committed_lock_agrees_with_the_pin_file(name: str) -> None:
    assert locks.faults(locks.read(versions.ROOT, name), PINS.variant(name), PINS) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_names_no_address_and_no_path(name: str) -> None:
    body = locks.read(versions.ROOT, name).removeprefix(locks.HEADER)
    assert re.search(r"https?:|file:|/", body) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_is_what_its_own_parts_render(name: str) -> None:
    text = locks.read(versions.ROOT, name)
    assert locks.render(locks.parse(text)) == text


def test_the_tests_lock_repeats_nothing_of_a_variant() -> None:
    tests = {pin.name for pin in locks.parse(locks.read(versions.ROOT, "test"))}
    for name in PINS.variants:
        assert tests.isdisjoint(pin.name for pin in locks.parse(locks.read(versions.ROOT, name)))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("nvidia-nccl-cu13==2.29.7", "nvidia-nccl-cu13==2.29.6", "nccl is 2.29.6 in the lock, 2.29.7 in the pin file"),
        ("triton==", "tritone==", "triton is absent in the lock"),
        ("click==", "lightning==2.6.3 \\\n    --hash=sha256:" + "0" * 64 + "\nclick==", "a compromised release"),
        ("--hash=sha256:", "--hash=md5:", "not a pin with hashes: annotated-types"),
    ],
)
def test_a_lock_that_disagrees_says_how(old: str, new: str, fault: str) -> None:
    text = locks.read(versions.ROOT, "cu130")
    assert fault in "; ".join(locks.faults(text.replace(old, new), PINS.variant("cu130"), PINS))


def test_a_pin_without_a_digest_is_a_fault() -> None:
    text = locks.read(versions.ROOT, "cpu") + "surprise==1.0\n"
    assert "surprise 1.0 has no hash" in locks.faults(text, PINS.variant("cpu"), PINS)


def test_a_cpu_lock_holds_exactly_the_recorded_torch_wheels() -> None:
    text = locks.read(versions.ROOT, "cpu")
    digest = PINS.variant("cpu").torch_wheels[0][1]
    assert "not those recorded" in "; ".join(locks.faults(text.replace(digest, "0" * 64), PINS.variant("cpu"), PINS))
