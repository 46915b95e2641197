"""The folders a training run reads and writes, and the file systems they are on."""

from dataclasses import dataclass, field
from typing import Optional


@dataclass(frozen=True)
class Folder:
    """One folder; where it does not exist yet, its nearest ancestor that does."""

    path: str
    """As it was asked for."""
    exists: bool
    hung: bool = False
    """Its file system gave no answer; everything below is then unknown."""
    filesystem: str = ""
    """`ext4`, `nfs4`, `tmpfs`."""
    free_bytes: Optional[int] = None
    total_bytes: Optional[int] = None
    free_inodes: Optional[int] = None
    total_inodes: Optional[int] = None
    """0 where the file system makes them as it needs."""
    noexec: bool = False
    write_failure: Optional[str] = None
    """Why a small file could not be written; None where it could, or was not tried."""
    lock_failure: Optional[str] = None
    """Why a file could not be locked; None where it could, or was not tried."""
    entries: Optional[int] = None
    """How many names it holds, counted up to 1000."""


@dataclass(frozen=True)
class Storage:
    """Folders by what they are for: `run`, `temporary`, `home`, `triton`, `inductor`, `huggingface`."""

    folders: dict[str, Folder] = field(default_factory=dict)
    quota: Optional[str] = None
    """The file system on which this user's quota is used up, with the figures."""
    damaged: tuple[str, ...] = ()
    """Files of the run's newest checkpoint that are missing or have another size than its manifest says."""
    checkpoint: Optional[str] = None
    """The newest checkpoint of the run folder."""
