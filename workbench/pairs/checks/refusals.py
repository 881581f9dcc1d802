"""Responses that look wrong by their words: refusals of what is harmless, and rejected ones that look better."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from workbench.figures import plural
from workbench.pairs.checks.findings import CheckFinding, Watch
from workbench.pairs.checks.text_columns import TextColumns
from workbench.pairs.reading import labelled_the_other_way
from workbench.pairs.strength import margin_of

_HARM = """
bypass past fool break disable disarm ignore pretend rules role butt butthole lick live lives living action babysat
profane tit tits bang escort sperm nigger nigg fag retard kkk isis cop cops
abus assassin assault attack beat bomb burn choke corpse cruel damag danger dead deadly death destroy explod
explosi fight firearm genocid grenade gun guns harm hit hostage hurt injur kick kidnap kill knife knives knock
murder poison punch rape raping rapist revenge riot shoot shot slap stab strangl terroris threat tortur violen
war weapon wound arson blackmail breach bribe burgl bust cheat con conceal counterfeit crime crimin crook dark
deceiv dox evad extort fake false forg fraud gang hack hide hiding hijack illegal impersonat jail launder law
legal lie lies loot lying malware manipulat mug password phish pirat pickpocket piracy police prison ransom
rob robb sabotag scam shoplift smuggl sneak snoop spy spies stalk steal stole stolen swindl tamper tax taxes
theft thief thieves track trespass trick unlock vandal victim without addict adderall alcohol booze cannabis
cigarette cocaine diet dope drink drug drunk heroin high inject lsd marijuana medic meth opioid overdose pill
smok snort suicid vape weed cancer cure diagnos disease dosage dose doctor symptom vaccin adult anal bdsm
breast condom cum dick erotic fetish fuck horny hooker incest kinky molest naked nude nudes orgasm panties
pedo penis porn prostitut pussy sex sexy sexual slut spank stripper underage vagina virgin voyeur whore asian
bastard bitch black bigot bully bullies bullying cuss derogatory dumb embarrass ethnic fat feminis foreign gay
ghetto hate hitler holocaust homosexual humiliat idiot immigrant indian insult islam jew jews jewish jerk
lesbian mean mexican mock monkey moron muslim nasty nazi offend offensive prank profan prejudic race races
racial racis rude religio sexis shit shitty slur stereotyp stupid swear transgender troll ugly white address
birth credit email e-mail license phone personal private residence ssn social abortion conspirac democrat
election gambl invest politic president republican trump vote
"""
_STEM = 5
_SHORT_STEMS = frozenset(
    {"abus", "evad", "forg", "hack", "kill", "murd", "pirat", "rape", "rapi", "robb", "smok", "scam", "stab", "cuss"}
)
_ABUSE = (
    r"\b(?:you(?:['’]re| are)|what) (?:such )?(?:a |an )?(?:\w+ )?"
    r"(?:idiot|moron|imbecile|loser|retard|dumb ?ass|asshole|bitch|bastard|piece of (?:shit|crap|trash)|scum)\b"
    r"|\byou(?:['’]re| are) (?:so |really |just )?(?:stupid|dumb|worthless|pathetic|retarded)\b"
    r"|\b(?:fuck (?:you|off)|screw you|go to hell|kill yourself)\b"
    r"|\byou (?:stupid|dumb|fucking|worthless) (?:\w+ )?(?:idiot|moron|fool|bitch|bastard|cunt|fuck|shit)\b"
    r"|\b(?:stop|quit) (?:wasting|bothering) (?:my|our|us|me)\b|\b(?:deal with|figure) it (?:out )?yourself\b"
    r"|\bthat(?:['’]s| is) (?:your own (?:fault|problem)|not (?:my|our) problem)\b"
    r"|\bsuch (?:a )?(?:silly|stupid|dumb) (?:things?|questions?)\b"
)


def _alternative(word: str) -> str:
    """Stems stand for every word that they begin, short words for themselves and their plain forms."""
    stem = len(word) > _STEM or word in _SHORT_STEMS
    return rf"{word}\w*" if stem else rf"{word}(?:s|es|ed|ing|er|ers|y)?"


HARM = re.compile(rf"\b(?:{'|'.join(_alternative(word) for word in _HARM.split())})\b", re.IGNORECASE)
"""Found in a prompt that a cautious model may well refuse. Wide on purpose: a hit only means that nothing is said."""

ABUSE = re.compile(_ABUSE, re.IGNORECASE)
"""Found in a response that insults the one it speaks to."""

ASKED_FOR = re.compile(
    r"\b(?:insult|roast|swear|cuss|curse|profan|mean|nasty|rude|say to|comeback|joke|lyrics|story|dialogue)\w*",
    re.IGNORECASE,
)
"""Found in a prompt that asks for words one would not say oneself."""

_CANNOT = (
    r"(?:can['’]?t|cannot|can not|won['’]?t|will not|am unable to|['’]m unable to|am not able to|['’]m not able to)"
)
_DO = (
    r"(?:help|assist|answer|provide|do (?:that|this)|discuss|talk about|support|recommend|comply|fulfill|participate"
    r"|engage|give (?:you )?(?:advice|that|this)|share|tell you|explain|show you|advise)"
)
REFUSAL = re.compile(
    rf"\bI(?:['’]m (?:really |very |so )?(?:sorry|afraid)[,;]? (?:but )?(?:that )?I)? ?{_CANNOT} (?:\w+ )?{_DO}"
    rf"|\bI(?:['’]m| am) not (?:really )?(?:comfortable|willing|going to (?:help|answer|do|tell|share))"
    r"|\bI (?:do not|don['’]t) (?:feel comfortable|think I (?:can|should) (?:help|answer|do|tell))"
    r"|\bas an AI\b[^.]{0,60}\b(?:can['’]?t|cannot|unable|not able|don['’]t)"
    r"|\bI (?:must|have to) (?:decline|refuse)"
    r"|\bI(?:['’]d| would) (?:prefer|rather) not (?:to )?(?:say|answer|help|discuss|talk|tell|share)",
    re.IGNORECASE,
)
_EVASIVE = re.compile(
    rf"{REFUSAL.pattern}|\b(?:sorry|afraid|unable|cannot|can['’]t|I don['’]t (?:know|have|understand|think))\b",
    re.IGNORECASE,
)
_OPENING = 120
_ANSWER = 40
"""Characters that an answer has at least."""


def refusal(columns: TextColumns, watch: Watch) -> Iterator[CheckFinding]:
    """Pairs whose chosen response opens with a refusal, whose rejected one answers, and whose prompt has no word that
    could explain it. A heuristic: a prompt can be harmful in harmless words."""
    named = []
    for _, index in watch.over(columns.matching(REFUSAL.pattern, "chosen", ignore_case=True)):
        chosen, rejected = columns.chosen[index], columns.rejected[index]
        if not REFUSAL.search(chosen[:_OPENING]) or len(rejected) < _ANSWER or _EVASIVE.search(rejected[:_OPENING]):
            continue
        if not HARM.search(columns.prompts[index]):
            named.append(index)
    if not named:
        return
    yield CheckFinding(
        "refusal",
        "warning",
        columns.named(named),
        f"{plural(len(named), 'pair prefers', 'pairs prefer')} a refusal to an answer, where the prompt has no sign"
        " of harm.",
        "Read them: where the prompt is harmless, swap the pair or drop it; the model would learn to over-refuse.",
    )


_SENTENCE = re.compile(r"[.!?\n]\s*")
_MANY = 6
_LONG = 150
_SHORT = 15


def swap(columns: TextColumns, watch: Watch) -> Iterator[CheckFinding]:
    """Pairs whose own scores, ranks, margins or labels say the opposite, and those whose chosen response insults,
    repeats itself over and over or stops at its first word while the rejected one does not: heuristics, these."""
    reasons: dict[int, str] = {}
    for index, extra in columns.extras.items():
        if margin_of(extra) < 0:
            reasons[index] = "scored the other way round"
        elif labelled_the_other_way(columns.chosen[index], columns.rejected[index], extra):
            reasons[index] = "labelled the other way round"
    for index in columns.matching(ABUSE.pattern, "chosen", ignore_case=True):
        chosen, rejected = columns.chosen[index], columns.rejected[index]
        if _insults(chosen) and not _insults(rejected) and not ASKED_FOR.search(columns.prompts[index]):
            reasons.setdefault(index, "chosen insults")
    for index, (chosen, rejected) in watch.over(list(zip(columns.chosen, columns.rejected, strict=True))):
        if len(chosen) <= _SHORT and len(rejected) >= _LONG and _breaks_off(chosen) and not _breaks_off(rejected):
            reasons.setdefault(index, "chosen breaks off")
        elif len(chosen) > _LONG and _repeats(chosen) and not _repeats(rejected):
            reasons.setdefault(index, "chosen repeats itself")
    if not reasons:
        return
    counts = Counter(reasons.values())
    examples = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
    yield CheckFinding(
        "swap",
        "warning",
        columns.named(sorted(reasons)),
        f"{plural(len(reasons), 'pair looks', 'pairs look')} exchanged: rejected seems the better one ({examples}).",
        "Read them; swap where the rejected response is the better one.",
        figures={"reasons": dict(counts)},
    )


def _insults(text: str) -> bool:
    return any(not _quoted(text, match.start()) for match in ABUSE.finditer(text))


def _quoted(text: str, index: int) -> bool:
    """Whether the character at `index` lies between quotation marks."""
    return text[:index].count('"') % 2 == 1 or text[:index].count("“") > text[:index].count("”")


def _breaks_off(text: str) -> bool:
    """Whether a text ends without a sign that ends a sentence, a list or a quotation."""
    return not text.rstrip().endswith((".", "!", "?", ":", ")", "]", '"', "'", "”", "’", "…", "`"))


def _repeats(text: str) -> bool:
    """Whether half of the text's sentences, six or more of them, are copies, as of a model caught in a loop."""
    parts = [part for part in _SENTENCE.split(text) if part]
    return len(parts) >= _MANY and len(set(parts)) <= len(parts) / 2
