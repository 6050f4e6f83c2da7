# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the running kernel tells over sock_diag of the sockets that a ``diag:`` SPEC means, as clues."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

import drgn

from sockcrash.errors import NotASocketError
from sockcrash.locate.clue import Clue
from sockcrash.locate.sock_diag import Answer, DiagError, Query, ask

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel
    from sockcrash.locate.spec import Spec
    from sockcrash.locate.tuple import End

__all__ = ("clues_of_diag",)


def clues_of_diag(kernel: Kernel, spec: Spec) -> list[Clue]:
    """A clue for each answer: its cookie, which the question itself has assigned. NotASocketError: why there are none.

    Asked is the kernel that runs here, of sockcrash's own network namespace.
    """
    if not kernel.prog.flags & drgn.ProgramFlags.IS_LOCAL:
        raise NotASocketError(
            spec.text,
            f"{spec.text}: only the running kernel can be asked, and this is another",
            hint="--filter selects by states, ports and addresses everywhere",
        )
    answers: dict[int, Answer] = {}
    try:
        for query in _queries(spec):
            answers |= {one.cookie: one for one in ask(query).found}
            if answers and spec.ends is not None and spec.ends.peer is not None:
                break
    except DiagError as error:
        raise NotASocketError(spec.text, f"{spec.text}: {error.message}", hint=error.hint) from None
    return [_clue(spec, answer) for answer in answers.values()]


def _clue(spec: Spec, answer: Answer) -> Clue:
    return Clue(how=f"{spec.text}: {answer.spec}", cookie=answer.cookie, verbatim=True)


def _queries(spec: Spec) -> Iterator[Query]:
    """A lone end may be either of the two; a pair may be told from the peer's side, if there is none from this."""
    if spec.ends is None:
        yield Query(kinds=(spec.name,))
        return
    local, peer = spec.ends.local, spec.ends.peer
    for here, there in ((local, peer), (peer, local)):
        yield Query(
            kinds=(spec.name,), sport=_port(here), src=_network(here), dport=_port(there), dst=_network(there)
        )


def _port(end: End | None) -> int | None:
    return end.port if end else None


def _network(end: End | None) -> IPv4Network | IPv6Network | None:
    return ip_network(end.address) if end and end.address else None
