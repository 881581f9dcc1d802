"""Words by which a prompt is told to ask for harm, and a response to insult."""

from __future__ import annotations

import re

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
