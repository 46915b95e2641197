"""Storage: room, rights, locks and caches, and whether the last checkpoint is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from envcheck.check import Outcome, Status, check, fail, fine, unknown, warn

if TYPE_CHECKING:
    from envcheck.check import Verdict
    from envcheck.sections.host import Environment
    from envcheck.sections.need import Need
    from envcheck.sections.storage import Storage

MIB, GIB = 1 << 20, 1 << 30
LEAST_BYTES, COMFORTABLE_BYTES = 16 * MIB, 1 * GIB
LEAST_INODES = 100
OVER_A_NETWORK = (
    "nfs", "nfs4", "lustre", "gpfs", "cifs", "smb3", "ceph", "beegfs", "afs", "wekafs", "fuse.sshfs", "fuse.s3fs",
    "fuse.gcsfuse", "fuse.juicefs", "fuse.glusterfs", "fuse.mount-s3", "orangefs", "pvfs2", "glusterfs",
)  # fmt: skip
OF_THIS_NODE = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "tmpfs", "ramfs")


@check("STO000", remedy="find the mount (`findmnt -T {path}`), and remount it or bring its server back", modes=("F74",))
def file_systems_answer(storage: Storage) -> Outcome:
    """Every file system of the run answers.

    A dead NFS server hangs whoever touches it, for ever and without a word.
    """
    hung = [(role, folder) for role, folder in sorted(storage.folders.items()) if folder.hung]
    if not hung:
        return None
    saw = ", ".join(f"{folder.path} ({role})" for role, folder in hung) + ": no answer within 5 s"
    required = [folder for role, folder in hung if role in ("run", "temporary", "home")]
    return (fail if required else warn)(saw, path=hung[0][1].path)


@check("STO001", remedy="free some room or choose another folder (--run-dir); see: du -xh {path} | sort -h | tail",
       modes=("F69",))  # fmt: skip
def run_folder_has_room(storage: Storage, need: Need) -> Outcome:
    """The file system of the run folder has room for two checkpoints.

    torch.save on a full disk says "unexpected pos 17728 vs 17680" and leaves a torn file; it never says "no space".
    """
    folder = storage.folders["run"]
    if folder.free_bytes is None:
        return unknown(f"{folder.path} gives no answer")
    saw = f"{folder.path} has {folder.free_bytes // MIB} MiB left"
    if need.checkpoint_bytes is not None and folder.free_bytes < 2 * need.checkpoint_bytes:
        return fail(f"{saw}, two checkpoints take {2 * need.checkpoint_bytes // MIB}", path=folder.path)
    if folder.free_bytes < LEAST_BYTES:
        return _verdict(need)(saw, path=folder.path)
    return warn(saw, path=folder.path) if folder.free_bytes < COMFORTABLE_BYTES else None


@check("STO002", remedy="remove files: du --inodes -x {path} | sort -n | tail", modes=("F70",))
def run_folder_has_inodes(storage: Storage, need: Need) -> Outcome:
    """The file system of the run folder can take more files.

    With its inodes used up it says "No space left on device", while `df` shows room.
    """
    folder = storage.folders["run"]
    if folder.free_inodes is None:
        return unknown(f"{folder.path} gives no answer")
    if folder.total_inodes and folder.free_inodes < LEAST_INODES:
        saw = f"{folder.path} takes {folder.free_inodes} more files of {folder.total_inodes}"
        return _verdict(need)(saw, path=folder.path)
    return None


@check("STO003", remedy="remove files of yours, or ask for a larger quota: quota -s", modes=("F71",))
def quota_is_not_used_up(storage: Storage, need: Need) -> Outcome:
    """The user's quota is not used up.

    A quota that is used up ends the run at its next checkpoint, however free the disk is.
    """
    failure = storage.folders["run"].write_failure or ""
    if "quota" in failure.lower():
        return _verdict(need)(f"{storage.folders['run'].path}: {failure}")
    return warn(f"used up: {storage.quota}") if storage.quota else None


@check("STO004", remedy="choose a folder of yours (--run-dir), or: sudo chown $USER {path}; mounts: findmnt -T {path}",
       modes=("F72",))  # fmt: skip
def run_folder_can_be_written(storage: Storage, need: Need) -> Outcome:
    """The run folder can be written.

    A file was created, written and synced there; looking at the mode bits would miss a read-only mount.
    """
    folder = storage.folders["run"]
    if folder.hung:
        return unknown(f"{folder.path} gives no answer")
    if folder.write_failure is None:
        return None
    verdict = warn if "no answer" in folder.write_failure else _verdict(need)
    return verdict(f"{folder.path}: {folder.write_failure}", path=folder.path)


@check(
    "STO005",
    remedy="give a --run-dir that all nodes share (NFS, Lustre); to try one: envcheck --host a --host b",
    severity=Status.WARN,
    modes=("F73",),
)
def run_folder_may_be_shared(storage: Storage, need: Need) -> Outcome:
    """A job of several nodes keeps its run folder on a file system that can be shared.

    On a disk of its own each node writes its part of a checkpoint where no other node can read it.
    """
    folder = storage.folders["run"]
    if need.on_one_machine:
        return fine("all processes are on one machine: nothing to judge")
    if folder.hung or not folder.filesystem:
        return unknown(f"cannot tell the file system of {folder.path}")
    if folder.filesystem in OF_THIS_NODE:
        return f"{folder.path} is on {folder.filesystem}, a file system of this node alone"
    return None


@check(
    "STO006",
    remedy="mount with locks (NFS: without `nolock`, rpc-statd running; Lustre: `-o flock`), or choose another folder",
    modes=("F74",),
)
def files_can_be_locked(storage: Storage, need: Need) -> Outcome:
    """Files in the run folder can be locked.

    Data set libraries lock their cache; on NFS or Lustre without locks that fails, or waits for ever.
    """
    folder = storage.folders["run"]
    if folder.hung or folder.write_failure:
        return unknown(f"{folder.path}: {folder.write_failure or 'no answer'}, so a lock could not be tried")
    if folder.lock_failure is None:
        return None
    saw = f"flock in {folder.path}: {folder.lock_failure}"
    return _verdict(need)(saw) if "no answer" in folder.lock_failure else warn(saw)


@check(
    "STO007",
    remedy="export TRITON_CACHE_DIR=/tmp/triton-$USER TORCHINDUCTOR_CACHE_DIR=/tmp/inductor-$USER",
    severity=Status.WARN,
    modes=("F75",),
)
def compiler_caches_are_local(storage: Storage, need: Need) -> Outcome:
    """The caches of Triton and Inductor are not on a network file system.

    Ranks of several nodes replace each other's files there: "Stale file handle", "Device or resource busy".
    """
    if need.device == "cpu":
        return fine("a job on the CPU leaves Triton's cache alone: nothing to judge")
    for role in ("triton", "inductor"):
        folder = storage.folders.get(role)
        if folder and folder.filesystem in OVER_A_NETWORK:
            return f"{folder.path} is on {folder.filesystem}"
    return None


@check(
    "STO008",
    remedy="fill the cache while online (`hf download NAME`), point HF_HOME at a filled one, or free some room there",
    severity=Status.WARN,
    modes=("F76",),
)
def hub_cache_serves(storage: Storage, environment: Environment) -> Outcome:
    """The cache of the Hugging Face hub has what an offline job needs, and room for what an online one fetches.

    An offline job that misses one file fails after it has got its nodes; an online one that runs out of room fails in
    the middle of a download.
    """
    folder = storage.folders.get("huggingface")
    offline = [name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
               if environment.get(name).upper() in ("1", "TRUE", "YES", "ON")]  # fmt: skip
    if folder is None or folder.hung:
        return unknown("the cache's file system gives no answer") if folder else None
    if offline and not folder.entries:
        return f"{offline[0]} is set, and {folder.path} {'is empty' if folder.exists else 'does not exist'}"
    told = any(environment.get(name) for name in ("HF_HOME", "HF_HUB_CACHE"))
    if told and not offline and folder.free_bytes is not None and folder.free_bytes < COMFORTABLE_BYTES:
        return f"{folder.path} has {folder.free_bytes // MIB} MiB left"
    return None


@check(
    "STO010",
    remedy="set it aside, so that the one before it is taken: mv {path} {path}.bad",
    severity=Status.WARN,
    modes=("F78",),
)
def newest_checkpoint_is_whole(storage: Storage, need: Need) -> Outcome:
    """The newest checkpoint of the run folder has all its bytes.

    After a full disk or a kill without a sync, files can be shorter than what was written; loading one fails late, or
    loads rubbish. Names and sizes are compared here, contents when the run resumes.
    """
    if not storage.damaged:
        return None
    path = f"{need.run_dir or '.'}/checkpoints/{storage.checkpoint}"
    return warn(f"{path}: {', '.join(storage.damaged[:3])}", path=path)


def _verdict(need: Need) -> Callable[..., Verdict]:
    """A fault of the run folder that was named; where none was, the current folder may never be a run's."""
    return fail if need.run_dir else warn
