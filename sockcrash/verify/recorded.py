# SPDX-License-Identifier: LGPL-2.1-or-later
"""Comparing a dump with what its kernel said of its sockets: a record of getsockopt's bytes before and after."""

from __future__ import annotations

import errno
import json
import lzma
from pathlib import Path
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.decode import decode
from sockcrash.decode.inheritance import OptionReader
from sockcrash.errors import UsageError
from sockcrash.kernel.fields import IDENTITY
from sockcrash.verify.ask import UNSAFE
from sockcrash.verify.compare import Answers, Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sockcrash.kernel.view import Kernel
    from sockcrash.locate.address import Handle
    from sockcrash.model import Account

__all__ = ("find_truth", "load_truth", "verify_record")

_NAMES = ("truth.json", "truth.json.xz")
_RECORDED = range(128)


def find_truth(core: str) -> Path | None:
    """The record that lies beside a dump, if there is one."""
    beside = (Path(core).parent / name for name in _NAMES)
    return next((path for path in beside if path.is_file()), None)


def load_truth(path: Path) -> dict[str, Any]:
    """A record, compressed by xz or not; UsageError if it is none."""
    try:
        raw = path.read_bytes()
        record: Any = json.loads(lzma.decompress(raw) if path.suffix == ".xz" else raw)
    except (OSError, ValueError, lzma.LZMAError) as error:
        raise UsageError(f"{path} can't be read as a record of getsockopt: {error}") from None
    if not isinstance(record, dict) or not {"sockets", "before"} <= record.keys():
        raise UsageError(f"{path} is no record of getsockopt: it has no sockets")
    return record


def verify_record(
    kernel: Kernel, handles: Iterable[Handle], truth: dict[str, Any], complain: Callable[[str], None]
) -> Account:
    """Every socket of the record that the dump holds, found by its cookie."""
    ledger = Ledger()
    reader = OptionReader(kernel, complain, every=True)
    labels = {one["cookie"]: one["label"] for one in truth["sockets"] if one["cookie"]}
    before = truth["before"]["options"]
    after = truth.get("after", {}).get("options", {})
    for handle in handles:
        label = labels.get(_cookie(kernel, handle)) if handle.kind.full else None
        if label is None or label not in before:
            continue
        options = decode(kernel, handle, None, reader).options
        if not isinstance(options, tuple):
            ledger.not_compared(label)
            continue
        second = _answers(after[label]["value"]) if label in after else None
        ledger.compare(label, options, _answers(before[label]["value"]), second)
    return ledger.account()


def _cookie(kernel: Kernel, handle: Handle) -> int:
    try:
        (identity,) = kernel.reader(IDENTITY).sections(handle.address)
    except drgn.FaultError:
        return 0
    return int(identity["skc_cookie"])


def _answers(recorded: dict[str, dict[str, str | int]]) -> Answers:
    """``{level: {number: hex or errno}}``; a number of a level that is not there is no option of that socket.

    A record asks with a large buffer: EINVAL may come of that, and says nothing.
    """
    found: dict[tuple[int, int], bytes | int] = {}
    for level, numbers in recorded.items():
        for number in _RECORDED:
            key = int(level), number
            answer = numbers.get(str(number), errno.ENOPROTOOPT)
            if isinstance(answer, str):
                found[key] = bytes.fromhex(answer)
            elif key not in UNSAFE and answer != errno.EINVAL:
                found[key] = answer
    return found
