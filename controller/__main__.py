"""``python -m controller --listen SOCKET``: runs the controller until it is killed."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from controller.service.config import CONFIG_VARIABLE
from controller.switches.framework import run


def main() -> None:
    """Parse the command line and start the framework."""
    parser = argparse.ArgumentParser(
        prog="python -m controller",
        description="Keeps the load balancers' flow tables equal to the cluster's state. "
        f"{CONFIG_VARIABLE} names its configuration, a JSON file.",
    )
    parser.add_argument(
        "--listen",
        type=Path,
        required=True,
        metavar="SOCKET",
        help="UNIX socket on which the switches connect",
    )
    arguments = parser.parse_args()
    # The frameworks' threads would keep the process alive after a KeyboardInterrupt.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    run("controller.service.app", arguments.listen)


if __name__ == "__main__":
    main()
