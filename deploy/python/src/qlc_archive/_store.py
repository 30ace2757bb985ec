"""Where an archive lies: a local folder, or a bucket through pyarrow.fs. One code path for both."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from .errors import NotFoundError

# A bucket answers each request after some milliseconds, so many are asked at a time.
THREADS = 16
_CHUNK = 1 << 20


class Store:
    """An archive's place, and the few operations on it."""

    def __init__(self, place: str | os.PathLike[str], filesystem: pafs.FileSystem | None) -> None:
        text = os.fspath(place)
        self.is_local = False
        if filesystem is not None:
            self.fs, self.root = filesystem, text.removeprefix("s3://").rstrip("/")
            self.is_local = isinstance(filesystem, pafs.LocalFileSystem)
            self.url = text
        elif "://" in text and not text.startswith("file://"):
            self.fs, root = pafs.FileSystem.from_uri(text)
            # What follows a question mark is for pyarrow, and not for the program.
            self.root, self.url = root.rstrip("/"), text.split("?")[0].rstrip("/")
        else:
            folder = Path(text.removeprefix("file://")).expanduser().absolute()
            self.fs, self.root, self.url = pafs.LocalFileSystem(), folder.as_posix(), folder.as_posix()
            self.is_local = True
        if self.fs.get_file_info(self.root).type != pafs.FileType.Directory:
            raise NotFoundError(f"{self.url}: there is no such archive")

    def path(self, key: str) -> str:
        """The path of a key for pyarrow."""
        return f"{self.root}/{key}"

    def folders(self, key: str, prefix: str) -> list[str]:
        """The values of the folders `prefix=…` directly below a folder, in order."""
        selector = pafs.FileSelector(self.path(key) if key else self.root, allow_not_found=True)
        names = (info.base_name for info in self.fs.get_file_info(selector) if info.type == pafs.FileType.Directory)
        return sorted(name.removeprefix(f"{prefix}=") for name in names if name.startswith(f"{prefix}="))

    def read(self, key: str) -> bytes | None:
        """The bytes of a small object; None where there is none."""
        try:
            with self.fs.open_input_stream(self.path(key)) as stream:
                content = stream.read()
        except FileNotFoundError:
            return None
        return bytes(content)

    def read_all(self, keys: Iterable[str]) -> list[bytes | None]:
        """The bytes of many small objects."""
        with ThreadPoolExecutor(1 if self.is_local else THREADS) as pool:
            return list(pool.map(self.read, keys))

    def identity(self, key: str) -> str | None:
        """What differs when other bytes are put in the place of an object; None where there is none."""
        if self.is_local:
            try:
                stat = os.stat(self.path(key))
            except FileNotFoundError:
                return None
            return f"{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}"
        info = self.fs.get_file_info(self.path(key))
        if info.type != pafs.FileType.File:
            return None
        return f"{info.size}:{info.mtime_ns}"

    def open(self, key: str) -> Any:
        """The object as a file in which pyarrow can seek. That of a bucket is a copy: what was hashed is what is read."""
        if self.is_local:
            return pa.OSFile(self.path(key))
        handle, name = tempfile.mkstemp(prefix="qlc-archive-")
        try:
            with os.fdopen(handle, "wb") as copy, self.fs.open_input_stream(self.path(key)) as stream:
                while chunk := stream.read(_CHUNK):
                    copy.write(chunk)
            return pa.OSFile(name)
        finally:
            os.unlink(name)


def sha256(file: Any) -> str:
    """The sha256 of an open file, which is put back to its beginning."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read_buffer(_CHUNK):
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()
