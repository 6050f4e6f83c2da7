# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where packages come from: the machine's own mirrors, read with other suite names, its setup untouched.

Signatures are checked by apt with the archive keyring, as for the machine's own suites.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import process, store
from .errors import FileGone, VmError

KEYRINGS = tuple(f"/usr/share/keyrings/debian-archive-keyring.{suffix}" for suffix in ("gpg", "pgp"))
GONE = re.compile(r"\b404\b|File not found|does not have a Release file")
UNREACHABLE = re.compile(
    r"Could not (?:resolve|connect)|Temporary failure|timed out|Connection (?:failed|refused)|\b5\d\d\b"
)


@dataclass(frozen=True)
class Source:
    """One repository as apt's configuration names it."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""


@dataclass(frozen=True)
class Mirrors:
    """The Debian archive and its security archive, as this machine reaches them."""

    main: Source
    security: Source | None


def _one_line(text: str) -> list[Source]:
    """Entries of a *.list file: `deb [options] URI SUITE COMPONENT...`."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+[^#\s]+)*)", line)
        if match:
            options = dict(part.split("=", 1) for part in (match[1] or "").split() if "=" in part)
            found.append(Source(match[2], (match[3],), tuple(match[4].split()), options.get("signed-by", "")))
    return found


def _deb822(text: str) -> list[Source]:
    """Entries of a *.sources file: stanzas of `Field: value`, with continuation lines."""
    found = []
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields = {
            match[1].lower(): match[2].strip()
            for match in re.finditer(r"^([A-Za-z-]+):((?:.*)(?:\n[ \t].*)*)", stanza, re.MULTILINE)
        }
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
            continue
        for uri in fields.get("uris", "").split():
            found.append(
                Source(
                    uri,
                    tuple(fields.get("suites", "").split()),
                    tuple(fields.get("components", "").split()),
                    fields.get("signed-by", ""),
                )
            )
    return found


def system_sources(etc: Path = Path("/etc/apt")) -> list[Source]:
    """Every binary repository that the machine's apt is configured with."""
    found = []
    parts = sorted((etc / "sources.list.d").glob("*")) if (etc / "sources.list.d").is_dir() else []
    for path in [etc / "sources.list", *parts]:
        if path.suffix == ".list" and path.is_file():
            found += _one_line(path.read_text())
        elif path.suffix == ".sources":
            found += _deb822(path.read_text())
    return [source for source in found if not source.uri.startswith("cdrom:")]


def find_mirrors(sources: list[Source], codename: str) -> Mirrors:
    """The Debian entries among `sources`, for a machine of release `codename`."""
    own = {codename, "stable", "oldstable", "testing", "unstable", "sid"}
    main = [s for s in sources if own & set(s.suites) and "main" in s.components]
    main.sort(key=lambda s: not re.search(r"/debian/?$", s.uri))
    security = [s for s in sources if any(re.search(r"-security$|/updates$", suite) for suite in s.suites)]
    security = [s for s in security if "main" in s.components]
    if not main:
        raise VmError(
            f"no Debian archive for {codename} with component main in /etc/apt: "
            "scripts/vm needs a Debian machine whose apt has its sources configured"
        )
    return Mirrors(main[0], security[0] if security else None)


def codename() -> str:
    """The release of this machine, from os-release."""
    match = re.search(r'^VERSION_CODENAME="?(\w+)', Path("/etc/os-release").read_text(), re.MULTILINE)
    if not match:
        raise VmError("/etc/os-release names no VERSION_CODENAME: scripts/vm needs a Debian machine")
    return match[1]


def machine_mirrors() -> Mirrors:
    """The mirrors of this machine."""
    return find_mirrors(system_sources(), codename())


def _keyring(source: Source, directory: Path) -> str:
    """A keyring file for `source`; an embedded key is written to `directory`."""
    if "BEGIN PGP" in source.signed_by:
        path = directory / "embedded.asc"
        lines = (line.strip() for line in source.signed_by.splitlines())
        path.write_text("\n".join("" if line == "." else line for line in lines) + "\n")
        return str(path)
    own = [source.signed_by] if source.signed_by else []
    return next((path for path in [*own, *KEYRINGS] if Path(path).is_file()), "")


def source_lines(mirrors: Mirrors, suites: list[str], directory: Path, keyring: str = "") -> list[str]:
    """sources.list lines for `suites`; those named *-security come from the security archive."""
    lines = []
    for suite in suites:
        source = mirrors.security if suite.endswith("-security") else mirrors.main
        if source is None:
            continue
        key = keyring or _keyring(source, directory)
        option = f"[signed-by={key}] " if key else ""
        lines.append(f"deb {option}{source.uri} {suite} main")
    return lines


class Apt:
    """A private apt: its own sources and lists, the machine's package database.

    `gone` holds the suites that the mirror no longer carries.
    """

    def __init__(self, name: str, suites: list[str]) -> None:
        self.directory = store.vm_dir() / "apt" / name
        (self.directory / "lists/partial").mkdir(parents=True, exist_ok=True)
        (self.directory / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
        self.mirrors = machine_mirrors()
        self.suites = suites
        self.gone: list[str] = []
        self.keyring = ""

    def _options(self) -> list[str]:
        options = {
            "Dir::Etc::SourceList": str(self.directory / "sources.list"),
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::State::Lists": str(self.directory / "lists"),
            "Dir::Cache": str(self.directory / "cache"),
            "APT::Update::Error-Mode": "any",
            "APT::Sandbox::User": "root",
            "Acquire::Retries": "3",
            "Acquire::Languages": "none",
        }
        return [f"-o{key}={value}" for key, value in options.items()]

    def command(self, tool: str, *arguments: str, check: bool = True, **options: Any) -> process.Done:
        """Run apt-get or apt-cache on the private lists."""
        return process.run([tool, *self._options(), *arguments], timeout=1800, check=check, **options)

    def _try_update(self, suites: list[str]) -> str:
        """Fetch the lists of `suites`; "" or apt's words."""
        lines = source_lines(self.mirrors, suites, self.directory, self.keyring)
        (self.directory / "sources.list").write_text("\n".join(lines) + "\n")
        done = self.command("apt-get", "update", "-q", check=False)
        return done.stdout + done.stderr if done.returncode else ""

    def update(self) -> None:
        """Fetch the lists; a suite that is gone is left out and noted, any other trouble is an error."""
        trouble = self._try_update(self.suites)
        if "NO_PUBKEY" in trouble:
            self._newest_keyring()
            trouble = self._try_update(self.suites)
        if not trouble:
            return
        kept = []
        for suite in self.suites:
            words = self._try_update([suite])
            if not words:
                kept.append(suite)
            elif GONE.search(words) and not UNREACHABLE.search(words):
                self.gone.append(suite)
            else:
                raise VmError(f"cannot read the package lists of {suite}:\n{words[-1500:]}")
        self.suites = kept
        trouble = self._try_update(kept)
        if trouble:
            raise VmError(f"cannot read the package lists:\n{trouble[-1500:]}")

    def _newest_keyring(self) -> None:
        """Take the newest archive keyring that a suite verified with today's keys offers."""
        own = [suite for suite in self.suites if not self._try_update([suite])]
        if not own or self._try_update(own):
            return
        for path in self.directory.glob("debian-archive-keyring_*.deb"):
            path.unlink()
        self.command("apt-get", "download", "-q", "debian-archive-keyring", cwd=self.directory)
        package = next(self.directory.glob("debian-archive-keyring_*.deb"))
        extracted = self.directory / "keyring"
        process.run(["dpkg-deb", "-x", str(package), str(extracted)])
        for name in KEYRINGS:
            if (extracted / name.lstrip("/")).is_file():
                self.keyring = str((extracted / name.lstrip("/")).resolve())

    def versions(self, packages: list[str]) -> dict[str, list[str]]:
        """Versions of each package that the suites carry."""
        found: dict[str, list[str]] = {}
        if packages:
            for line in self.command("apt-cache", "madison", *packages).stdout.splitlines():
                name, version, _ = (part.strip() for part in line.split("|", 2))
                found.setdefault(name, []).append(version)
        return found

    def names(self, prefix: str) -> list[str]:
        """Names of packages that begin with `prefix`."""
        return self.command("apt-cache", "pkgnames", prefix).stdout.split()

    def download(self, packages: list[str], directory: Path) -> list[Path]:
        """Fetch packages (`name=version`), verified by apt, into `directory`."""
        done = self.command("apt-get", "download", "-q", *packages, cwd=directory, check=False)
        if done.returncode:
            words = "\n".join(line for line in done.stderr.splitlines() if line.startswith("E:"))
            gone = GONE.search(words) and not UNREACHABLE.search(words)
            raise (FileGone if gone else VmError)(f"apt-get download failed:\n{words or done.stderr[-1000:]}")
        return sorted(directory.glob("*.deb"))
