"""``python -m defuse.cli``."""

from defuse.cli import main

main()
