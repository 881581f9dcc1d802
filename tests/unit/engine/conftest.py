"""Threads that wait must not spin: on shared cores that makes small models ten times slower."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
