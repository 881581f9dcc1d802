"""Speed, side by side: `make bench`."""

from __future__ import annotations

from tests.bench import startup, training

startup.main()
print()
training.main()
