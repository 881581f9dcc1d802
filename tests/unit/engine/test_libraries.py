"""How the model libraries are imported."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc, sys
from workbench.engine.libraries import quick_imports
try:
    with quick_imports():
        assert not gc.isenabled()
        from workbench.engine.scoring.scorer import Scorer
        raise KeyError
except KeyError:
    pass
import torch
assert gc.isenabled()
assert gc.get_freeze_count() > 100_000
assert "torch._inductor.compile_fx" not in sys.modules
assert torch.compile.__module__ == "torch"
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)) == 2
gc.disable()
with quick_imports():
    pass
assert not gc.isenabled()
from workbench.engine.libraries import _as_written
assert _as_written(abs) is abs
assert _as_written(dynamic=False)(abs) is abs
print("done")
"""


def test_imports_look_for_no_garbage_and_load_no_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.stdout == "done\n", done.stderr


def test_an_address_space_too_small_for_torch_is_told_before_torch_aborts() -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (600 * 2**20, resource.RLIM_INFINITY))\n"
        "from workbench.engine.libraries import quick_imports\n"
        "with quick_imports(): pass"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "WorkbenchError: Too little memory for the libraries" in done.stderr
    assert "600 MiB" in done.stderr
