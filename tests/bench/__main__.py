"""Speed, side by side: `make bench` runs everything, `python -m tests.bench NAME [ARGUMENTS]` one of it."""

from __future__ import annotations

import subprocess
import sys

BENCHES = ("startup", "screen", "pairs", "pairs_screen", "compare", "growth", "training", "methods", "gpu")


def main(given: list[str]) -> int:
    """Runs the bench that is named, or all one after another; 1 where one of them missed an aim or failed."""
    if given and given[0] not in BENCHES:
        print(f"usage: python -m tests.bench [{'|'.join(BENCHES)}] [ARGUMENTS]", file=sys.stderr)
        return 2
    worst = 0
    for name in given[:1] or BENCHES:
        # A process of its own: what one has in memory is not to weigh on another.
        worst |= subprocess.run([sys.executable, "-m", f"tests.bench.{name}", *given[1:]], check=False).returncode
        print()
    return int(worst != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
