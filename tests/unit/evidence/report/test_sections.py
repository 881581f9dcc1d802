"""What the parts of a report say is what the run's folder says."""

from collections.abc import Sequence
from dataclasses import replace

from tests.unit.evidence.report.a_report import some_evidence, some_sources
from workbench.evidence.report import numbers
from workbench.evidence.report.blocks import Charts, Facts, Points, Probed, Section, Table
from workbench.evidence.report.numbers import token_by_token
from workbench.evidence.report.provenance import data, limits, settings
from workbench.evidence.report.training import training


def tables(section: Section | None) -> dict[str, list[list[str]]]:
    """The tables of a section as texts, by caption."""
    assert section is not None
    return {
        block.caption: [[cell.text for cell in row] for row in block.rows]
        for block in section.blocks
        if isinstance(block, Table)
    }


def facts(section: Section) -> dict[str, dict[str, str]]:
    return {block.caption: dict(block.entries) for block in section.blocks if isinstance(block, Facts)}


def test_training_tells_first_and_last_held_out_numbers() -> None:
    found = tables(training(some_sources()))["Held-out pairs, before the first step and after the last"]
    assert ["loss", "0.700", "0.200", "−0.500"] in found
    assert ["accuracy", "0.500", "0.500", "±0"] in found


def test_training_draws_what_there_is_and_tells_how_it_went() -> None:
    section = training(some_sources())
    (charts,) = (block for block in section.blocks if isinstance(block, Charts))
    assert [chart.title for chart in charts.charts] == ["Loss", "Log-probability", "Reward margin", "Accuracy"]
    assert "training: 1 at step 1, 0.05 at step 20" in charts.charts[0].drawing
    assert "held-out: 0.7 at step 0, 0.2 at step 20" in charts.charts[0].drawing
    assert "rejected: −0.2 at step 1, −4 at step 20" in charts.charts[1].drawing
    told = facts(section)["How it went"]
    assert told["status"] == "finished"
    assert told["optimizer steps"] == "20 of 20"
    assert told["pairs trained"] == "320, 16.0 a second"
    assert told["adapter weights that moved"] == "100.0%"


def test_alerts_are_told_with_their_remedy() -> None:
    section = training(some_sources("Both fell"))
    (alerts,) = (block for block in section.blocks if isinstance(block, Points))
    assert alerts.points == [("Step 20: Both fell", "Both fell Both fell")]
    assert section.lead.endswith("The run raised 1 alert.")


def test_data_has_counts_findings_and_hashes() -> None:
    section = data(some_sources("set"))
    assert facts(section)["Pairs"] == {
        "trained on": "320",
        "held out": "40",
        "dropped, too long": "1",
        "cut at max_length": "2",
        "equal after the cut": "3",
    }
    found = tables(section)
    assert found["What the checks find in the pairs that the run used"] == [
        ["warning", "duplicate", "set", "2", "set, p2"],
    ]
    assert found["Where the numbers come from"] == [
        ["set, when the run began", "d" * 64],
        ["pairs.jsonl in the run's folder, when measured", "c" * 64],
        ["set, probes", "b" * 64],
    ]
    assert "0 errors, 1 warnings, 0 notes" in section.lead


def test_settings_part_what_was_set_from_defaults() -> None:
    found = facts(settings(some_sources("m")))
    given, left = found["Settings of this run that are not the default"], found["Settings at their defaults"]
    assert given == {"pairs": "m", "model": "m", "beta": "0.5"}
    assert left["learning_rate"] == "5e-05"
    assert not given.keys() & left.keys()
    assert found["What was measured and demanded: [evidence] in workbench.toml"]["fewest"] == "40"
    assert tables(settings(some_sources("m")))["Weights"] == [
        ["base model, revision", "m"],
        ["adapter, when measured", "a" * 64],
    ]


def titles(section: Section) -> Sequence[str]:
    (points,) = section.blocks
    assert isinstance(points, Points)
    return [title for title, _ in points.points]


def test_the_limits_of_the_embedded_model_are_its_own() -> None:
    assert "A model made for the demo" in titles(limits(some_sources("tiny")))
    assert "A model made for the demo" not in titles(limits(some_sources("other")))


def test_measures_are_told_before_and_after() -> None:
    evidence = some_evidence("x")
    shares = tables(numbers.probes(evidence))["Shares of answers and probabilities"]
    assert shares[0] == ["attack, refusing", "0.200", "0.950", "", "+0.750", "0.0078", "−1.50", "0.020"]
    by_tag = tables(numbers.tags(evidence))
    assert by_tag["Probability, by tag of the probes"] == [
        ["x", "attack, refusing", "48", "0.200", "0.950", "+0.750"],
    ]
    assert by_tag["Accuracy and margin, by tag of the held-out pairs"] == [
        ["x", "48", "0.900", "2.000", "9.000", "+7.000"],
    ]
    held = tables(numbers.held_out(evidence))
    assert held["With the length taken out"][0] == ["accuracy at equal length", "0.900"]
    assert held["Calibration"][0][1] == "0.050"
    assert tables(numbers.regressions(evidence))["Worst regressions, in nats"] == [
        ["x", "x, x", "−0.20", "−0.60", "0.40", "x"],
    ]


def test_tokens_are_shaded_by_how_far_they_moved_and_which_way() -> None:
    (probed,) = token_by_token(some_evidence("tok").tokens).blocks
    assert isinstance(probed, Probed)
    (response,) = probed.responses
    assert [token.step for token in response.tokens] == [-3, 0, 3]
    assert [token.text for token in response.tokens] == ["tok", "↵", "tok"]
    assert "rank 12" in response.tokens[0].hint
    assert "The run would say: tok" in response.tokens[0].hint
    assert response.tokens[1].hint.endswith("The run's first choice.")
    assert [row[3].text for row in response.table.rows] == ["−2.50", "+0.05", "+2.40"]


def test_a_method_has_charts_of_its_own_quantities() -> None:
    sources = some_sources()
    steps = [
        replace(step, metrics={"loss": 0.0, "reward": 0.1 * step.step, "kl": 0.01}) for step in sources.state.steps
    ]
    section = training(replace(sources, state=replace(sources.state, steps=tuple(steps), evals=())))
    (charts,) = (block for block in section.blocks if isinstance(block, Charts))
    assert [chart.title for chart in charts.charts] == ["Reward", "KL to the start"]


def test_the_classifiers_own_error_rate_is_told() -> None:
    sources = some_sources("x")
    section = numbers.answers(sources.evidence, sources.sample_labels)
    assert section is not None
    named = tables(section)
    assert named["How often the classifier was wrong"] == [["attack, refusing", "1 of 1", "–"]]
    unjudged = numbers.answers(sources.evidence, [])
    assert unjudged is not None
    assert "No person has judged" in unjudged.lead
    assert "No person has judged" not in section.lead
    assert "How often the classifier was wrong" not in tables(unjudged)
