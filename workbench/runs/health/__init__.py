"""Is the run learning, and learning the right thing? Alerts in plain words, from the run's own events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import UnionType

from workbench.methods import DEFAULT_METHOD, METHODS, Method
from workbench.runs.events import Eval, Event, Resumed, Sample, Step, Warned
from workbench.runs.health import detectors
from workbench.runs.health.detectors import Alert
from workbench.runs.health.history import History
from workbench.runs.state import RunState


@dataclass(frozen=True, slots=True)
class Detector:
    """`find` is called after each event of the kinds `of`, which is then the latest in the history.

    `unless` names alerts that explain this one: once one of them was told, this one would only repeat it. `suits` says
    which methods it makes sense for.
    """

    code: str
    of: type[Event] | UnionType
    find: Callable[[History], Alert | None]
    unless: frozenset[str] = frozenset()
    suits: Callable[[Method], bool] = lambda _: True


def _has_log_ratios(method: Method) -> bool:
    return method.log_ratios


def _has_pairs(method: Method) -> bool:
    return not method.online


DETECTORS: tuple[Detector, ...] = (
    Detector("first-loss", Step, detectors.wrong_beginning, suits=_has_log_ratios),
    Detector("not-finite", Step | Eval, detectors.not_finite),
    Detector("exploding", Step, detectors.exploding, unless=frozenset({"not-finite"})),
    Detector("not-moving", Step, detectors.not_moving, unless=frozenset({"not-finite"})),
    Detector("stuck", Step, detectors.stuck, frozenset({"not-finite", "not-moving"}), _has_log_ratios),
    Detector(
        "displacement", Step | Eval, detectors.displacement, frozenset({"not-finite", "exploding"}), _has_log_ratios
    ),
    Detector("too-easy", Step, detectors.too_easy, frozenset({"exploding"}), _has_log_ratios),
    Detector("overfitting", Eval, detectors.overfitting, frozenset({"not-finite", "exploding"}), _has_pairs),
    Detector("longer", Sample, detectors.longer_answers, unless=frozenset({"not-finite"})),
    Detector("no-spread", Step, detectors.no_spread),
    Detector("slow", Step, detectors.slow),
)


class Health:
    """Watches the events of a run, each told to `observe` once and in order.

    `first_loss` is what the loss must be before the first update; None: not known. `method` decides which alerts make
    sense; `beta` turns the rewards of a method with a reference into nats (None: displacement is not judged).
    """

    def __init__(self, first_loss: float | None, *, method: str = DEFAULT_METHOD, beta: float | None = None) -> None:
        facts = METHODS[method]
        self._history = History(first_loss, beta if facts.reference else None, online=facts.online)
        self._detectors = [detector for detector in DETECTORS if detector.suits(facts)]
        self._told: set[str] = set()

    def remember(self, state: RunState) -> None:
        """Takes note of what earlier workers of the run told and still holds, and of the alerts among it."""
        for event in (state.started, *state.steps, *state.evals, *state.samples):
            if event is not None:
                self._history.add(event)
        self._history.add(Resumed(time=state.last_event or 0.0, step=state.step, checkpoint=""))
        self._told.update(warning.code for warning in state.warnings)

    def observe(self, event: Event) -> list[Warned]:
        """The alerts that `event` gives rise to, each kind once a run."""
        self._history.add(event)
        if isinstance(event, Warned):
            self._told.add(event.code)
        alerts = []
        for detector in self._detectors:
            if not isinstance(event, detector.of) or self._told & {detector.code, *detector.unless}:
                continue
            alert = detector.find(self._history)
            if alert:
                self._told.add(detector.code)
                alerts.append(Warned(time=event.time, step=event.step, code=detector.code, **asdict(alert)))
        return alerts
