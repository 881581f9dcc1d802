"""What holds for every test: the model libraries' environment is the worker's, and shared cores are expected."""

import atexit
import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

from hypothesis import settings

from workbench.child import ENVIRONMENT
from workbench.runs.user_state import STATE

# Tests never wait for a run of the user's, nor for one another's.
os.environ[STATE] = tempfile.mkdtemp(prefix="workbench-tests-")
atexit.register(shutil.rmtree, os.environ[STATE], ignore_errors=True)
# One key for all processes of a test run, which share runs.
(Path(os.environ[STATE]) / "key").write_bytes(bytes(range(32)))

for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)

# A shell starts what is to run in the background with Ctrl+C ignored, and all that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Textual and torch make hundreds of thousands of objects a test: looking at all of them as often as Python does by
# itself takes a sixth of the time.
gc.set_threshold(100_000, 10, 20)


def pytest_collection_finish() -> None:
    """What has been imported stays: it is not looked at again."""
    gc.collect()
    gc.freeze()


# What a case does is tested, not how long it takes. `make faults` tries more of them.
settings.register_profile("quick", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=600)
settings.load_profile("quick")
