"""What a user calls a run: whatever they type comes back, whatever the file says is no trouble."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.errors import WorkbenchError
from workbench.runs.folder import RunFolder
from workbench.runs.labels import Labels, read, write

shared_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


def test_what_was_written_is_read(folder):
    assert read(folder) == Labels()
    labels = Labels("Günther's best", 'two\nlines "quoted" \\ \x1b[31m', ("keep", "β=0.3"), archived=True)
    assert write(folder, labels) == labels
    assert read(folder) == labels
    assert [path.name for path in folder.path.iterdir()] == ["labels.toml"]


def test_names_and_tags_are_tidied(folder):
    write(folder, Labels("  a \n b\t", "  note\n", (" x ", "y", "x")))
    assert read(folder) == Labels("a b", "note", ("x", "y"))
    write(folder, Labels(name="half a character: \ud800"))
    assert read(folder).name == "half a character: ?"


@pytest.mark.parametrize("tag", ["", " ", "two words", "a,b", "x" * 41, "\x1b[31m", "\u202e"])
def test_what_is_no_tag_is_refused_and_changes_nothing(folder, tag):
    write(folder, Labels(tags=("a",)))
    with pytest.raises(WorkbenchError, match="tag"):
        write(folder, Labels(tags=("b", tag)))
    assert read(folder).tags == ("a",)
    with pytest.raises(WorkbenchError, match="too long"):
        write(folder, Labels(name="x" * 101))


@shared_folder
@given(name=st.text(max_size=90), note=st.text(), archived=st.booleans())
def test_any_text_survives_the_file(folder, name, note, archived):
    written = write(folder, Labels(name, note, (), archived))
    assert read(folder) == written
    assert written.note == note.strip()
    assert written.name == " ".join(name.split())


@shared_folder
@given(
    st.one_of(
        st.binary(),
        st.sampled_from(["name", "note", "tags", "archived"]).flatmap(
            lambda key: st.sampled_from([f"{key} = {value}" for value in ("1", "[1, 'a']", "{a = 1}", "''", "true")])
        ),
    )
)
def test_whatever_the_file_says_there_are_labels(folder, content):
    folder.labels.write_bytes(content if isinstance(content, bytes) else content.encode())
    labels = read(folder)
    assert write(folder, Labels(labels.name, labels.note)) is not None


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(WorkbenchError, match="could not be written"):
        write(RunFolder(tmp_path / "gone"), Labels("a"))
