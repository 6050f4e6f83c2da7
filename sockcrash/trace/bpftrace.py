# SPDX-License-Identifier: LGPL-2.1-or-later
"""An equivalent script for bpftrace, for kernels where tracefs or its kprobes are closed and BPF is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sockcrash.kernel.options.given import FETCHED

if TYPE_CHECKING:
    from sockcrash.trace.probes import Wanted

__all__ = ("script",)

_SCRIPT = """\
#!/usr/bin/env bpftrace
// setsockopt calls as they happen; made by sockcrash trace --emit bpftrace
kprobe:__sys_setsockopt{predicate}
{{
  $level = (int32)arg1;
  $option = (int32)arg2;
  @level[tid] = $level;
  @option[tid] = $option;
  @fd[tid] = (int32)arg0;
  @length[tid] = (int32)arg4;
  @begin[tid] = nsecs;
  // Values of options that may hold keys are not looked at.
  if ({fetched}) {{
    @value[tid] = *(int32 *)uptr(arg3);
  }}
}}
kprobe:security_socket_setsockopt
/@begin[tid]/
{{
  @sk[tid] = (uint64)((struct socket *)arg0)->sk;
}}
kretprobe:__sys_setsockopt
/@begin[tid]/
{{
  printf("%s %s(%d) thread %d fd %d sk %llx level %d option %d value %d length %d: %d (%llu ns)\\n",
    strftime("%H:%M:%S", nsecs), comm, pid, tid, @fd[tid], @sk[tid], @level[tid], @option[tid], @value[tid],
    @length[tid], (int32)retval, nsecs - @begin[tid]);
  delete(@level[tid]); delete(@option[tid]); delete(@fd[tid]); delete(@length[tid]);
  delete(@begin[tid]); delete(@value[tid]); delete(@sk[tid]);
}}
"""


def script(wanted: Wanted) -> str:
    """The script, with the filters on process, name, option and level."""
    conditions = " && ".join(_conditions(wanted))
    fetched = " ||\n      ".join(
        f"($level == {level} && $option <= {last}{''.join(f' && $option != {number}' for number in secret)})"
        for level, last, secret in FETCHED
    )
    return _SCRIPT.format(predicate=f"\n/{conditions}/" if conditions else "", fetched=fetched)


def _conditions(wanted: Wanted) -> Iterator[str]:
    options = [f"((int32)arg1 == {level} && (int32)arg2 == {number})" for level, number in wanted.options]
    for alternatives in (
        [f"pid == {pid}" for pid in wanted.pids],
        [f'comm == "{comm}"' for comm in wanted.comms],
        options,
        [f"(int32)arg1 == {level}" for level in wanted.levels],
    ):
        if alternatives:
            yield f"({' || '.join(alternatives)})"
