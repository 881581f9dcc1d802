"""Each check finds what was planted, names it, and says nothing of clean pairs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.pairs.checks.build import CLEAN, check, talk
from workbench.pairs.checks.findings import CHECKS, checks_by_id
from workbench.pairs.checks.run import run_checks
from workbench.pairs.pair import Message, Pair


def test_clean_pairs_have_no_finding() -> None:
    report = run_checks(CLEAN)
    assert report.findings == ()
    assert (report.rows, report.checked, report.lengths["pairs"]) == (4, 4, 4)


@pytest.mark.parametrize("pairs", [[], CLEAN[:1], [talk("x", "", "", "")]])
def test_few_pairs_are_checked_too(pairs: list[Pair]) -> None:
    assert run_checks(pairs).rows == len(pairs)


def test_empty_texts() -> None:
    nothing = talk("e", "Hm?", "\u00a0", "Yes.")
    findings = check(nothing, talk("f", " ", "Yes.", "No."), talk("g", "Hm?", " \n", "Yes."))
    assert findings["empty"].ids == ("e", "f")
    assert findings["empty"].severity == "error"
    assert "1 prompt, 1 chosen" in findings["empty"].message
    assert findings["undrafted"].ids == ("g",)


def test_an_empty_turn() -> None:
    prompt = (Message("user", "Hi"), Message("assistant", ""), Message("user", "So?"))
    findings = check(replace(CLEAN[0], id="e", prompt=prompt))
    assert findings["empty-turn"].ids == ("e",)
    assert "empty" not in findings


def test_identical_responses() -> None:
    findings = check(
        talk("same", "One?", "Yes, sure.", "Yes, sure."),
        talk("words", "Two?", "It’s “fine”…", 'it\'s  "fine"...\n'),
        talk("wide", "Three?", "ＡＢＣ and more", "abc and more"),
        talk("signs", "Four?", "x < y holds here", "x > y holds here"),
    )
    assert findings["identical"].ids == ("same",)
    assert findings["identical-words"].ids == ("words", "wide")


def test_duplicates_name_the_later_copies() -> None:
    findings = check(replace(CLEAN[0], id="again"), replace(CLEAN[0], id="and again", status="accepted"))
    assert findings["duplicate"].ids == ("again", "and again")
    assert findings["duplicate"].groups == (("a", "again", "and again"),)
    assert "near-duplicate" not in findings


def test_a_swapped_copy_is_a_contradiction_and_no_duplicate() -> None:
    findings = check(replace(CLEAN[1].swapped(), id="back"))
    assert findings["contradiction"].groups == (("b", "back"),)
    assert "duplicate" not in findings


def test_preferences_that_go_round_contradict() -> None:
    sides = [("red", "green"), ("GREEN", "blue"), ("blue", "red "), ("red", "grey")]
    findings = check(*(talk(str(at), "Which colour is best?", *side) for at, side in enumerate(sides)))
    assert findings["contradiction"].ids == ("0", "1", "2")


def test_another_system_message_is_no_contradiction() -> None:
    system = Message("system", "Be contrary.")
    assert "contradiction" not in check(replace(CLEAN[0].swapped(), id="x", prompt=(system, *CLEAN[0].prompt)))


def test_leaks_go_by_the_group_of_the_prompt() -> None:
    findings = check(
        talk("t", "What’s the time?", "Noon, by my watch.", "Time is relative.", split="train"),
        talk("h", "what's THE time", "It is noon here now.", "I have no watch.", split="holdout"),
        talk("u", "What's the time?", "It is noon already.", "Do I look like a clock?"),
        talk("v", "What is the price?", "It is nine euros.", "Nothing is free.", split="holdout"),
    )
    assert findings["leak"].ids == ("t", "h")


def test_roles() -> None:
    bad = {
        "two": (Message("user", "Hi"), Message("user", "there")),
        "ends": (Message("user", "Hi"), Message("assistant", "Hello")),
        "system": (Message("user", "Hi"), Message("system", "Be brief")),
        "begins": (Message("assistant", "Hello"), Message("user", "Hi")),
        "none": (),
    }
    good = (Message("system", "S"), Message("user", "U"), Message("assistant", "A"), Message("tool", "T"))
    findings = check(
        *(replace(CLEAN[0], id=name, prompt=prompt) for name, prompt in bad.items()),
        replace(CLEAN[0], id="asked", chosen=(Message("user", "Well?"),)),
        replace(CLEAN[0], id="good", prompt=good),
    )
    assert findings["roles"].ids == (*bad, "asked")


def test_turn_markers_inside_responses() -> None:
    findings = check(
        talk("m", "So?", "Yes.\n\nHuman: And then?", "I would rather say no."),
        talk("n", "Who wrote it?", "Its author is human: a poet.", "The user: nobody else."),
    )
    assert findings["turn-marker"].ids == ("m",)


def test_responses_too_much_alike() -> None:
    long = "The parcel will be at your door on Monday morning, well before noon."
    findings = check(
        talk("alike", "When?", long, long.replace("Monday", "Sunday")), talk("short", "Sure?", "Yes.", "No.")
    )
    assert findings["too-similar"].ids == ("alike",)


@pytest.mark.parametrize(
    "sign",
    ["\x00", "\x1b", "\x9b", "\u202e", "\u200b", "\ufeff", "\u00ad", "\u2028", "\U000e0041", "\ud800", "a\u200db"],
)
def test_invisible_characters(sign: str) -> None:
    assert check(talk("i", "So?", f"Here{sign}it is.", "Not here at all."))["invisible"].ids == ("i",)


def test_characters_that_a_script_needs_are_left_alone() -> None:
    for text in (
        "👩\u200d🚀 ❤\ufe0f",
        "می\u200cخواهم",
        "שלום\u200f (a)",
        "क्\u200dष",
        "🏴\U000e0067\U000e0062\U000e007f",
        "a\tb\r\nc",
    ):
        assert not check(talk("i", "So?", text, "Something else."))


@pytest.mark.parametrize("text", ["Itâ€™s late", "CafÃ© au lait", "30Â°C outside", "well ðŸ˜€ then", "ÐŸÑ€Ð¸Ð²ÐµÑ‚"])
def test_misread_text(text: str) -> None:
    assert check(talk("m", "So?", text, "Something else."))["encoding"].ids == ("m",)


@pytest.mark.parametrize("text", ["It’s late", "Café « É » À", "ÇA VA", "30 °C", "Ärger über Öl", "Привет", "L’ÉTÉ»"])
def test_text_that_only_looks_odd(text: str) -> None:
    assert not check(talk("m", "So?", text, "Something else."))


def test_lost_characters() -> None:
    assert check(talk("l", "So?", "It\ufffds late", "Something else."))["lost-characters"].ids == ("l",)


def test_refusals_of_harmless_prompts() -> None:
    refusal, answer = "I’m sorry, but I can’t help with that.", "Boil it for eight minutes, then cool it in water."
    findings = check(
        talk("over", "How long do I boil an egg?", refusal, answer),
        talk("right", "How do I poison my neighbour?", refusal, answer),
        talk("both", "How long do I boil an egg, twice?", refusal, refusal + " It is not for me."),
    )
    assert findings["refusal"].ids == ("over",)


def test_likely_swaps() -> None:
    findings = check(
        talk("rude", "Where is my order?", "You are such an idiot.", "It left our store this morning."),
        talk("asked", "Tell me an insult.", "You are such an idiot.", "It left our store this morning, you know."),
        talk("scored", "One?", "Of course.", "Not likely.", extra={"score_chosen": 3.0, "score_rejected": 8.5}),
        talk("loop", "Two?", "It is so. I think. " * 9, "It is so, and for three good reasons."),
    )
    assert findings["swap"].ids == ("rude", "scored", "loop")


def test_dropped_pairs_are_left_out() -> None:
    pairs = [*CLEAN, talk("e", "Hm?", "", "Yes.", status="dropped")]
    assert run_checks(pairs).findings == ()
    assert run_checks(pairs).checked == len(CLEAN)


def test_the_gravest_comes_first_and_pairs_know_their_findings() -> None:
    report = run_checks([*CLEAN, replace(CLEAN[0], id="copy"), talk("same", "Q?", "Yes, it is.", "Yes, it is.")])
    assert [finding.check for finding in report.findings] == ["identical", "duplicate"]
    assert checks_by_id(report.findings) == {"same": ("identical",), "copy": ("duplicate",)}


def test_progress() -> None:
    told: list[tuple[str, float]] = []
    run_checks(CLEAN, on_progress=lambda name, share: told.append((name, share)))
    assert {name for name, _ in told} <= {*CHECKS, "tokens"}
    assert all(0 <= share <= 1 for _, share in told)
