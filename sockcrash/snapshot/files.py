# SPDX-License-Identifier: LGPL-2.1-or-later
"""Snapshots on disk: compression by ending, safe creation, bounded decompression."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sockcrash.errors import TargetError, UsageError

__all__ = ("LIMIT", "compression_of", "read_content", "write_content")

# What a snapshot may unpack to: far above 40,000 sockets, far below what hurts a machine.
LIMIT = 2 << 30
_PIECE = 1 << 20
_DAMAGE: tuple[type[Exception], ...] = (lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError)
_MAGIC = {b"\xfd7zXZ\0": "xz", b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst"}


def compression_of(head: bytes) -> str | None:
    """xz, gz or zst by the first bytes of a file; None if it is not compressed."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


def read_content(path: Path, limit: int = LIMIT) -> bytes:
    """The content of a file, unpacked; TargetError if it is damaged or unpacks to more than ``limit`` bytes."""
    with path.open("rb") as file:
        head = file.read(6)
        file.seek(0)
        kind = compression_of(head)
        try:
            pieces = _pieces(file, kind)
            return _bounded(pieces, limit, path)
        except (*_DAMAGE, *_zstd_errors()) as error:
            raise TargetError(
                f"{path}: the compressed data is damaged: {error}", hint="copy it again"
            ) from None


def _bounded(pieces: Iterator[bytes], limit: int, path: Path) -> bytes:
    out = bytearray()
    for piece in pieces:
        out += piece
        if len(out) > limit:
            raise TargetError(f"{path} unpacks to more than {limit >> 20} MB, which no snapshot does")
    return bytes(out)


def _pieces(file: Any, kind: str | None) -> Iterator[bytes]:
    opened: Any = _OPENERS[kind](file) if kind else file
    while piece := opened.read(_PIECE):
        yield piece


def _zstd() -> Any:
    """compression.zstd, which Python has from 3.14 on."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    return zstd


def _zstd_errors() -> tuple[type[Exception], ...]:
    zstd = _zstd()
    return (zstd.ZstdError,) if zstd else ()


def _zstd_open(file: Any) -> Any:
    zstd = _zstd()
    if zstd is None:
        raise TargetError(
            "this Python can't read zstd (3.14 and later can)",
            hint="unpack it first: zstd -d FILE; or use .xz",
        )
    return zstd.open(file)


_OPENERS: dict[str, Callable[[Any], Any]] = {"xz": lzma.open, "gz": gzip.open, "zst": _zstd_open}


def _compress(path: Path) -> Callable[[bytes], bytes]:
    ending = path.suffix
    if ending == ".zst":
        zstd = _zstd()
        if zstd is None:
            raise UsageError(
                f"{path}: this Python can't write zstd (3.14 and later can)", hint="name it .xz or .gz"
            )
        return lambda content: bytes(zstd.compress(content))
    if ending == ".xz":
        return lambda content: lzma.compress(content, check=lzma.CHECK_CRC64, preset=6)
    if ending == ".gz":
        return lambda content: gzip.compress(content, mtime=0)
    return lambda content: content


def write_content(path: Path, content: bytes, *, force: bool) -> int:
    """Write a file whole or not at all, mode 0600; returns its size. Refuses to overwrite without ``force``."""
    check_writable(path, force=force)
    packed = _compress(path)(content)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(packed)
            file.flush()
            os.fsync(file.fileno())
        if force:
            temporary.replace(path)
        else:
            os.link(temporary, path, follow_symlinks=False)
    except FileExistsError:
        raise UsageError(f"{path} exists", hint="--force overwrites it") from None
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return len(packed)


def check_writable(path: Path, *, force: bool) -> None:
    """Refuse early, before the work is done."""
    if path.is_dir():
        raise UsageError(f"{path} is a directory")
    if (path.exists() or path.is_symlink()) and not force:
        raise UsageError(f"{path} exists", hint="--force overwrites it")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is no directory")
    _compress(path)
