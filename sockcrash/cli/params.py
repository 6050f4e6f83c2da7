# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options that many commands share: which kernel, with which types and symbols, and how to show it."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import click

__all__ = (
    "FORMATS",
    "Seconds",
    "drgn_option",
    "filter_option",
    "holder_options",
    "log_options",
    "netns_option",
    "output_options",
    "target_options",
)

FORMATS = ("text", "table", "json", "jsonl", "csv", "crash")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical", "none")
LOGGERS = ("sockcrash", "drgn")
"""sockcrash's own logger, and the one that libdrgn writes to."""

Command = Callable[..., Any]

_PATH = click.Path(readable=False)  # only for completion: what a path won't do for is said when it is opened


class Seconds(click.FloatRange):
    """A time that can be slept: no more than a year, and a number."""

    def __init__(self, min: float) -> None:
        super().__init__(min=min, max=366 * 86400)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As FloatRange, to which NaN lies in every range."""
        seconds = super().convert(value, param, ctx)
        return self.fail(f"{value!r} is no time.", param, ctx) if math.isnan(seconds) else seconds


def _split_commas(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,
    value: tuple[str, ...],
) -> tuple[str, ...]:
    """Callback of METHOD[,METHOD...] options: all the names in the order given."""
    names = tuple(name for names in value for name in names.split(","))
    if not all(names):
        raise click.BadParameter("empty name", param=param)
    return names


def _many(*names: str, metavar: str = "PATH", text: str) -> Callable[[Command], Command]:
    return click.option(*names, multiple=True, type=_PATH, metavar=metavar, help=f"{text} (repeatable)")


_TARGET_OPTIONS: tuple[Callable[[Command], Command], ...] = (
    click.option("-k", "--kernel", is_flag=True, help="The running kernel (default)."),
    click.option(
        "-c", "--core", type=_PATH, metavar="PATH", help="A vmcore (ELF, kdump-compressed) or a snapshot."
    ),
    click.option("--qemu", metavar="ADDRESS", help="A QEMU guest, by its QMP socket's path or HOST:PORT."),
    _many(
        "-s", "--symbols", text="A file with debug information (vmlinux, module); others are not needed then."
    ),
    click.option("--main-symbols", is_flag=True, help="Only load debug information of the kernel itself."),
    click.option("--no-default-symbols", is_flag=True, help="Only load what -s and --extra-symbols name."),
    _many("--extra-symbols", text="More debug information, of nothing that is loaded in the kernel."),
    click.option(
        "--try-symbols-by",
        multiple=True,
        metavar="METHOD[,METHOD...]",
        callback=_split_commas,
        help="Let drgn search for debug information this way too: standard, debuginfod, build-id, "
        "debug-link, kmod=depmod, ... (repeatable)",
    ),
    click.option(
        "--no-symbols-by",
        multiple=True,
        metavar="METHOD[,METHOD...]",
        callback=_split_commas,
        help="Don't let drgn search this way. (repeatable)",
    ),
    _many("--debug-directory", text="Search for debug information here too."),
    _many("--kernel-directory", text="Search for the kernel image and modules here too."),
    click.option(
        "--vmcoreinfo", type=_PATH, metavar="PATH", help="VMCOREINFO text, instead of the dump's own."
    ),
    click.option("--btf", type=_PATH, metavar="PATH", help="Types from this file: raw BTF or ELF with .BTF."),
    click.option("--system-map", type=_PATH, metavar="PATH", help="Symbols from this System.map."),
    click.option(
        "--debuginfo",
        type=click.Choice(["auto", "btf", "dwarf"]),
        default="auto",
        show_default=True,
        help="Types and symbols from: what -s names, else BTF and kallsyms, else DWARF; or just one of them.",
    ),
    click.option(
        "--architecture", metavar="ARCH", help="The dump's architecture, where it can't be detected."
    ),
)


def _set_log_level(ctx: click.Context, param: click.Parameter, value: str | bool | None) -> None:  # noqa: ARG001
    """Callback of --log-level and -q: the level of both loggers, their messages to standard error."""
    level = "none" if value is True else value or None
    if level is None or ctx.resilient_parsing:
        return
    number = logging.CRITICAL + 1 if level == "none" else getattr(logging, str(level).upper())
    for name in LOGGERS:
        logging.getLogger(name).setLevel(number)


_LOG_OPTIONS: tuple[Callable[[Command], Command], ...] = (
    click.option(
        "--log-level",
        type=click.Choice(LOG_LEVELS),
        expose_value=False,
        callback=_set_log_level,
        help="What to log on standard error.  [default: warning]",
    ),
    click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_set_log_level,
        help="Log nothing, as --log-level none.",
    ),
)


def log_options(command: Command) -> Command:
    """Add --log-level and -q to a command that opens no target of its own."""
    return _decorated(command, _LOG_OPTIONS)


def target_options(command: Command) -> Command:
    """Add the target options to a command, which gets them as ONE ``TargetOptions``, keyword ``target``."""

    @functools.wraps(command)
    def with_target(*args: Any, **kwargs: Any) -> Any:
        from sockcrash.target import TargetOptions

        values = {name: kwargs.pop(name) for name in TargetOptions.__dataclass_fields__}
        _exclusive({"-k": kwargs.pop("kernel"), "-c": values["core"], "--qemu": values["qemu"]})
        _exclusive(
            {f"--{name.replace('_', '-')}": values[name] for name in ("main_symbols", "no_default_symbols")}
        )
        return command(*args, target=TargetOptions(**values), **kwargs)

    return _decorated(with_target, (*_TARGET_OPTIONS, *_LOG_OPTIONS))


def netns_option(command: Command) -> Command:
    """Add --netns to a command that takes SPECs, which gets its text, checked, by the keyword ``netns``."""

    def check(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:  # noqa: ARG001
        from sockcrash.locate.netns import check_netns

        return value if value is None or ctx.resilient_parsing else check_netns(value)

    option = click.option(
        "--netns",
        metavar="NAME|ino:N|pid:N",
        callback=check,
        help="Only sockets of this network namespace: by name, inode, or as that of a process.",
    )
    return _decorated(command, (option,))


_HOLDER_OPTIONS: tuple[Callable[[Command], Command], ...] = (
    click.option(
        "--comm",
        metavar="NAME",
        help="Only sockets that a process of this name holds; or a pattern: 'ngin*'.",
    ),
    click.option(
        "--cgroup",
        metavar="PATH|CONTAINER",
        help="Only sockets of this control group and those below it, or of the container whose id begins so.",
    ),
)


def filter_option(command: Command) -> Command:
    """Add --filter, --comm and --cgroup to a command that takes SPECs: one Filter, by the keyword ``selected``."""
    option = click.option(
        "--filter",
        "words",
        metavar="FILTER",
        help="Only sockets that this selects, in the language of ss: 'state established and dport = :443'.",
    )
    return _decorated(_with_selection(command), (option, *_HOLDER_OPTIONS))


def holder_options(command: Command) -> Command:
    """Add --comm and --cgroup to a command whose arguments are a filter, ``words``; likewise."""
    return _decorated(_with_selection(command), _HOLDER_OPTIONS)


def _with_selection(command: Command) -> Command:
    @functools.wraps(command)
    def with_selection(
        *args: Any, words: str | tuple[str, ...] | None, comm: str | None, cgroup: str | None, **kwargs: Any
    ) -> Any:
        text = " ".join(words) if isinstance(words, tuple) else words
        selected = None
        if text or comm is not None or cgroup is not None:
            from sockcrash.filter import selection

            selected = selection(text or None, comm, cgroup)
        return command(*args, selected=selected, **kwargs)

    return with_selection


def drgn_option(command: Command) -> Command:
    """Add --drgn to a command, which gets whether it is given by the keyword ``by_hand``."""
    option = click.option(
        "--drgn", "by_hand", is_flag=True, help="Print drgn code that yields the same values by hand."
    )
    return _decorated(command, (option,))


def output_options(*formats: str) -> Callable[[Command], Command]:
    """Add --format and --json to a command that can give ``formats``, the first being the default.

    The command gets the format's name by the keyword ``output_format``. Where there is only jsonl, --json
    means that.
    """
    json_format = "json" if "json" in formats else "jsonl"

    def check(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:  # noqa: ARG001
        if value in (None, *formats):
            return value
        what = "this command can't give it" if value in FORMATS else "there is no such format"
        raise click.BadParameter(f"{value!r}: {what}; choose of {', '.join(formats)}", param=param)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_format(*args: Any, as_json: bool, output_format: str | None, **kwargs: Any) -> Any:
            if as_json and output_format not in (None, json_format):
                raise click.UsageError(f"--json and --format {output_format} exclude each other")
            chosen = json_format if as_json else output_format or formats[0]
            return command(*args, output_format=chosen, **kwargs)

        options = [
            click.option(
                "--format",
                "output_format",
                metavar=f"[{'|'.join(formats)}]",
                callback=check,
                help=f"How to show it.  [default: {formats[0]}]",
            ),
            click.option("--json", "as_json", is_flag=True, help=f"Short for --format {json_format}."),
        ]
        return _decorated(with_format, options)

    return decorate


def _decorated(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def _exclusive(given: dict[str, Any]) -> None:
    names = [name for name, value in given.items() if value]
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)} exclude each other")
