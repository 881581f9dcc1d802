"""Speed, side by side: `make bench`."""

from __future__ import annotations

from tests.bench import screen, startup, training

startup.main()
print()
screen.main()
print()
training.main()
