"""Speed, side by side: `make bench`."""

from __future__ import annotations

from tests.bench import compare, pairs, pairs_screen, screen, startup, training

startup.main()
print()
screen.main()
print()
pairs.main([])
print()
pairs_screen.main([])
print()
compare.main([])
print()
training.main()
