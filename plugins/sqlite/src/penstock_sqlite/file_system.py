"""The file and its file system: created for its user alone, and looked at before SQLite trusts it."""

from __future__ import annotations

import logging
import os
from contextlib import suppress

log = logging.getLogger("penstock.sqlite")

NETWORK = frozenset(
    [
        "9p",
        "afp",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
        "virtiofs",
    ]
)
"""File systems on which several machines may see a file, but not each other's locks and shared memory."""

_MOUNTS = "/proc/self/mountinfo"
_warned: set[str] = set()


def create_file(path: str) -> None:
    """Create an empty file that its user alone may read and write; SQLite gives the files beside it the same mode."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def warn_of_network(path: str) -> None:
    """Say once a file that its file system is of the network."""
    kind = network_file_system(path)
    if kind is not None and path not in _warned:
        _warned.add(path)
        log.warning(
            "%s is on a network file system (%s): SQLite may lose or damage messages there once a second machine opens "
            "the file; use a local disk, or a connector with a server",
            path,
            kind,
        )


def network_file_system(path: str, mounts: str = _MOUNTS) -> str | None:
    """The type of the file system if it is one of the network; None if it is not, or if the system does not tell."""
    real, longest, kind = os.path.realpath(path), "", ""
    try:
        with open(mounts, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                before, _dash, after = line.partition(" - ")
                point = before.split(" ")[4].replace("\\040", " ")
                inside = real == point or real.startswith(point.rstrip("/") + "/")
                # A later mount hides an earlier one at the same place.
                if inside and len(point) >= len(longest):
                    longest, kind = point, after.split(" ")[0]
    except (OSError, IndexError):
        return None
    return kind if kind in NETWORK else None
