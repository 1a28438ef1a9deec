"""edge.slabs: memory that two processes see, of a fixed size, without a name: it is gone with the last of them. *slabs* → lanes, workers.

Linux gives it as a file that only exists in memory (memfd), whatever the size of /dev/shm, which is 64 MB in most containers. Where
there is none, it is a file in the folder for temporary files, already deleted, and rows may go by the disk.
"""

from __future__ import annotations

import logging
import mmap
import os
import tempfile

from stream_infer.errors import EnvironmentMissing

log = logging.getLogger("stream_infer.workers")
PREFIX = "stream-infer-"  # as /proc shows it


class Slab:
    """size: bytes. The descriptor goes to the other process, which opens it with Slab.of; both must close."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor, self.size = descriptor, size
        self.memory = mmap.mmap(descriptor, size)

    @staticmethod
    def reserve(name: str, size: int) -> Slab:
        """A new one, zero, all of it there: a machine without room says so here and not in the middle of a row. EnvironmentMissing."""
        descriptor = _descriptor(name)
        try:
            os.ftruncate(descriptor, size)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, size)
            return Slab(descriptor, size)
        except OSError as error:
            os.close(descriptor)
            raise EnvironmentMissing(
                f"there is no room for the memory that {name} shares with its process",
                got=f"{size} bytes: {error.strerror or error}",
                expected="so much free memory (or room for temporary files, where the system has no memfd)",
                fix="give the container more memory, set TMPDIR to a larger folder, or set `batch: {rows_max: …}` lower",
            ) from error

    @staticmethod
    def holding(name: str, data: bytes) -> Slab:
        """A new one with these bytes in it."""
        slab = Slab.reserve(name, max(len(data), 1))
        slab.memory[: len(data)] = data
        return slab

    def close(self) -> None:
        """Not needed here any more; arrays that lie in it keep the memory until they are gone."""
        os.close(self.descriptor)
        try:
            self.memory.close()
        except BufferError:  # arrays lie in it: it goes with them
            log.debug("a slab is still looked at")


def _descriptor(name: str) -> int:
    try:
        return os.memfd_create(PREFIX + name, os.MFD_CLOEXEC)
    except (AttributeError, OSError) as error:
        folder = tempfile.gettempdir()
        log.warning("%s: rows go to its process through a deleted file in %s, for there is no memory file: %s", name, folder, error)
        file, path = tempfile.mkstemp(prefix=PREFIX, dir=folder)
        os.unlink(path)
        return file
