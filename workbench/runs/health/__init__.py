"""Is the run learning, and learning the right thing? Alerts in plain words, from the run's own events.

Each kind of alert is one function of what was told so far (`History`), in the module named after what it watches, and
one `Detector` in the table below. A false alarm costs as much trust as silence: thresholds are constants beside the
function that uses them, each with its reason, and windows grow with the length of the run.
"""

from __future__ import annotations

from workbench.methods import DEFAULT_METHOD, METHODS, Method
from workbench.runs.events import Eval, Event, Resumed, Sample, Step, Warned
from workbench.runs.health import answers, blowup, displacement, holdout, motion, separation, spread, start, throughput
from workbench.runs.health.detector import Detector
from workbench.runs.health.history import History
from workbench.runs.state import RunState


def _has_log_ratios(method: Method) -> bool:
    return method.log_ratios


def _has_pairs(method: Method) -> bool:
    return not method.online


DETECTORS: tuple[Detector, ...] = (
    Detector("first-loss", Step, start.wrong_beginning, suits=_has_log_ratios),
    Detector("not-finite", Step | Eval, blowup.not_finite),
    Detector("exploding", Step, blowup.exploding, unless=frozenset({"not-finite"})),
    Detector("not-moving", Step, motion.not_moving, unless=frozenset({"not-finite"})),
    Detector("stuck", Step, motion.stuck, frozenset({"not-finite", "not-moving"}), _has_log_ratios),
    Detector(
        "displacement", Step | Eval, displacement.both_fall, frozenset({"not-finite", "exploding"}), _has_log_ratios
    ),
    Detector("too-easy", Step, separation.at_once, frozenset({"exploding"}), _has_log_ratios),
    Detector("overfitting", Eval, holdout.overfitting, frozenset({"not-finite", "exploding"}), _has_pairs),
    Detector("longer", Sample, answers.longer, unless=frozenset({"not-finite"})),
    Detector("no-spread", Step, spread.none_left),
    Detector("slow", Step, throughput.collapsed),
)


class Health:
    """Watches the events of a run, each told to `observe` once and in order.

    `first_loss` is what the loss must be before the first update; None: not known. `method` decides which alerts make
    sense; `beta` turns the rewards of a method with a reference into nats (None: displacement is not judged). `told`
    has the codes of alerts that an earlier worker of the run has told; `Warned` events that are observed add to it.
    """

    def __init__(
        self,
        first_loss: float | None,
        told: frozenset[str] = frozenset(),
        *,
        method: str = DEFAULT_METHOD,
        beta: float | None = None,
    ) -> None:
        facts = METHODS[method]
        self._history = History(first_loss, beta if facts.reference else None, online=facts.online)
        self._detectors = [detector for detector in DETECTORS if detector.suits(facts)]
        self._told = set(told)

    def remember(self, state: RunState) -> None:
        """Takes note of what earlier workers of the run told and still holds, and of the alerts among it."""
        for event in (state.started, *state.steps, *state.evals, *state.samples):
            if event is not None:
                self._history.add(event)
        self._history.add(Resumed(time=state.last_event or 0.0, step=state.step, checkpoint=""))
        self._told.update(each.code for each in state.warnings)

    def observe(self, event: Event) -> list[Warned]:
        """The alerts that `event` gives rise to, each kind once a run."""
        self._history.add(event)
        if isinstance(event, Warned):
            self._told.add(event.code)
        alerts = []
        for detector in self._detectors:
            if not isinstance(event, detector.of) or self._told & {detector.code, *detector.unless}:
                continue
            found = detector.find(self._history)
            if found:
                self._told.add(detector.code)
                alerts.append(
                    Warned(
                        time=event.time,
                        step=event.step,
                        code=detector.code,
                        title=found.title,
                        message=found.message,
                        remedy=found.remedy,
                    )
                )
        return alerts
