"""The command `novic`."""

import signal
import sys

from ._novic import run_command


def main() -> None:
    """Runs the command line of this process."""
    # The program has its own ways of ending at the next safe point.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(run_command(["novic", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
