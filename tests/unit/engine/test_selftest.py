"""What the doctor says of a machine whose compiler, Triton or driver lacks something, with texts of such ones."""

import pytest
import torch

from workbench.engine import selftest
from workbench.engine.model.loading import check_capability
from workbench.errors import WorkbenchError

NO_COMPILER = "Failed to find C compiler. Please specify via CC environment variable or set triton.knobs.build.impl."
NO_HEADERS = (
    "Command '['/usr/bin/gcc', '/tmp/tmp1/main.c', '-O3', '-lcuda', '-I/usr/include/python3.11']' returned 1.\n"
    "/tmp/tmp1/main.c:6:10: fatal error: Python.h: No such file or directory"
)
TOO_LARGE = "No valid triton configs. OutOfMemoryError: out of resource: Required: 114688 Hardware limit:101376"


@pytest.mark.parametrize(
    ("text", "widths", "level", "message", "hint"),
    [
        ("", (), "ok", "forward and backward, for heads of 64, 128 and 256", ""),
        (
            NO_COMPILER,
            (64, 128, 256),
            "warning",
            "heads of 64, 128, 256: RuntimeError: Failed",
            "build-essential",
        ),
        (NO_HEADERS, (64, 128, 256), "warning", "Python.h", "python3-dev"),
        (TOO_LARGE, (256,), "warning", "heads of 256: RuntimeError: No valid", "slower"),
    ],
)
def test_what_the_compiler_lacks_is_named(text, widths, level, message, hint):
    told = []

    def attend(width):
        if width in widths:
            raise RuntimeError(text)

    selftest._compiled(lambda *words: told.append(words), attend)
    ((name, *found, said), *more) = [(*words, "")[:4] for words in told]
    assert not more
    assert (name, found[0]) == ("compiler", level)
    assert message in found[1]
    assert hint in said


def test_an_attention_forward_and_backward_is_what_is_tried(monkeypatch):
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *_: None)
    with torch.compiler.set_stance("force_eager"):
        selftest._attend(torch.device("cpu"), 64)
    monkeypatch.undo()
    with torch.compiler.set_stance("force_eager"), pytest.raises(NotImplementedError, match="backward on CPU"):
        selftest._attend(torch.device("cpu"), 64)


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (12, 0)])
def test_a_gpu_without_bfloat16_is_refused(capability, monkeypatch):
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: capability)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "Tesla T4")
    check_capability(torch.device("cpu"))
    if capability >= (8, 0):
        check_capability(torch.device("cuda"))
        return
    with pytest.raises(WorkbenchError, match=r"Tesla T4 has compute capability 7\.5") as raised:
        check_capability(torch.device("cuda"))
    assert "CUDA_VISIBLE_DEVICES=-1" in raised.value.hint
