"""``python -m daogou``."""

from daogou.cli import main

main()
