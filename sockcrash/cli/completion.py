# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash completion``: what makes bash, zsh and fish complete commands, options, fields and sockets."""

from __future__ import annotations

import os

import click
from click import shell_completion

from sockcrash.cli import COMPLETION_VARIABLE
from sockcrash.cli.errors import PROGRAM

__all__ = ("SHELLS", "command")

SHELLS = ("bash", "zsh", "fish")

# click's own takes COMP_WORDS, which bash breaks at colons: tcp:127.0.0.1:80 would be five words.
_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' response completion type value
    response=$(env COMP_LINE="${COMP_LINE:0:$COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
%(complete_var)s=bash_complete "$1")
    COMPREPLY=()
    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        case $type in
        dir) compopt -o dirnames ;;
        file) compopt -o default ;;
        open) COMPREPLY+=("$value"); compopt -o nospace ;;
        plain) COMPREPLY+=("$value") ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

# click's own cuts proposals at their first comma.
_FISH = """\
function %(complete_func)s
    set -l response (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp | string collect) \
COMP_CWORD=(commandline -ct | string collect) %(prog_name)s)
    for completion in $response
        set -l metadata (string split -m 1 "," $completion)
        switch $metadata[1]
            case dir
                __fish_complete_directories $metadata[2]
            case file
                __fish_complete_path $metadata[2]
            case plain
                echo $metadata[2]
        end
    end
end
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


@shell_completion.add_completion_class
class _Bash(shell_completion.ShellComplete):
    name = "bash"
    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is being typed, and that one."""
        line = os.environ["COMP_LINE"]
        words = shell_completion.split_arg_string(line)[1:]
        return (words, "") if not words or line[-1].isspace() else (words[:-1], words[-1])

    def format_completion(self, item: shell_completion.CompletionItem) -> str:
        """A line of the answer; of the value what bash takes for the word: what stands behind the last break."""
        value = str(item.value)
        breaks = set(os.environ.get("COMP_WORDBREAKS", "")) & set(":=@")
        typed = self.get_completion_args()[1]
        kept = max((typed.rfind(mark) for mark in breaks), default=-1) + 1
        kind = "open" if item.type == "plain" and value.endswith((":", "/")) else item.type
        return f"{kind},{value[kept:]}"


@shell_completion.add_completion_class
class _Fish(shell_completion.FishComplete):
    source_template = _FISH


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print what makes SHELL complete sockcrash: commands, options, fields, and sockets of this machine.

    \b
    For example:
      eval "$(sockcrash completion bash)"                                        in ~/.bashrc
      eval "$(sockcrash completion zsh)"                                         in ~/.zshrc, after compinit
      sockcrash completion fish > ~/.config/fish/completions/sockcrash.fish
    """
    from sockcrash.cli import group

    made = shell_completion.get_completion_class(shell)
    assert made is not None
    click.echo(made(group, {}, PROGRAM, COMPLETION_VARIABLE).source(), nl=False)
