# shellcheck shell=sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# What scripts/test, scripts/demo and scripts/bench share: packages, the private environment, dumps to work on.
# The script that sources this has set PROJECT.

VENV=$PROJECT/.venv
PYTHON=$VENV/bin/python
PATH=$PATH:/usr/sbin:/sbin
export PIP_DISABLE_PIP_VERSION_CHECK=1
unset PYTHONPATH PYTHONHOME

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# install_packages PACKAGE...: those that are missing, by apt, saying so.
install_packages() {
    missing=
    for package in "$@"; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || die "these packages are missing, and only root can install them:$missing"
    say "installing$missing"
    apt-get update -qq >&2 || say "apt-get update failed; trying with the lists that are there"
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2 ||
        die "apt-get could not install$missing"
}

# set_up [GROUP]: a private environment with the project and a dependency group of pyproject.toml, made once.
set_up() {
    group=${1:-}
    # The environment is whole when it holds this stamp; it is made anew when what it was made from changes.
    stamp=$(cksum "$PROJECT/pyproject.toml" | cut -d' ' -f1,2)
    for made in "$group" dev; do
        [ "$(cat "$VENV/made-${made:-plain}" 2>/dev/null)" = "$stamp" ] && "$PYTHON" -c '' 2>/dev/null && return 0
    done
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "Python 3.10 or newer is needed as python3"
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv ca-certificates
    say "making the Python environment .venv (drgn, click, tabulate${group:+, group $group})"
    rm -rf "$VENV"
    python3 -m venv "$VENV"
    "$PYTHON" -m pip install --quiet --upgrade 'pip>=25.1'
    # shellcheck disable=SC2086
    "$PYTHON" -m pip install --quiet --editable "$PROJECT" ${group:+--group "$PROJECT/pyproject.toml:$group"}
    echo "$stamp" >"$VENV/made-${group:-plain}"
}

# dump SERIES: the directory of a dump made by scripts/vm, on standard output; 77 when no suite carries the kernel.
dump() {
    "$PROJECT/scripts/vm" dump "$1"
}
