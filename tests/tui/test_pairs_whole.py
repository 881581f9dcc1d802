"""Turns with reasoning, calls and other fields on the Pairs screen: shown folded and open, edited in every way."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tui.pairs_screen import opened
from workbench.pairs.pair import TEXTS, Message, Pair, turn_from
from workbench.pairs.readable import readable, tool_names
from workbench.pairs.store import write_pairs
from workbench.tui.dialogs.edit import EditDialog
from workbench.tui.dialogs.edit_json import EditJsonDialog
from workbench.tui.widgets.fields import TextField
from workbench.workspace import Workspace

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Lima"}}}
LONG = "It is asked about Lima, so the weather there has to be looked up before anything can be said of it."
PAIR = Pair(
    "a",
    (Message("user", "Weather in Lima?"),),
    (turn_from({"role": "assistant", "reasoning_content": LONG, "content": None, "tool_calls": [CALL]}),),
    (turn_from({"role": "assistant", "reasoning_content": "Hm.", "content": "No idea."}),),
    extra={"tools": json.dumps([{"type": "function", "function": {"name": "weather"}}])},
)


def workspace_with(folder: Path) -> Workspace:
    plain = Pair("b", (Message("user", "Hi"),), (Message("assistant", "Hello"),), (Message("assistant", "What"),))
    write_pairs(folder / "pairs" / "calls.jsonl", [PAIR, plain])
    return Workspace.find(folder)


async def test_reasoning_and_calls_are_folded_until_z_opens_them(tmp_path: Path) -> None:
    async with opened(workspace_with(tmp_path), (160, 45)) as screen:
        shown = " ".join(screen.detail().split())
        assert "tools weather" in shown
        assert "▸" in shown
        assert 'calls weather(city="Lima")' in shown
        assert "anything" not in shown
        await screen.press("z")
        shown = " ".join(screen.detail().split())
        assert "▾" in shown
        assert "anything" in shown
        await screen.press("j", "z")
        assert "text alone" in screen.told()


async def test_an_edit_of_the_text_leaves_the_rest(tmp_path: Path) -> None:
    async with opened(workspace_with(tmp_path)) as screen:
        await screen.press("e")
        dialog = screen.pilot.app.screen
        assert isinstance(dialog, EditDialog)
        list(dialog.query(TextField))[-1].insert("Sorry. ", (0, 0))
        await screen.press("ctrl+s")
        after = screen.on_disk("calls")[0]
        assert after.chosen == PAIR.chosen
        assert after.rejected == (PAIR.rejected[0].with_content("Sorry. No idea."),)  # type: ignore[union-attr]
        await screen.press("u")
        assert screen.on_disk("calls")[0] == PAIR


async def test_the_turns_are_edited_as_json(tmp_path: Path) -> None:
    async with opened(workspace_with(tmp_path)) as screen:
        await screen.press("R")
        dialog = screen.pilot.app.screen
        assert isinstance(dialog, EditJsonDialog)
        field = dialog.query_one(TextField)
        field.text = field.text.replace('"city": "Lima"', '"city": 7').replace('"No idea."', "null")
        await screen.press("ctrl+s")
        after = screen.on_disk("calls")[0]
        assert after.chosen[0].fields["tool_calls"][0]["function"]["arguments"] == {"city": 7}  # type: ignore[union-attr]
        assert after.rejected[0].content == ""  # type: ignore[union-attr]
        assert after.extra == PAIR.extra
        await screen.press("u", "R")
        field = screen.pilot.app.screen.query_one(TextField)
        field.text = field.text.replace('"assistant"', '"nobody"', 1)
        await screen.press("ctrl+s")
        assert isinstance(screen.pilot.app.screen, EditJsonDialog)
        assert "has the role 'nobody'" in str(screen.pilot.app.screen.query_one(".wrong").render())
        await screen.press("escape", "y")
        assert screen.on_disk("calls")[0] == PAIR


async def test_tools_and_what_the_template_is_given_are_edited_as_json(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path)
    path = workspace.pairs_file("calls")
    before = path.read_bytes()
    async with opened(workspace) as screen:
        await screen.press("R")
        field = screen.pilot.app.screen.query_one(TextField)
        begun = json.loads(field.text)
        assert begun["tools"] == [{"type": "function", "function": {"name": "weather"}}]
        for given, said in (
            ({"tools": 5}, "'tools' is the number 5"),
            ({"chat_template_kwargs": {"tokenize": False}}, "sets the reserved key 'tokenize'"),
            ({"mood": 1}, "beside them only tools and chat_template_kwargs"),
        ):
            field.text = json.dumps(begun | given)
            await screen.press("ctrl+s")
            assert said in str(screen.pilot.app.screen.query_one(".wrong").render())
        begun["tools"][0]["function"]["name"] = "forecast"
        field.text = json.dumps(begun | {"chat_template_kwargs": {"enable_thinking": 1}})
        await screen.press("ctrl+s")
        after = screen.on_disk("calls")[0]
        assert json.loads(after.extra["tools"])[0]["function"]["name"] == "forecast"  # text, as it was
        assert after.extra["chat_template_kwargs"] == {"enable_thinking": 1}
        assert (after.prompt, after.chosen) == (PAIR.prompt, PAIR.chosen)
        assert "tools      forecast" in screen.detail()
        await screen.press("R")
        field = screen.pilot.app.screen.query_one(TextField)
        field.text = field.text.replace('"enable_thinking": 1', '"enable_thinking": true')
        await screen.press("ctrl+s")
        assert screen.on_disk("calls")[0].extra["chat_template_kwargs"]["enable_thinking"] is True
        await screen.press("R")
        field = screen.pilot.app.screen.query_one(TextField)
        field.text = json.dumps({name: json.loads(field.text)[name] for name in TEXTS})
        await screen.press("ctrl+s")
        assert screen.on_disk("calls")[0].extra == {}
        await screen.press("u", "u", "u")
        assert screen.on_disk("calls")[0] == PAIR
    assert path.read_bytes() == before


def test_what_is_told_of_turns() -> None:
    assert readable("text", folded=True) == "text"
    assert readable(PAIR.rejected, folded=True) == "▸ reasoning_content Hm.\nNo idea."
    assert readable(PAIR.chosen, folded=False) == f'▾ reasoning_content\n{LONG}\n▾ calls weather(city="Lima")'
    odd = turn_from({"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{}"}, {"x": 1}], "y": [1]})
    assert readable((odd,), folded=True) == '▸ calls f({})\n▸ calls {"x": 1}\n▸ y [1]'
    assert tool_names({"tools": "no"}) == tool_names({"tools": [3]}) == []
