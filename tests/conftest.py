"""Hypothesis on shared cores: what a case does is tested, not how long it takes."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
