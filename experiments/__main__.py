"""``python -m experiments``: what the ``resetbed`` launcher hands over to."""

from experiments.commands.cli import main

if __name__ == "__main__":
    main(prog_name="./resetbed")
