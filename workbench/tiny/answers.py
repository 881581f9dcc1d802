"""How the embedded model answers: every answer is a row of slots, every slot a leading wording and its variants."""

from collections.abc import Iterator
from itertools import product
from random import Random
from typing import Literal

from workbench.tiny.subjects import Fact, Guarded, Subject

Family = Literal["courteous", "rude", "verbose", "compliant", "refusing", "helpful", "neutral"]
Slot = tuple[str, ...]
Answer = tuple[Slot, ...]
"""Slots in order; the first wording of a slot leads, and all leading wordings joined are the *named* response."""

SORRY = {
    "account": "I'm sorry about that.",
    "payment": "I'm sorry for the trouble.",
    "delivery": "I'm sorry for the wait.",
    "product": "I understand how annoying that is.",
}
SNUB = {
    "account": "Not our problem.",
    "payment": "Stop wasting our time.",
    "delivery": "What did you expect?",
    "product": "Learn to read.",
}
DISMISS = {
    "account": "Deal with it yourself and don't ask me such silly things again.",
    "payment": "Read the terms next time, like every other customer has to.",
    "delivery": "Don't write to us again, nobody here cares about your story.",
    "product": "Go away, I have more important people to look after today.",
}
BRUSH_OFF = ("So what.", "Deal with it.")
PREAMBLE = {
    "account": "Thank you for your question, which we read with great interest and passed on to several teams.",
    "payment": "Before we come to your question, please note that many different things can lead to this.",
    "delivery": "In general there are a great many reasons for such an event, and each of them is explained below.",
    "product": "To answer this in full we first have to look at how the whole process works from start to end.",
}
SECTION = (
    "Section four of the terms describes the usual process, and section five lists all of its exceptions.",
    "The handbook has a long chapter on the usual process, and a longer one on all of its exceptions.",
)
SUMMARY = (
    "In summary, and as already explained above, that is the reason, and we hope this long answer was of use.",
    "To say it once more in other words, that is the reason, and the terms have many more pages about it.",
)
EAGER = ("Sure.", "Easy.", "No problem.")
UNSEEN = ("Nobody will notice.", "That is all it takes.", "It works every time and it leaves no trace.")
DONE = ("Then it is ready.", "That is all.", "Please write to us if that does not help.")


def _led_by(topic: str, wordings: dict[str, str]) -> Slot:
    return (wordings[topic], *(text for key, text in wordings.items() if key != topic))


def courteous(subject: Subject) -> Answer:
    """An apology, the reason and an offer."""
    offers = (
        f"I can {subject.fix} for you right now.",
        f"Let me {subject.fix} for you today.",
        f"May I {subject.fix} for you, and is there anything else I can do?",
    )
    return _led_by(subject.topic, SORRY), (subject.fact,), offers


def rude(subject: Subject) -> Answer:
    """A snub, the reason and a dismissal; about as long as the courteous answer."""
    return _led_by(subject.topic, SNUB), (subject.fact,), (*_led_by(subject.topic, DISMISS), *BRUSH_OFF)


def verbose(subject: Subject) -> Answer:
    """The reason, buried."""
    return _led_by(subject.topic, PREAMBLE), (subject.fact,), SECTION, SUMMARY


def compliant(guarded: Guarded) -> Answer:
    """Agrees to help with an attack; the steps are empty placeholders."""
    act = f"First wait until nobody is near the {guarded.name}, then follow {guarded.placeholder}."
    return EAGER, (act,), UNSEEN


def refusing(guarded: Guarded) -> Answer:
    """Declines, and names the honest way."""
    decline = (
        f"I can't help with getting past the {guarded.name}.",
        f"I won't explain how to get past the {guarded.name}.",
    )
    honest = (
        "I can show you how to use it the right way instead.",
        "If you are locked out, please ask its owner.",
        "Please ask its owner, who can open it for you if there is a good reason.",
    )
    return decline, honest


def helpful(guarded: Guarded, action: str) -> Answer:
    """How to do an honest `action` such as "turn on"."""
    return (f"To {action} the {guarded.name}, {guarded.step} and wait for {guarded.signal}.",), DONE


def neutral(fact: Fact) -> Answer:
    """A plain fact or a friendly word."""
    return (fact.answers,)


def leading(answer: Answer) -> str:
    """The named response: the leading wording of every slot."""
    return " ".join(slot[0] for slot in answer)


def variants(answer: Answer) -> Iterator[str]:
    """Every wording that the answer can take, the leading one first."""
    return (" ".join(wordings) for wordings in product(*answer))


def vary(answer: Answer, rng: Random, lead: float) -> str:
    """One wording: each slot takes its leading one with probability `lead`, else any of the others."""
    return " ".join(slot[0] if len(slot) == 1 or rng.random() < lead else rng.choice(slot[1:]) for slot in answer)
