"""A run from the command to its folder."""

import hashlib
import json
import socket
import tempfile
from pathlib import Path

from safetensors import safe_open

from tests.runs.conftest import JOB, Bench, saved, until


def test_a_run_ends_with_its_verdict_and_a_folder_of_plain_files(undisturbed: Bench) -> None:
    shown = undisturbed.show()
    assert (shown["state"], shown["step"], shown["attempts"]) == ("SUCCEEDED", 24, 1)
    assert shown["checkpoint"] == "step-00000024"
    assert 0 <= shown["metrics"]["accuracy"] <= 1
    folder = undisturbed.folder()
    assert (folder / "job.yaml").read_bytes() == JOB.read_bytes()
    for name in ("plan.json", "record.json", "result.json", "nodes/0.json", "nodes/1.json", "attempts/1/rank-1.json"):
        json.loads((folder / name).read_text())
    assert [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()][-1] == 24


def test_the_digest_of_the_weights_can_be_computed_from_the_checkpoint_without_launcher(undisturbed: Bench) -> None:
    shown = undisturbed.show()
    file = undisturbed.folder() / "checkpoints" / shown["checkpoint"] / "model.safetensors"
    digest = hashlib.sha256()
    with safe_open(file, framework="numpy") as tensors:
        for key in sorted(tensors.keys()):
            array = tensors.get_tensor(key)
            shape = ",".join(map(str, array.shape))
            digest.update(f"{key}\0{array.dtype}\0{shape}\0".encode() + array.tobytes())
    assert digest.hexdigest() == shown["weights_sha256"]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(undisturbed: Bench, bench: Bench) -> None:
    """Also with loader processes, which leave nothing in the temporary folder, and where the usual port is taken."""
    with tempfile.TemporaryDirectory() as temporary, socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        bench.environ |= {"TMPDIR": temporary, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        bench.run("--set", "loader.workers=2")
        assert [path.name for path in Path(temporary).iterdir() if "pymp" in path.name or "launcher" in path.name] == []
        bench.environ.pop("TMPDIR")
    assert bench.show()["weights_sha256"] == undisturbed.show()["weights_sha256"]
    bench.run("--set", "training.seed=4")
    assert bench.show()["weights_sha256"] != undisturbed.show()["weights_sha256"]


def test_while_it_runs_nothing_listens_outside_loopback(bench: Bench) -> None:
    run = bench.start("run", str(JOB), "--set", "task.args.seconds=0.1")
    try:
        assert until(saved(bench, 4))
        ours = {int(line.split()[0]) for line in bench.left_behind()}
        listening = [address for pid in ours for address in _listeners(pid)]
        assert listening
        assert {
            address for address in listening if not address.startswith(("0100007F", "0" * 24 + "01000000"))
        } == set()
    finally:
        run.terminate()
        run.communicate()


def test_two_runs_at_once_do_not_get_into_each_others_way(bench: Bench) -> None:
    runs = [bench.start("run", str(JOB)) for _ in range(2)]
    assert [run.wait(120) for run in runs] == [0, 0]
    for run in runs:
        run.communicate()
    records = [json.loads((path / "result.json").read_text()) for path in bench.runs_dir.iterdir()]
    assert len({record["weights_sha256"] for record in records}) == 1


def test_a_dry_run_shows_the_plan_and_the_commands_and_writes_nothing(bench: Bench) -> None:
    done = bench.run("--dry-run", "--nodes", "2", "--procs-per-node", "1")
    assert done.exit_code == 0
    assert done.stdout.count("-m launcher.node") == 2
    assert not bench.runs_dir.exists()


def _listeners(pid: int) -> list[str]:
    """Local addresses, as /proc spells them, of the TCP sockets a process listens on."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    rows = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()
    ]
    return [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]
