"""The libraries are imported as a worker does: without their compiler, whichever test comes first."""

from workbench.engine.libraries import quick_imports

with quick_imports():
    pass
