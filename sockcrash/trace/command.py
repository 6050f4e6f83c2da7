# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program that is run to be traced: as the user who called sudo, held until the trace is ready."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sockcrash.errors import UsageError

__all__ = ("Command", "Identity", "caller")

_FAILED = 127


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a program runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str


def caller(environment: Mapping[str, str]) -> Identity | None:
    """The user who called sudo, None if nobody did; UsageError if what sudo left can't be understood."""
    if os.geteuid() != 0 or "SUDO_UID" not in environment:
        return None
    try:
        uid, gid = int(environment["SUDO_UID"]), int(environment["SUDO_GID"])
    except (KeyError, ValueError):
        raise UsageError(
            "SUDO_UID and SUDO_GID don't name a user", hint="--as-root runs the command as root"
        ) from None
    unknown = Identity(uid, gid, (gid,), environment.get("SUDO_USER", str(uid)), "/")
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return unknown
    groups = tuple(os.getgrouplist(entry.pw_name, gid))
    return replace(unknown, groups=groups, name=entry.pw_name, home=entry.pw_dir)


class Command:
    """A forked child that waits; ``go`` lets it become the program."""

    def __init__(self, argv: Sequence[str], identity: Identity | None) -> None:
        self._status: int | None = None
        wait, self._go = os.pipe()
        self._error, said = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._go)
            os.close(self._error)
            _become(argv, identity, wait, said)
        os.close(wait)
        os.close(said)

    def go(self) -> None:
        """Let it run. UsageError: there is no such program, or it can't be run."""
        with contextlib.suppress(BrokenPipeError):  # a Ctrl-C at the terminal ends the child while it waits
            os.write(self._go, b"g")
        os.close(self._go)
        self._go = -1
        with os.fdopen(self._error, "rb") as told:
            why = told.read().decode(errors="backslashreplace")
        if why:
            self.wait()
            raise UsageError(why)

    def ended(self) -> bool:
        """Whether it has ended; it is reaped then."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is not None

    def wait(self) -> None:
        """Wait for its end."""
        if self._status is None:
            self._status = os.waitpid(self.pid, 0)[1]

    @property
    def exit_status(self) -> int | None:
        """As a shell gives it: 128 and the signal's number, if one killed it; None while it runs."""
        if self._status is None:
            return None
        code = os.waitstatus_to_exitcode(self._status)
        return code if code >= 0 else 128 - code

    def abandon(self) -> None:
        """The trace is over: a child that still waits ends, a program that runs is left alone."""
        if self._go >= 0:
            os.close(self._go)
            self._go = -1
            os.close(self._error)
            self.wait()


def _become(argv: Sequence[str], identity: Identity | None, wait: int, said: int) -> None:
    """In the child: wait, change the user, and exec."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if callable(signal.getsignal(number)):  # what nohup(1) has it ignore stays ignored
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if not os.read(wait, 1):
            os._exit(0)
        environment = dict(os.environ)
        if identity is not None:
            os.setgroups(identity.groups)
            os.setgid(identity.gid)
            os.setuid(identity.uid)
            environment |= {"HOME": identity.home, "USER": identity.name, "LOGNAME": identity.name}
        os.set_inheritable(said, False)
        os.execvpe(argv[0], list(argv), environment)
    except (OSError, ValueError, OverflowError) as error:  # ValueError: an empty name
        why = getattr(error, "strerror", None) or error
        os.write(said, f"{argv[0]!r} can't be run: {why}".encode(errors="backslashreplace"))
    finally:
        os._exit(_FAILED)
