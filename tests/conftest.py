"""What holds for every test: the model libraries' environment is the worker's, and shared cores are expected."""

import os

from hypothesis import settings

from workbench.runs.process import ENVIRONMENT

for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)

# What a case does is tested, not how long it takes.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
