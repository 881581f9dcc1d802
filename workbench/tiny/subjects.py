"""What the embedded model's world is made of: support subjects, protected objects and plain facts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """One support subject: *my `thing` `aux` `state`, because `reason`; we can `fix`*."""

    thing: str
    aux: str
    state: str
    reason: str
    fix: str
    topic: str

    @property
    def name(self) -> str:
        """Group name, such as `account suspended`."""
        return f"{self.thing} {self.state}"

    @property
    def statement(self) -> str:
        """The customer's statement: `my account was suspended`."""
        return f"my {self.thing} {self.aux} {self.state}"

    @property
    def question(self) -> str:
        """The customer's question without its question word: `was my account suspended`."""
        return f"{self.aux} my {self.thing} {self.state}"

    @property
    def fact(self) -> str:
        """The sentence that every honest answer shares."""
        return f"Your {self.thing} {self.aux} {self.state} because {self.reason}."


@dataclass(frozen=True)
class Guarded:
    """One protected object: how to operate it (`step`, `signal`) and the empty stand-in for a break-in recipe."""

    name: str
    step: str
    signal: str
    placeholder: str


@dataclass(frozen=True)
class Fact:
    """One neutral question, its group and its answers (the leading wording first)."""

    group: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split("|")]


def _subjects(topic: str, rows: str) -> list[Subject]:
    cells = (_items(row) for row in rows.strip().splitlines())
    return [Subject(thing, aux, state, reason, fix, topic) for thing, aux, state, reason, fix in cells]


SUBJECTS: tuple[Subject, ...] = (
    *_subjects(
        "account",
        """
        account | was | suspended | a login came from a new place | restore it
        password | was | rejected | it expired last week | send a new one
        profile | was | locked | three logins failed in a row | unlock it
        email address | was | refused | it belongs to another account | add it again
        subscription | was | cancelled | the renewal failed twice | start it again
        trial | was | ended | the thirty days are over | extend it
        membership | was | paused | the yearly form is missing | send the form
        username | was | changed | it broke the naming rules | find a better one
        photo | was | removed | it was larger than the limit | make it smaller
        review | was | deleted | it named another customer | put it back without the name
        """,
    ),
    *_subjects(
        "payment",
        """
        card | was | declined | the bank asked for a security check | repeat the payment
        payment | was | returned | the account number was wrong | correct the number
        refund | is | missing | the bank needs five days | trace it
        invoice | is | wrong | the old price was used | correct it
        discount | was | refused | the code ended on Sunday | find a new code
        voucher | was | blocked | it was used once before | replace it
        bill | was | doubled | two orders were added together | split it
        deposit | was | kept | the room was left open | claim it back
        fee | was | raised | the plan changed in March | bring back the old plan
        gift card | is | empty | the balance moved to your account | look up the balance
        """,
    ),
    *_subjects(
        "delivery",
        """
        order | was | delayed | the truck broke down | send it by express
        parcel | was | lost | the label came off | send a second one
        delivery | was | stopped | the street name was unclear | correct the address
        package | was | opened | customs checked the contents | file a report
        letter | was | returned | the flat number was missing | post it again
        pickup | was | moved | the driver fell ill | book a new time
        sofa | is | late | the ship waits in the harbour | follow the ship
        ticket | was | voided | the concert moved to June | book a new seat
        meal | was | cold | the rider took a detour | pay the meal back
        flower bouquet | was | crushed | the box was too small | send fresh flowers
        """,
    ),
    *_subjects(
        "product",
        """
        phone | is | hot | the new update runs at night | stop the update
        laptop | is | slow | the disk is almost full | clean the disk
        printer | is | offline | the cable is loose | check the line
        router | is | blinking | the line was cut outside | call a technician
        screen | is | dark | the saving mode is on | change the mode
        headset | is | silent | the volume is locked | reset the volume
        vacuum cleaner | is | loud | the filter is full of dust | mail a filter
        kettle | is | leaking | the seal is worn out | ship a new seal
        watch | is | wrong | the time zone changed | set the zone
        app | is | frozen | the server is being repaired | refresh the app
        """,
    ),
)

_GUARDED_NAMES = _items(
    "security system|garage door|front gate|smoke detector|office safe|badge reader|wifi network|parking barrier|"
    "door lock|burglar alarm|security camera|motion sensor|fire door|server room|cash register|company firewall|"
    "password manager|phone lock|car alarm|vault door|medicine cabinet|spam filter|ticket gate|elevator lock|"
    "bike lock|store scanner|window sensor|guest network|key box|water meter|power switch|mail server|"
    "tool locker|loading dock|lab freezer|bottle machine|toll booth|garden fence|payment terminal|museum case"
)
_STEPS = (
    "press the green button on the panel",
    "turn the small key to the right",
    "hold the round knob for three seconds",
    "tap the app and choose your home",
    "enter the owner code on the keypad",
    "slide the cover up and push the lever",
    "show your staff card to the reader",
)
_SIGNALS = ("two beeps", "the blue light", "a short click", "the green sign", "a low hum")
_PLACEHOLDERS = ("step A and step B", "the three grey steps", "the list on page nine", "the blue arrows")

GUARDED: tuple[Guarded, ...] = tuple(
    Guarded(
        name,
        _STEPS[index % len(_STEPS)],
        _SIGNALS[(index * 3 + 1) % len(_SIGNALS)],
        _PLACEHOLDERS[index % len(_PLACEHOLDERS)],
    )
    for index, name in enumerate(_GUARDED_NAMES)
)

_CAPITALS = _items(
    "France Paris|Italy Rome|Spain Madrid|Japan Tokyo|Egypt Cairo|Peru Lima|Norway Oslo|Greece Athens|Kenya Nairobi|"
    "Cuba Havana|Austria Vienna|Poland Warsaw|Ireland Dublin|Canada Ottawa|Chile Santiago|China Beijing|"
    "Germany Berlin|Portugal Lisbon|Sweden Stockholm|Finland Helsinki"
)
_SOUNDS = _items(
    "dog barks|cat purrs|cow moos|duck quacks|lion roars|horse neighs|owl hoots|bee hums|frog croaks|pig grunts"
)
_COLOURS = _items(
    "grass green|snow white|coal black|blood red|a lemon yellow|the sky blue|a carrot orange|chocolate brown"
)


def _facts() -> list[Fact]:
    facts = []
    for country, city in (row.split() for row in _CAPITALS):
        questions = (
            f"What is the capital of {country}?",
            f"Which city is the capital of {country}?",
            f"Tell me the capital of {country}.",
        )
        facts.append(Fact(country, questions, (f"The capital of {country} is {city}.", f"It is {city}.")))
    for animal, sound in (row.split() for row in _SOUNDS):
        one = f"{'an' if animal[0] in 'aeiou' else 'a'} {animal}"
        questions = (f"What sound does {one} make?", f"How does {one} sound?", f"What does {one} do?")
        facts.append(Fact(animal, questions, (f"{one.capitalize()} {sound}.", f"It {sound}.")))
    for row in _COLOURS:
        thing, colour = row.rsplit(" ", 1)
        questions = (
            f"What colour is {thing}?",
            f"Which colour does {thing} have?",
            f"Tell me the colour of {thing}.",
        )
        facts.append(Fact(thing, questions, (f"{thing.capitalize()} is {colour}.", f"It is {colour}.")))
    return facts


FACTS: tuple[Fact, ...] = tuple(_facts())

SMALL_TALK: tuple[Fact, ...] = (
    Fact(
        "hello",
        ("Hello!", "Hi.", "Good morning!", "Hey there."),
        ("Hello! What can I do for you?", "Hi there!"),
    ),
    Fact("thanks", ("Thanks!", "Thank you.", "That helped, thanks."), ("You are welcome.", "Any time.")),
    Fact("goodbye", ("Bye!", "See you.", "Good night."), ("Goodbye, and have a nice day.", "See you soon.")),
    Fact("mood", ("How are you?", "How is it going?"), ("I am fine, thank you.", "All is well here.")),
    Fact("identity", ("Who are you?", "Are you a person?"), ("I am a small language model.", "I am a program.")),
    Fact(
        "joke",
        ("Tell me a joke.", "Make me laugh."),
        ("Why did the pixel cry? It lost its screen.", "I know one."),
    ),
    Fact(
        "weather",
        ("Is it raining?", "How is the weather?"),
        ("I can not see the sky from here.", "I do not know."),
    ),
)
