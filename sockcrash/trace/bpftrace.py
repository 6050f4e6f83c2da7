# SPDX-License-Identifier: LGPL-2.1-or-later
"""An equivalent script for bpftrace, for kernels where tracefs or its kprobes are closed and BPF is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sockcrash.kernel.options.given import FETCHED
from sockcrash.kernel.probes import VALUE_BYTES

if TYPE_CHECKING:
    from sockcrash.trace.probes import Wanted

__all__ = ("script",)

_SCRIPT = """\
#!/usr/bin/env bpftrace
// setsockopt calls as they happen; made by sockcrash trace --emit bpftrace
// Where bpftrace misses linux/types.h, as on Linux 5.10, tell it of BTF: BPFTRACE_BTF=/sys/kernel/btf/vmlinux
BEGIN
{{
  printf("setsockopt calls, but not those of io_uring; values in hex, [] where they are not looked at; ^C ends\\n");
}}
kprobe:__sys_setsockopt{predicate}
{{
  $level = (int32)arg1;
  $option = (int32)arg2;
  $length = (int32)arg4;
  @level[tid] = $level;
  @option[tid] = $option;
  @fd[tid] = (int32)arg0;
  @length[tid] = $length;
  @begin[tid] = nsecs;
  // Values of options that may hold keys are not looked at. Of a page that is not in memory, BPF sees zeros.
  $size = 0;
  if (arg3 != 0 && $length > 0 && (
      {fetched})) {{
    $size = $length < {most} ? $length : {most};
  }}
  @value[tid] = buf(uptr(arg3), $size & 63); // the verifier of BPF wants a mask
}}
kprobe:security_socket_setsockopt
/@begin[tid]/
{{
  @sk[tid] = ((struct socket *)arg0)->sk;
}}
kretprobe:__sys_setsockopt
/@begin[tid]/
{{
  $sk = @sk[tid];
  if ({shown}) {{
    printf("%s %s(%d) thread %d fd %d sk:%llx level %d option %d value [%rh] of %d bytes: %d (%llu ns)\\n",
      strftime("%H:%M:%S", nsecs), comm, pid, tid, @fd[tid], (uint64)$sk, @level[tid], @option[tid], @value[tid],
      @length[tid], (int32)retval, nsecs - @begin[tid]);
  }}
  delete(@level[tid]); delete(@option[tid]); delete(@fd[tid]); delete(@length[tid]); delete(@begin[tid]);
  delete(@value[tid]);
  if ($sk != 0) {{
    delete(@sk[tid]);
  }}
}}
END
{{
  clear(@level); clear(@option); clear(@fd); clear(@length); clear(@begin); clear(@value); clear(@sk);
}}
"""


def script(wanted: Wanted) -> str:
    """The script, with all filters."""
    conditions = " && ".join(_conditions(wanted))
    fetched = " ||\n      ".join(
        f"($level == {level} && $option <= {last}{''.join(f' && $option != {number}' for number in secret)})"
        for level, last, secret in FETCHED
    )
    return _SCRIPT.format(
        predicate=f"\n/{conditions}/" if conditions else "",
        fetched=fetched,
        most=VALUE_BYTES,
        shown=" && ".join(_shown(wanted)) or "1",
    )


def _shown(wanted: Wanted) -> Iterator[str]:
    """What is known at the end of a call."""
    if wanted.failed:
        yield "(int32)retval < 0"
    if wanted.ports:
        ends = ("$sk->__sk_common.skc_num", "bswap($sk->__sk_common.skc_dport)")
        yield f"({' || '.join(f'{end} == {port}' for port in wanted.ports for end in ends)})"


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
