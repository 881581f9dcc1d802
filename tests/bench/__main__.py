"""Speed, side by side: `make bench`."""

from __future__ import annotations

from tests.bench import pairs, screen, startup, training

startup.main()
print()
screen.main()
print()
pairs.main([])
print()
training.main()
