# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the laboratory takes packages from: the machine's own mirrors with other suite names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from vmlib import apt
from vmlib.errors import FileGone, VmError

ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/keys/own.gpg] http://mirror.example/debian bookworm main contrib # trailing
deb http://mirror.example/debian-security bookworm-security main
deb cdrom:[Debian 12]/ bookworm main
deb https://other.example/tool stable stable
"""
DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
# comment within
Suites: bookworm bookworm-updates
Components: main
Signed-By: /keys/own.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
"""


def etc(tmp_path, **files):
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        place = tmp_path if name == "sources" else tmp_path / "sources.list.d"
        (
            place / {"sources": "sources.list", "deb822": "debian.sources", "off": "x.sources.disabled"}[name]
        ).write_text(text)
    return apt.system_sources(tmp_path)


def test_one_line_format(tmp_path):
    assert etc(tmp_path, sources=ONE_LINE) == [
        apt.Source("http://mirror.example/debian", ("bookworm",), ("main", "contrib"), "/keys/own.gpg"),
        apt.Source("http://mirror.example/debian-security", ("bookworm-security",), ("main",)),
        apt.Source("https://other.example/tool", ("stable",), ("stable",)),
    ]


def test_deb822_format(tmp_path):
    main, security = etc(tmp_path, deb822=DEB822, off=DEB822)
    assert main == apt.Source(
        "http://mirror.example/debian", ("bookworm", "bookworm-updates"), ("main",), "/keys/own.gpg"
    )
    assert (security.uri, security.suites) == (
        "http://mirror.example/debian-security",
        ("bookworm-security",),
    )
    assert "BEGIN PGP" in security.signed_by


@pytest.mark.parametrize("text", [{"sources": ONE_LINE}, {"deb822": DEB822}])
def test_mirrors(tmp_path, text):
    mirrors = apt.find_mirrors(etc(tmp_path, **text), "bookworm")
    assert mirrors.main.uri == "http://mirror.example/debian"
    assert mirrors.security.uri == "http://mirror.example/debian-security"


def test_a_third_party_that_uses_the_codename_is_not_the_archive():
    third = apt.Source("http://third.example/packages", ("bookworm",), ("main",))
    own = apt.Source("http://mirror.example/debian/", ("bookworm",), ("main",))
    assert apt.find_mirrors([third, own], "bookworm").main is own


def test_no_debian_archive_is_an_error_that_says_so():
    ubuntu = apt.Source("http://mirror.example/ubuntu", ("noble",), ("main",))
    with pytest.raises(VmError, match="needs a Debian machine"):
        apt.find_mirrors([ubuntu], "bookworm")


def test_other_suites_from_the_same_mirrors(tmp_path):
    key = tmp_path / "own.gpg"
    key.write_bytes(b"key")
    mirrors = apt.Mirrors(
        apt.Source("http://m.example/debian", ("bookworm",), ("main",), str(key)),
        apt.Source("http://m.example/debian-security", ("bookworm-security",), ("main",), str(key)),
    )
    assert apt.source_lines(mirrors, ["sid", "trixie-security"], tmp_path) == [
        f"deb [signed-by={key}] http://m.example/debian sid main",
        f"deb [signed-by={key}] http://m.example/debian-security trixie-security main",
    ]
    without = apt.Mirrors(mirrors.main, None)
    assert [line.split()[3] for line in apt.source_lines(without, ["sid", "sid-security"], tmp_path)] == [
        "sid"
    ]


def test_an_embedded_key_becomes_a_file(tmp_path):
    *_, security = etc(tmp_path, deb822=DEB822)
    (line,) = apt.source_lines(apt.Mirrors(security, None), ["sid"], tmp_path)
    assert f"[signed-by={tmp_path / 'embedded.asc'}]" in line
    assert (tmp_path / "embedded.asc").read_text() == (
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQINBF\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )


class Lists(apt.Apt):
    """An apt whose mirror answers from a table: suite → what apt-get update says (`` if all is well)."""

    def __init__(self, directory, answers):
        self.directory, self.answers = directory, answers
        self.suites, self.gone, self.keyring = list(answers), [], ""
        self.mirrors = apt.Mirrors(apt.Source("http://m.example/debian", ("bookworm",), ("main",)), None)

    def command(self, tool, *arguments, check=True, **options):
        suites = [line.split()[-2] for line in (self.directory / "sources.list").read_text().splitlines()]
        words = "".join(self.answers[suite] for suite in suites)
        return subprocess.CompletedProcess([tool], 100 if words else 0, "", words)


GONE = (
    "Err:4 http://m.example/debian bullseye Release\n  404  Not Found\n"
    "E: The repository does not have a Release file.\n"
)


def test_a_suite_that_the_mirror_dropped_is_left_out(tmp_path):
    lists = Lists(tmp_path, {"bullseye": GONE, "bookworm": "", "sid": ""})
    lists.update()
    assert (lists.gone, lists.suites) == (["bullseye"], ["bookworm", "sid"])


@pytest.mark.parametrize(
    "words",
    [
        "E: Could not resolve 'm.example'\nE: The repository does not have a Release file.\n",
        "E: Failed to fetch: 503 Service Unavailable\n",
        "E: The repository is not signed. NO_PUBKEY 0123\n",
        "E: Release file is not valid yet\n",
    ],
)
def test_a_mirror_in_trouble_is_a_failure_never_a_skip(tmp_path, words):
    lists = Lists(tmp_path, {"bullseye": words, "bookworm": words})
    with pytest.raises(VmError):
        lists.update()


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("E: Failed to fetch http://m.example/x.deb  404  Not Found\n", FileGone),
        ("E: Failed to fetch http://m.example/x.deb  Connection failed\n", VmError),
        ("E: Failed to fetch http://m.example/x.deb  Hash Sum mismatch\n", VmError),
    ],
)
def test_downloads_that_fail(tmp_path, words, kind):
    lists = Lists(tmp_path, {"bookworm": words})
    (tmp_path / "sources.list").write_text("deb http://m.example/debian bookworm main\n")
    with pytest.raises(VmError) as raised:
        lists.download(["x=1"], tmp_path)
    assert type(raised.value) is kind
