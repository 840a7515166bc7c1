"""The command line: parse, call, print. It loads nothing heavy before a command needs it."""

import sys

from defuse.errors import DefuseError


def main() -> None:
    """Run the command line; a user's error is one line on stderr and exit code 2."""
    from defuse.cli.app import app

    try:
        app()
    except DefuseError as error:
        sys.stderr.write(f"defuse: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("defuse: interrupted; the same command goes on where this one stopped\n")
        sys.exit(130)
