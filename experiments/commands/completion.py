"""``./resetbed completion``: the script by which a shell completes commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

#: The variable by which the script asks for completions.
VARIABLE = "_RESETBED_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    It completes `resetbed` and `./resetbed`, as long as you are in a folder where that is
    the command.

    \b
      source <(./resetbed completion bash)
      ./resetbed completion zsh
      ./resetbed completion fish
    """
    made = get_completion_class(shell)
    assert made is not None  # click has all three
    script = made(context.find_root().command, {}, "resetbed", VARIABLE)
    click.echo(script.source())
