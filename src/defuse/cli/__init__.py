"""The command line: parse, call, print. It loads nothing heavy before a command needs it."""

import sys

from defuse.errors import DefuseError


class InterruptedByUserError(Exception):
    """Ctrl-C, as the commands hand it on; typer would end at once and say nothing."""


def main() -> None:
    """Run the command line; a user's error is one line on stderr and exit code 2."""
    try:
        from defuse.cli.app import app

        app()
    except DefuseError as error:
        sys.stderr.write(f"defuse: {error}\n")
        sys.exit(2)
    except (KeyboardInterrupt, InterruptedByUserError):
        sys.stderr.write("defuse: interrupted; the same command goes on where this one stopped\n")
        sys.exit(130)
