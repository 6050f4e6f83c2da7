# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opening a kernel: the running one, a vmcore or a QEMU guest, or saying why not and what helps."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import drgn

from sockcrash import __version__
from sockcrash.errors import TargetError, UsageError
from sockcrash.kernel import clock, vmcoreinfo
from sockcrash.target import debuginfo, live, qemu, snapshot, vmcore
from sockcrash.target.corefile import looks_like_core, open_regular

__all__ = ("Target", "TargetOptions", "looks_like_core", "open_target")

logger = logging.getLogger("sockcrash")

VMCOREINFO_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """The target options of a command line, named as there. Neither ``core`` nor ``qemu``: this kernel."""

    core: str | None = None
    qemu: str | None = None
    symbols: tuple[str, ...] = ()
    main_symbols: bool = False
    no_default_symbols: bool = False
    extra_symbols: tuple[str, ...] = ()
    try_symbols_by: tuple[str, ...] = ()
    no_symbols_by: tuple[str, ...] = ()
    debug_directory: tuple[str, ...] = ()
    kernel_directory: tuple[str, ...] = ()
    vmcoreinfo: str | None = None
    btf: str | None = None
    system_map: str | None = None
    debuginfo: str = "auto"
    architecture: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An opened kernel.

    ``source``: "live", "vmcore" or "qemu". ``types``: "btf" or "dwarf". ``symbols``: "kallsyms", "elf" or
    "system-map". ``taken``: when the memory was as it reads (ISO 8601, UTC), None if that can't be known.
    ``path``: the dump's. ``notes``: what a user should know of how it was opened.
    """

    prog: drgn.Program
    source: str
    release: str
    types: str
    symbols: str
    taken: str | None
    path: str | None = None
    notes: tuple[str, ...] = ()
    tool: str = f"sockcrash {__version__}"

    def describe(self) -> dict[str, str | None]:
        """The JSON object ``target``."""
        return {
            "source": self.source,
            "release": self.release,
            "types": self.types,
            "symbols": self.symbols,
            "taken": self.taken,
            "tool": self.tool,
        }


def open_target(options: TargetOptions) -> Target:
    """Open what ``options`` name. TargetError: why not, and what to do; UsageError: contradictions."""
    debuginfo.check_options(options)
    if options.core is not None and snapshot.is_snapshot_file(options.core):
        if options.symbols or options.btf or options.system_map:
            logger.warning(
                "%s is a snapshot, which has its own types and symbols: others are not used", options.core
            )
        return _open_snapshot(options.core)
    prog, notes = _open(options)
    for note in notes:
        logger.warning("%s", note)
    release = prog["UTS_RELEASE"].string_().decode(errors="backslashreplace")
    attached = debuginfo.attach(prog, options, release)
    for note in attached.notes:
        logger.info("%s", note)
    logger.info("kernel %s: types from %s, symbols from %s", release, attached.types, attached.symbols)
    return Target(
        prog=prog,
        source=_source(prog, options),
        release=release,
        types=attached.types,
        symbols=attached.symbols,
        taken=_taken(prog),
        path=options.core,
        notes=(*notes, *attached.notes),
    )


def _open_snapshot(path: str) -> Target:
    prog, content = snapshot.open_snapshot(Path(path))
    return Target(
        prog=prog,
        source="snapshot",
        release=content.meta["release"],
        types="btf",
        symbols="kallsyms",
        taken=content.meta["taken"],
        path=path,
        notes=(
            f"snapshot of {content.meta['source']}, taken {content.meta['taken']} by {content.meta['tool']}",
        ),
    )


def _open(options: TargetOptions) -> tuple[drgn.Program, list[str]]:
    """The program over that kernel's memory, and what is wrong with the memory but bearable."""
    platform = _platform(options.architecture) if options.architecture is not None else None
    info = _read_vmcoreinfo(options.vmcoreinfo) if options.vmcoreinfo is not None else None
    if options.qemu is not None:
        return qemu.open_guest(options.qemu, platform, info), []
    prog = drgn.Program(platform, vmcoreinfo=info)
    if options.core is None or live.is_kcore(options.core):
        live.open_kcore(prog)
        return prog, []
    return prog, vmcore.open_dump(prog, options.core, vmcoreinfo_given=info is not None)


def _platform(name: str) -> drgn.Platform:
    known = {architecture.name.lower(): architecture for architecture in drgn.Architecture}
    if name.lower() not in known:
        hint = f"choose of {', '.join(known)}"
        raise UsageError(f"--architecture {name}: no such architecture", hint=hint)
    return drgn.Platform(known[name.lower()])


def _read_vmcoreinfo(path: str) -> bytes:
    with open_regular(path, "a file of VMCOREINFO text") as file:
        text = file.read(VMCOREINFO_LIMIT)
    if b"OSRELEASE=" not in text:
        hint = "it is KEY=value lines, among them OSRELEASE=, PAGESIZE= and SYMBOL(swapper_pg_dir)="
        raise TargetError(f"--vmcoreinfo {path}: this is no VMCOREINFO text", hint=hint)
    return text


def _source(prog: drgn.Program, options: TargetOptions) -> str:
    if options.qemu is not None:
        return "qemu"
    return "live" if prog.flags & drgn.ProgramFlags.IS_LIVE else "vmcore"


def _taken(prog: drgn.Program) -> str | None:
    """The time that the kernel's own clock showed: when it crashed, else at its last tick."""
    if prog.flags & drgn.ProgramFlags.IS_LIVE:
        return datetime.now(timezone.utc).isoformat(timespec="seconds")
    try:
        seconds = int(vmcoreinfo.of(prog).plain.get("CRASHTIME") or clock.timekeeper(prog).xtime_sec)
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
    except (LookupError, ValueError, OverflowError, OSError, drgn.FaultError) as error:
        logger.debug("when the dump was taken can't be told: %s", error)
        return None
