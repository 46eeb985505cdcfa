"""``python -m experiments``: what the ``resetbed`` launcher hands over to."""

from experiments.commands.cli import main
from experiments.commands.completion import VARIABLE

if __name__ == "__main__":
    main(prog_name="./resetbed", complete_var=VARIABLE)
