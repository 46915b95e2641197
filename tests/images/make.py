"""Small image archives, so that reading and comparing them is tested without an engine."""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

File = tuple[str, bytes]


def layer(files: Sequence[File], *, time: int = 1000, mode: int = 0o644) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(data), time, mode
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def image(path: Path, layers: Sequence[bytes], **config: Any) -> Path:
    blobs = [*layers, json.dumps({"config": config, "rootfs": [_digest(blob) for blob in layers]}).encode()]
    manifest = {
        "config": {"digest": _digest(blobs[-1])},
        "layers": [{"digest": _digest(blob), "size": len(blob)} for blob in layers],
    }
    blobs.append(json.dumps(manifest).encode())
    index = json.dumps({"manifests": [{"digest": _digest(blobs[-1])}]}).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in [
            ("index.json", index),
            *((f"blobs/{_digest(blob).replace(':', '/')}", blob) for blob in blobs),
        ]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
