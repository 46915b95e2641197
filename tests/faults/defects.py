"""Mistakes planted into the protocol, each of which a campaign must find."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash

from launcher import checkpoints, durable, store
from launcher.manifest import FileDigest, Manifest


def nothing() -> None:
    """The protocol as it is."""


def no_sync_of_folders() -> None:
    durable.sync_folder = lambda path: None


def no_sync_of_files() -> None:
    sync = os.fsync

    def folders_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            sync(descriptor)

    os.fsync = folders_only


def manifest_before_data() -> None:
    """The name appears first, the files come after it."""

    def save(root: Path, manifest: Manifest, contents: checkpoints.Contents, **options: Any) -> Manifest:
        temporary = checkpoints.begin(root, manifest.step, manifest.attempt)
        whole = {name: b"".join(pieces) for name, pieces in contents.items()}
        files = {
            name: FileDigest(size=len(data), xxh3_128=xxhash.xxh3_128_hexdigest(data)) for name, data in whole.items()
        }
        final = checkpoints.commit(temporary, dataclasses.replace(manifest, files=files), options["fence"])
        for name, data in whole.items():
            durable.write(final / name, [memoryview(data)])
        checkpoints.prune(root, keep=options["keep"], known={*options["known"], final.name})
        return manifest

    checkpoints.save = save  # type: ignore[assignment]


def no_fence() -> None:
    claim = checkpoints.claim

    def claim_without(run_dir: Path, attempt: int) -> checkpoints.Fence:
        claim(run_dir, attempt)
        return lambda: None

    checkpoints.claim = claim_without


def delete_under_the_name() -> None:
    """Folders are emptied where they stand instead of being renamed first."""
    rename = durable.rename_to_free

    def rename_or_empty(path: Path, wanted: str) -> Path:
        if wanted.startswith(".gone-"):
            shutil.rmtree(path)
            return path
        return rename(path, wanted)

    durable.rename_to_free = rename_or_empty


def removal_before_the_rename_lasts() -> None:
    """An old checkpoint is renamed, and its files deleted before the new name is on the disk."""
    prune, sync = checkpoints.prune, durable.sync_folder

    def prune_without(*args: Any, **options: Any) -> list[str]:
        durable.sync_folder = lambda path: None
        try:
            return prune(*args, **options)
        finally:
            durable.sync_folder = sync

    checkpoints.prune = prune_without


def overwrite_in_three_steps() -> None:
    """A step written again is deleted before the new one takes its place."""

    def exchange(first: Path, second: Path) -> None:
        shutil.rmtree(second)
        first.rename(second)
        first.mkdir()

    durable.exchange = exchange


def prune_before_the_commit() -> None:
    save = checkpoints.save

    def pruned_first(root: Path, *args: Any, **options: Any) -> Manifest:
        for name in checkpoints.names(root)[1:]:
            shutil.rmtree(durable.rename_to_free(root / name, f".gone-{name}"))
        return save(root, *args, **options)

    checkpoints.save = pruned_first


def early_word() -> None:
    """A step is said to stand before it does: the last sync of each commit is left out."""
    commit, sync = checkpoints.commit, durable.sync_folder

    def commit_without(temporary: Path, *args: Any) -> Path:
        durable.sync_folder = lambda path: sync(path) if path == temporary else None
        try:
            return commit(temporary, *args)
        finally:
            durable.sync_folder = sync

    checkpoints.commit = commit_without


def verdict_in_place() -> None:
    """Written under its own name."""
    store.write_whole = lambda path, text: path.write_text(text)  # type: ignore[assignment]


DEFECTS: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        nothing,
        no_sync_of_folders,
        no_sync_of_files,
        manifest_before_data,
        no_fence,
        overwrite_in_three_steps,
        delete_under_the_name,
        removal_before_the_rename_lasts,
        prune_before_the_commit,
        early_word,
        verdict_in_place,
    )
}
