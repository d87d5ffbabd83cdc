"""Runs benchmarks one after the other: ``python -m benchmarks [NAME …]``; without a name it lists them."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    known = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))
    wanted = sys.argv[1:]
    if not wanted:
        for name in known:
            first = (HERE / f"{name}.py").read_text("utf-8").split('"""')[1].strip().splitlines()[0]
            print(f"{name:<16} {first}")
        print('\nmake bench BENCH="accuracy speed_models" runs some of them; python -m benchmarks.NAME --help says more of one')
        return 0
    if unknown := set(wanted) - set(known):
        print(f"no benchmark named {', '.join(sorted(unknown))}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    # Kernels chosen by the environment instead of the processor would make every figure one of another machine.
    clean = {name: value for name, value in os.environ.items() if name not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    return max(subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=HERE.parent, env=clean, check=False).returncode for name in wanted)


if __name__ == "__main__":
    sys.exit(main())
