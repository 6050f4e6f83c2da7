# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where types and symbols come from: the files that -s names, the kernel's own BTF and kallsyms, or DWARF."""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import drgn

from sockcrash.errors import TargetError, UsageError
from sockcrash.kernel import nodebug
from sockcrash.kernel.lost_types import types_are_lost
from sockcrash.kernel.offer import vmlinux_has_dwarf, withdraw
from sockcrash.target.corefile import open_regular
from sockcrash.target.packages import debug_package
from sockcrash.target.symbolfile import check_symbol_file, explain_unused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.target import TargetOptions

logger = logging.getLogger("sockcrash")

SWITCHES = ("module-name", "build-id", "debug-link", "procfs", "embedded-vdso", "reuse", "supplementary")
KMOD_METHODS = {f"kmod={method.name.lower().replace('_', '-')}": method for method in drgn.KmodSearchMethod}


class Attached(NamedTuple):
    """What serves as types ("btf", "dwarf") and as symbols ("kallsyms", "elf", "system-map"), and remarks."""

    types: str
    symbols: str
    notes: tuple[str, ...]


def check_options(options: TargetOptions) -> None:
    """UsageError for contradictions, TargetError for files that can't be what they are given as."""
    if options.debuginfo == "btf" and (options.symbols or options.extra_symbols):
        raise UsageError("-s and --extra-symbols name DWARF files, --debuginfo btf forbids them")
    if options.debuginfo == "dwarf" and (options.btf or options.system_map):
        raise UsageError("--btf and --system-map are of no use with --debuginfo dwarf")
    for path in (*options.symbols, *options.extra_symbols):
        check_symbol_file(path)
    for given, what in ((options.btf, "a file with BTF"), (options.system_map, "a System.map")):
        if given is not None:
            open_regular(given, what).close()


def attach(prog: drgn.Program, options: TargetOptions, release: str) -> Attached:
    """Give ``prog`` types and symbols by the ladder of ``--debuginfo``. TargetError when there are none."""
    withdraw(prog)
    _set_finders(prog, options)
    without_btf: TargetError | None = None
    if options.debuginfo == "btf" or (options.debuginfo == "auto" and not options.symbols):
        try:
            found = nodebug.attach(
                prog, btf=options.btf, system_map=options.system_map, live=is_running_kernel(prog)
            )
        except TargetError as error:
            if options.debuginfo == "btf" or options.btf or options.system_map:
                raise
            without_btf = error
            logger.info("no BTF: %s", error)
        else:
            _load_extra(prog, options.extra_symbols)
            return Attached(found.types, found.symbols, tuple(found.notes))
    return _attach_dwarf(prog, options, release, without_btf)


def build_id(prog: drgn.Program) -> bytes | None:
    """The kernel's build id, None if it does not say (Linux before 5.9, some broken stable releases)."""
    try:
        found: bytes | None = prog.main_module().build_id
    except LookupError:
        return None
    return found


def is_running_kernel(prog: drgn.Program) -> bool:
    """Whether it is this machine's kernel, so that /proc and /sys speak of it too."""
    here = drgn.ProgramFlags.IS_LIVE | drgn.ProgramFlags.IS_LOCAL
    return bool(prog.flags & here == here)


def _set_finders(prog: drgn.Program, options: TargetOptions) -> None:
    """Apply --try-symbols-by, --no-symbols-by and the directories, as drgn's own command line does."""
    search = prog.debug_info_options
    finders = prog.enabled_debug_info_finders()
    registered = prog.registered_debug_info_finders()
    for wanted, methods in ((True, options.try_symbols_by), (False, options.no_symbols_by)):
        for method in methods:
            if method in SWITCHES:
                setattr(search, f"try_{method.replace('-', '_')}", wanted)
            elif wanted and method in KMOD_METHODS:
                search.try_kmod = KMOD_METHODS[method]
            elif not wanted and method == "kmod":
                search.try_kmod = drgn.KmodSearchMethod.NONE
            elif method not in registered:
                known = (*sorted(registered), *SWITCHES, *(KMOD_METHODS if wanted else ["kmod"]))
                option = "--try-symbols-by" if wanted else "--no-symbols-by"
                raise UsageError(f"{option} {method}: no such method", hint=f"choose of {', '.join(known)}")
            elif wanted and method not in finders:
                finders.append(method)
            elif not wanted and method in finders:
                finders.remove(method)
    prog.set_enabled_debug_info_finders(finders)
    search.directories = (*options.debug_directory, *search.directories)
    search.kernel_directories = (*options.kernel_directory, *search.kernel_directories)


def _attach_dwarf(
    prog: drgn.Program, options: TargetOptions, release: str, without_btf: TargetError | None
) -> Attached:
    """Load what -s names and the kernel's own DWARF; BTF serves the modules, where it may and can."""
    whole = _load(prog, options.symbols, main=not options.no_default_symbols)
    _load_extra(prog, options.extra_symbols)
    kernel_id = build_id(prog)
    unused = _unused(prog, options.symbols)
    if not vmlinux_has_dwarf(prog):
        if unused:
            raise explain_unused(unused[0], kernel_id, release)
        raise _no_debug_info(kernel_id, release, without_btf)
    only_main = options.main_symbols or options.no_default_symbols
    if not (only_main or _btf_serves_modules(prog, options)) and whole:
        _load(prog, default=True)
    notes = tuple(f"ignored: {explain_unused(path, kernel_id, release)}" for path in unused)
    for note in notes:
        logger.warning("%s", note)
    return Attached("dwarf", "elf", notes)


def _load(prog: drgn.Program, paths: tuple[str, ...] = (), **which: bool) -> bool:
    """``Program.load_debug_info``; what it misses is looked at afterwards. False: it can't find the modules."""
    with _quiet_about_missing_files():
        try:
            prog.load_debug_info(paths, **which)
        except drgn.MissingDebugInfoError:
            missing = [module.name for module in prog.modules() if module.wants_debug_file()]
            logger.info("no debug information found for %s", ", ".join(missing))
        except MemoryError:  # what a damaged list of modules makes drgn ask for
            logger.warning("the list of modules is damaged: only the kernel's own debug information is used")
            types_are_lost(prog)
            _load_main(prog, paths)
            return False
    return True


def _load_main(prog: drgn.Program, paths: tuple[str, ...]) -> None:
    """Debug information of vmlinux alone, without a look at the list of modules."""
    main = prog.main_module()
    for path in paths:
        main.try_file(path)
    with suppress(drgn.MissingDebugInfoError):
        prog.load_module_debug_info(main)


def _btf_serves_modules(prog: drgn.Program, options: TargetOptions) -> bool:
    return options.debuginfo == "auto" and nodebug.attach_modules(prog, live=is_running_kernel(prog))


def _unused(prog: drgn.Program, paths: tuple[str, ...]) -> list[str]:
    """Those of ``paths`` that serve no module."""
    used = {
        file
        for module in prog.modules()
        for file in (module.debug_file_path, module.loaded_file_path)
        if file
    }
    used_files = [Path(file) for file in used]
    return [path for path in paths if not any(file.exists() and file.samefile(path) for file in used_files)]


def _load_extra(prog: drgn.Program, paths: tuple[str, ...]) -> None:
    for path in paths:
        name = str(Path(path).absolute())
        prog.extra_module(name, create=True).try_file(name)


def _no_debug_info(kernel_id: bytes | None, release: str, without_btf: TargetError | None) -> TargetError:
    package = debug_package(release)
    hint = f"install {package or 'the debug package of that kernel'}, or give its vmlinux with -s"
    if without_btf:
        hint += f"; what the kernel carries itself does not serve: {without_btf.message}"
    return TargetError(
        f"no types and symbols for kernel {release} (build id {kernel_id.hex() if kernel_id else 'unknown'})",
        hint=hint,
    )


@contextmanager
def _quiet_about_missing_files() -> Iterator[None]:
    """Keep back drgn's remarks on files that it lacks or does not need: what they mean is said here."""

    def wanted(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        return not text.startswith(("missing ", "... missing ", "provided file ")) and not text.endswith(
            "; ignoring"
        )

    drgn_logger = logging.getLogger("drgn")
    drgn_logger.addFilter(wanted)
    try:
        yield
    finally:
        drgn_logger.removeFilter(wanted)
