# SPDX-License-Identifier: LGPL-2.1-or-later
"""Feed damaged BTF, kallsyms tables, names of sockets and answers of sock_diag to the readers for some minutes.

Each case follows from its number, the seed, which is printed when it fails: `scripts/fuzz --only SEED` repeats it. A
case fails if anything but a clear refusal comes out, if it takes longer than the limit, or more memory than the limit.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import signal
import struct
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import drgn

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests" / "unit"))

from btf_maker import BtfMaker, small_kernel  # noqa: E402
from fuzz_names import try_names  # noqa: E402
from kallsyms_maker import IMAGE, ORDERS, make_image  # noqa: E402
from sockcrash.errors import TargetError  # noqa: E402
from sockcrash.kernel import kallsyms_find, vmcoreinfo  # noqa: E402
from sockcrash.kernel.btf import Btf  # noqa: E402
from sockcrash.kernel.btf_types import BtfTypes  # noqa: E402

SYSFS = Path("/sys/kernel/btf/vmlinux")
SECONDS_A_CASE = 10
MEMORY = 2 << 30  # bytes of address space
NUMBERS = (0, 1, 2, 3, 0x7F, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
KINDS = [
    drgn.TypeKind.STRUCT,
    drgn.TypeKind.UNION,
    drgn.TypeKind.ENUM,
    drgn.TypeKind.TYPEDEF,
    drgn.TypeKind.INT,
]


class Corpus:
    """What cases begin with: blobs of BTF, with the places of their type records, and images with kallsyms."""

    def __init__(self, files: list[Path]) -> None:
        blobs = [small_kernel().blob(), _generated_kernel()]
        blobs += [path.read_bytes() for path in files]
        self.small = blobs[:2]
        self.large = blobs[2:]
        self.images = {age: make_image(age) for age in ORDERS}


def _generated_kernel() -> bytes:
    make = small_kernel()
    random = Random(0)
    for number in range(400):
        members = [
            (f"m{i}", random.randrange(1, make.next_id), 64 * i) for i in range(random.randrange(1, 9))
        ]
        make.struct(f"struct_{number}", 8 * len(members), *members)
        make.add(random.choice((2, 8, 9, 10, 11)), f"ref_{number}", random.randrange(1, make.next_id))
    blob: bytes = make.blob()
    return blob


def damage(random: Random, data: bytearray, start: int, end: int) -> None:
    """Overwrite something between two places, in one of many ways."""
    at = random.randrange(start, max(end - 4, start + 1))
    way = random.randrange(7)
    if way == 0:
        data[at] ^= 1 << random.randrange(8)
    elif way == 1:
        data[at] = random.randrange(256)
    elif way == 2:
        struct.pack_into("<I", data, at & ~3, random.choice(NUMBERS))
    elif way == 3:
        struct.pack_into("<I", data, at & ~3, random.randrange(1 << random.randrange(1, 33)))
    elif way == 4:
        size = random.randrange(1, 64)
        data[at : at + size] = bytes([random.choice((0, 0xFF, 0x41))]) * len(data[at : at + size])
    elif way == 5:
        other, size = random.randrange(start, end), random.randrange(1, 256)
        data[at : at + size] = data[other : other + len(data[at : at + size])]
    else:
        value = struct.unpack_from("<I", data, at & ~3)[0]
        struct.pack_into("<I", data, at & ~3, value + random.choice((-1, 1, -256, 256)) & 0xFFFFFFFF)


def redirect(random: Random, data: bytearray) -> None:
    """Let a word of the types that looks like a type's number name another type: cycles come from that."""
    length, types, size = struct.unpack_from("<III", data, 4)
    if length + types + size > len(data) or size < 64:
        return
    for _ in range(100):
        at = length + types + 4 * random.randrange(size // 4)
        if 0 < struct.unpack_from("<I", data, at)[0] < size // 12:
            struct.pack_into("<I", data, at, random.randrange(size // 12))
            return


def damaged_btf(random: Random, corpus: Corpus) -> bytes:
    """A blob with one to some damages."""
    large = corpus.large and random.randrange(16) == 0
    data = bytearray(random.choice(corpus.large if large else corpus.small))
    for _ in range(random.choice((1, 1, 2, 4, 16, 64))):
        if random.randrange(3) == 0:
            redirect(random, data)
        else:
            damage(random, data, 0 if random.randrange(6) == 0 else 24, len(data))
    if random.randrange(10) == 0:
        del data[random.randrange(len(data)) :]
    return bytes(data)


def try_btf(random: Random, corpus: Corpus) -> None:
    """Index a damaged blob and use types of it as drgn's users do."""
    prog = corpus.images["6.12"].program()
    btf = Btf(damaged_btf(random, corpus))
    types = BtfTypes(prog, btf)
    prog.register_type_finder(
        "fuzz", lambda _prog, kinds, name, _file: types.find(kinds, name), enable_index=0
    )
    if random.randrange(4) == 0:
        module = BtfMaker()
        module.struct("of_module", 8, ("a", random.randrange(1, btf.end_id + 2), 0))
        types = BtfTypes(prog, Btf(module.blob(), "module", base=btf), types)
    for name in (
        "sock",
        "list_head",
        "unsigned int",
        "state",
        "LISTEN",
        "tcp_v4_rcv",
        "struct_7",
        "of_module",
    ):
        tolerate(types.find, KINDS, name)
        tolerate(types.find_enumerator, name)
    for _ in range(150):
        tolerate(use_type, prog, types, random.randrange(btf.end_id))


def use_type(prog: drgn.Program, types: BtfTypes, type_id: int) -> None:
    """Look at everything that a type has, and at a value of it."""
    ctype = types.type(type_id)
    ctype.type_name()
    str(ctype)
    if ctype.kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION) and ctype.members:
        for member in ctype.members:
            tolerate(lambda member: member.type, member)
            tolerate(ctype.member, member.name or "")
        if ctype.size < 4096:
            # drgn reads no long double.
            with suppress(NotImplementedError):
                str(drgn.Object(prog, ctype, address=IMAGE).read_())


def try_kallsyms(random: Random, corpus: Corpus) -> None:
    """Look for names and addresses in damaged tables."""
    image = corpus.images[random.choice(list(ORDERS))]
    data, text = bytearray(image.data), image.vmcoreinfo
    first = min(image.places.values()) - IMAGE
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        damage(random, data, first, len(data))
    if random.randrange(4) == 0:
        text = wrong_address(random, text)
    prog = type(image)(data, image.places, text).program()
    info = vmcoreinfo.of(prog)
    found = kallsyms_find.by_vmcoreinfo(prog, info) or kallsyms_find.by_search(prog, info)
    for name in ("_stext", "tcp_function_5", "sock_twin", "x" * 200, "nothing"):
        tolerate(found.find, name)
    for _ in range(20):
        address = IMAGE + random.randrange(0x10000)
        tolerate(found.at, address)
        tolerate(found.next_address, address)
    tolerate(lambda: list(found.all()))


def wrong_address(random: Random, text: str) -> str:
    """VMCOREINFO with another digit in the address of one of the symbols that the readers go by."""
    lines = text.splitlines()
    number = random.choice([i for i, line in enumerate(lines) if "kallsyms_" in line or "_stext" in line])
    digits = list(lines[number])
    digits[-random.randrange(1, 9)] = random.choice("0123456789abcdef")
    lines[number] = "".join(digits)
    return "".join(f"{line}\n" for line in lines)


def tolerate(action: Any, *args: Any) -> None:
    """Do something that may be refused, or find no memory; nothing else may come of it."""
    with suppress(TargetError, LookupError, drgn.FaultError):
        action(*args)


def run_case(seed: int, corpus: Corpus) -> bool:
    """Whether the damage was noticed at once; raises what should not come out."""
    random = Random(seed)
    way = random.randrange(4)
    try:
        if way == 0:
            try_names(random)
        else:
            (try_kallsyms if way == 1 else try_btf)(random, corpus)
    except TargetError:
        return True
    return False


def work(corpus: Corpus, first: int, deadline: float, state: Any) -> None:
    """Run cases from a seed on; ``state`` holds the current seed, when it began, and how many were refused."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for seed in range(first, sys.maxsize):
        if time.monotonic() > deadline:
            return
        state[0], state[1] = seed, time.monotonic()
        state[2] += run_case(seed, corpus)
        state[3] += 1


def watch(corpus: Corpus, first: int, deadline: float) -> tuple[str | None, int, int, int]:
    """Run cases in a process of their own until one fails: what went wrong, its seed, cases, and refusals."""
    context = multiprocessing.get_context("fork")
    state = context.Array("d", [first, time.monotonic(), 0, 0])
    process = context.Process(target=work, args=(corpus, first, deadline, state))
    process.start()
    trouble = None
    while process.is_alive():
        process.join(0.5)
        if process.is_alive() and time.monotonic() - state[1] > SECONDS_A_CASE:
            process.kill()
            process.join()
            trouble = f"takes longer than {SECONDS_A_CASE} s"
    if trouble is None and process.exitcode:
        number = process.exitcode
        trouble = f"died of {signal.Signals(-number).name}" if number < 0 else "raised what is printed above"
    return trouble, int(state[0]), int(state[3]), int(state[2])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=3, help="how long to go on (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="the first seed (default: the time)"
    )
    parser.add_argument("--only", type=int, metavar="SEED", help="repeat one case, here and without limits")
    parser.add_argument(
        "--btf", type=Path, action="append", help="begin with this blob of BTF too (repeatable)"
    )
    args = parser.parse_args()
    corpus = Corpus(args.btf or ([SYSFS] if SYSFS.exists() else []))
    if args.only is not None:
        print("refused" if run_case(args.only, corpus) else "read")
        return 0
    started = time.monotonic()
    seed, cases, refused, failures = args.seed, 0, 0, []
    while time.monotonic() < started + 60 * args.minutes:
        try:
            trouble, last, done, noticed = watch(corpus, seed, started + 60 * args.minutes)
        except KeyboardInterrupt:
            traceback.print_exc()
            break
        cases, refused = cases + done, refused + noticed
        if trouble:
            failures.append(last)
            print(f"seed {last}: {trouble}", flush=True)
        seed = last + 1
    print(
        f"seeds {args.seed} to {seed - 1}: {cases} cases, {refused} refused at once, {len(failures)} failures"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
