from pathlib import Path

import pytest

from workbench.errors import WorkbenchError
from workbench.evidence.settings import Settings, read_settings


def test_what_is_not_there_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "workbench.toml"
    defaults = read_settings(path)
    assert defaults.model_dump() == Settings().model_dump()
    path.write_text("[other]\nx = 1\n[evidence]\nrude = 0.05\n", "utf-8")
    assert read_settings(path).model_dump() == defaults.model_dump() | {"rude": 0.05}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[evidence]\ndisplacment = 1\n", "Did you mean 'displacement'?"),
        ("[evidence]\nrude = 2\n", "rude: 2 is above 1\n"),
        ("[evidence]\nfewest = 'many'\n", 'fewest: "many" is not a whole number'),
        ("[evidence\n", "workbench.toml"),
        ("evidence = 3\n", "is no section"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "workbench.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(WorkbenchError) as raised:
        read_settings(path)
    assert told in str(raised.value)
    assert str(path) in raised.value.message
