# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options that many commands share: which kernel, with which types and symbols, and how to show the answer."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ("FORMATS", "output_options", "target_options")

FORMATS = ("text", "table", "json", "jsonl", "csv", "crash")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical", "none")
LOGGERS = ("sockcrash", "drgn")
"""sockcrash's own logger, and the one that libdrgn writes to."""

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]

_PATH = click.Path()


class CommaSeparated(click.ParamType):
    """METHOD[,METHOD...] as a tuple of names."""

    name = "METHOD[,METHOD...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The names, in the order given; an empty one is a usage error."""
        names = tuple(value.split(","))
        if not all(names):
            self.fail(f"{value!r} has an empty name in it", param, ctx)
        return names


class Format(click.ParamType):
    """One of the output formats that a command can give."""

    name = "format"

    def __init__(self, formats: tuple[str, ...]) -> None:
        self.formats = formats

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The format's name; a usage error names those that the command can give."""
        name = str(value)
        if name not in self.formats:
            what = "this command can't give it" if name in FORMATS else "there is no such format"
            self.fail(f"{name!r}: {what}; choose of {', '.join(self.formats)}", param, ctx)
        return name

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002
        """What help shows; ``ctx`` is passed from click 8.2 on."""
        return f"[{'|'.join(self.formats)}]"


def _many(*names: str, metavar: str = "PATH", text: str) -> Decorator[Any]:
    return click.option(*names, multiple=True, type=_PATH, metavar=metavar, help=f"{text} (repeatable)")


_TARGET_OPTIONS: tuple[Decorator[Any], ...] = (
    click.option("-k", "--kernel", is_flag=True, help="The running kernel (default)."),
    click.option("-c", "--core", type=_PATH, metavar="PATH", help="A vmcore: ELF or kdump-compressed."),
    click.option("--qemu", metavar="ADDRESS", help="A QEMU guest, by its QMP socket's path or HOST:PORT."),
    _many("-s", "--symbols", text="A file with debug information (vmlinux, module); others are not needed then."),
    click.option("--main-symbols", is_flag=True, help="Only load debug information of the kernel itself."),
    click.option("--no-default-symbols", is_flag=True, help="Only load what -s and --extra-symbols name."),
    _many("--extra-symbols", text="More debug information, of nothing that is loaded in the kernel."),
    click.option(
        "--try-symbols-by",
        type=CommaSeparated(),
        multiple=True,
        metavar=CommaSeparated.name,
        help="Let drgn search for debug information this way too: standard, debuginfod, build-id, "
        "debug-link, kmod=depmod, ... (repeatable)",
    ),
    click.option(
        "--no-symbols-by",
        type=CommaSeparated(),
        multiple=True,
        metavar=CommaSeparated.name,
        help="Don't let drgn search this way. (repeatable)",
    ),
    _many("--debug-directory", text="Search for debug information here too."),
    _many("--kernel-directory", text="Search for the kernel image and modules here too."),
    click.option("--vmcoreinfo", type=_PATH, metavar="PATH", help="VMCOREINFO text, instead of the dump's own."),
    click.option("--btf", type=_PATH, metavar="PATH", help="Types from this file: raw BTF or ELF with .BTF."),
    click.option("--system-map", type=_PATH, metavar="PATH", help="Symbols from this System.map."),
    click.option(
        "--debuginfo",
        type=click.Choice(["auto", "btf", "dwarf"]),
        default="auto",
        show_default=True,
        help="Types and symbols from: what -s names, else BTF and kallsyms, else DWARF; or just one of them.",
    ),
    click.option("--architecture", metavar="ARCH", help="The dump's architecture, where it can't be detected."),
)


def _set_log_level(ctx: click.Context, param: click.Parameter, value: str | bool | None) -> None:
    """Callback of --log-level and -q: the level of both loggers, their messages to standard error."""
    level = "none" if value is True else value or None
    if level is None or ctx.resilient_parsing:
        return
    number = logging.CRITICAL + 1 if level == "none" else getattr(logging, str(level).upper())
    for name in LOGGERS:
        logging.getLogger(name).setLevel(number)


_LOG_OPTIONS: tuple[Decorator[Any], ...] = (
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


def target_options(command: Command) -> Command:
    """Add the target options to a command, which gets them as ONE ``TargetOptions``, by the keyword ``target``."""

    @functools.wraps(command)
    def with_target(*args: Any, **kwargs: Any) -> Any:
        from sockcrash.target import TargetOptions

        values = {name: kwargs.pop(name) for name in TargetOptions.__dataclass_fields__}
        _exclusive({"-k": kwargs.pop("kernel"), "-c": values["core"], "--qemu": values["qemu"]})
        _exclusive({f"--{name.replace('_', '-')}": values[name] for name in ("main_symbols", "no_default_symbols")})
        for name in ("try_symbols_by", "no_symbols_by"):
            values[name] = tuple(method for methods in values[name] for method in methods)
        return command(*args, target=TargetOptions(**values), **kwargs)

    return _decorated(with_target, (*_TARGET_OPTIONS, *_LOG_OPTIONS))


def output_options(*formats: str) -> Decorator[Any]:
    """Add --format and --json to a command that can give ``formats``, the first being the default.

    The command gets the format's name by the keyword ``output_format``. For a command that gives only jsonl, that is
    what --json means.
    """
    json_format = "json" if "json" in formats else "jsonl"

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
                type=Format(formats),
                help=f"How to show it.  [default: {formats[0]}]",
            ),
            click.option("--json", "as_json", is_flag=True, help=f"Short for --format {json_format}."),
        ]
        return _decorated(with_format, options)

    return decorate


def _decorated(command: Any, options: Any) -> Any:
    for option in reversed(options):
        command = option(command)
    return command


def _exclusive(given: dict[str, Any]) -> None:
    names = [name for name, value in given.items() if value]
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)} exclude each other")
