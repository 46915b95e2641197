"""Which variant fits which machine."""

from pathlib import Path

import pytest

from launcher.errors import EnvironmentUnfit, RequestError
from launcher.images import versions
from launcher.images.versions import Host

PINS = versions.read()


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (Host(machine="x86_64"), "cpu"),
        (Host(machine="x86_64", driver="580.95.05", capabilities=("9.0",)), "cu130"),
        (Host(machine="x86_64", driver="580.65.06", capabilities=("12.0", "8.0")), "cu130"),
        (Host(machine="x86_64", driver="580.65.05"), "cu128"),
        (Host(machine="x86_64", driver="610.43.02", capabilities=("7.0",)), "cu128"),
        (Host(machine="x86_64", driver="525.60.13", capabilities=("8.6",)), "cu128"),
        (Host(machine="x86_64", driver="525.53"), "cpu"),
        (Host(machine="aarch64", driver="570.26"), "cpu"),
        (Host(machine="x86_64", driver="580.95.05", capabilities=("6.1",)), "cpu"),
    ],
)
def test_a_machine_gets_the_newest_variant_its_driver_and_gpus_can_run(host: Host, name: str) -> None:
    assert PINS.choose(host)[0].name == name


def test_the_reason_says_what_was_passed_over_and_why() -> None:
    reason = PINS.choose(Host(machine="x86_64", driver="535.129.03"))[1]
    assert "with every feature from 570.26 on" in reason
    assert "not cu130: it needs driver 580.65.06 or later, this one is 535.129.03" in reason


def test_a_machine_no_variant_is_made_for_is_unfit() -> None:
    with pytest.raises(EnvironmentUnfit, match="this machine is riscv64"):
        PINS.choose(Host(machine="riscv64"))


def test_an_unknown_variant_names_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"no variant 'cuda130' \(did you mean cu130\?\)"):
        PINS.variant("cuda130")


@pytest.mark.parametrize(
    ("capability", "served"),
    [("8.0", True), ("8.9", True), ("9.0", True), ("7.0", False), ("12.1", True), ("13.0", True), ("11.0", False)],
)
def test_machine_code_serves_later_minors_and_ptx_serves_later_capabilities(capability: str, served: bool) -> None:
    assert versions.serves(PINS.variant("cu130"), capability) is served


def test_a_checkout_without_pins_says_where_they_should_be(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnfit, match=r"versions\.toml is missing"):
        versions.read(tmp_path)
