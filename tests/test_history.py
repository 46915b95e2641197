import math
from pathlib import Path

from launcher import history
from tests.recorded import recorded_run

RUN = "mlp-20261121T225500-ab12"


def test_the_loss_is_that_of_every_step_and_a_validation_has_its_own_name(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path, RUN, losses=[2.0, 1.0, 0.5])
    assert history.curves(folder) == {"loss": ((1, 2.0), (2, 1.0), (3, 0.5)), "validation/accuracy": ((3, 0.9),)}


def test_without_a_ledger_the_logged_loss_counts(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path, RUN, losses=[])
    folder.metrics.write_text('{"step": 5, "epoch": 1, "loss": 1.5}\n{"step": 10, "epoch": 1, "loss": null}\n')
    (first, second) = history.curves(folder)["loss"]
    assert first == (5, 1.5) and second[0] == 10 and math.isnan(second[1])


def test_what_a_rank_used_is_known_by_its_step(tmp_path: Path) -> None:
    told = history.read(recorded_run(tmp_path, RUN, losses=[2.0, 1.0]))
    assert told.use["rank 0: memory, MB"] == ((1, 400.0), (2, 400.0))
    assert told.use["rank 0: GPU busy, %"] == ((1, 50.0), (2, 50.0))


def test_a_new_attempt_forgets_what_the_ranks_of_the_last_one_used(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path, RUN, losses=[2.0])
    assert history.newest_use(folder)["0"]["memory"] == 400e6
    folder.append_event({"event": "attempt", "attempt": 2})
    assert history.newest_use(folder) == {}


def test_a_checkpoint_whose_manifest_is_damaged_is_told_as_such(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path, RUN, losses=[2.0])
    (folder.checkpoints / "step-00000001").mkdir(parents=True)
    (saved,) = history.read(folder).checkpoints
    assert (saved.name, saved.size) == ("step-00000001", None)
