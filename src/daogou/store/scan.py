"""How often patterns occur in files' bytes. Run as a process of its own (see `occurrences`); needs nothing but Python.

Not in the store's process, because POSIX drops all locks that a process has on a file when it closes any descriptor of it, SQLite's own
included; another process, believing itself alone, may then delete the log that this one goes on writing to. Not on the command line
either: what is looked for is someone's id, and command lines are public on a machine.
"""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PIECE_BYTES = 1 << 20
LONGEST_BYTES = 4096  # more than any id with its header


def occurrences(files: Sequence[Path], patterns: Sequence[bytes]) -> int:
    """Matches of regular expressions in all files; one that does not exist has none.

    Raises:
        OSError, subprocess.CalledProcessError: they could not be read.
    """
    request = json.dumps({"files": [str(file) for file in files], "patterns": [pattern.hex() for pattern in patterns]})
    out = subprocess.run([sys.executable, "-I", "-S", __file__], input=request, capture_output=True, text=True, check=True)
    return int(out.stdout)


def count(file: Path, pattern: re.Pattern[bytes], piece_bytes: int = PIECE_BYTES) -> int:
    """Matches in one file, read piece by piece."""
    found = 0
    with file.open("rb") as content:
        piece = content.read(piece_bytes)
        while piece:
            following = content.read(piece_bytes)
            found += sum(match.start() < len(piece) for match in pattern.finditer(piece + following[:LONGEST_BYTES]))
            piece = following
    return found


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    compiled = [re.compile(bytes.fromhex(pattern), re.DOTALL) for pattern in asked["patterns"]]
    print(sum(count(Path(file), pattern) for file in asked["files"] if Path(file).exists() for pattern in compiled))
