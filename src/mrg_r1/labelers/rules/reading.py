"""The words of one sentence to readings: which finding, which status, on whose account.

Positions are word numbers here; `text.py` knows the characters. A single pass from left to right
keeps the cue in force (negation or hedge) and the mentions a later cue may still reach ('A or B is
not seen'). Every word is visited a constant number of times, so the cost is linear in the length
of the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mrg_r1.findings import Finding, Status
from mrg_r1.labelers.rules.lexicon import Entry, Kind, Lexicon

Span = tuple[int, int]


@dataclass(slots=True)
class Reading:
    """A mention, while it is read: later words may still change its status.

    `span` and `cue` are words, from the first up to the last.
    """

    finding: Finding
    kind: Kind
    span: Span
    status: Status
    cue: Span | None = None

    def deny(self, cue: Span) -> None:
        """Makes the mention negative."""
        self.status, self.cue = Status.NEGATIVE, cue

    def hedge(self, cue: Span) -> None:
        """Makes the mention uncertain, unless it is denied or a hedge does not count for it."""
        if self.status is Status.POSITIVE and self.kind not in _FIRM:
            self.status, self.cue = Status.UNCERTAIN, cue


class Event(NamedTuple):
    """A phrase found in a sentence, at the words from `first` up to `last`."""

    kind: Kind
    entries: tuple[Entry, ...]
    first: int
    last: int

    @property
    def span(self) -> Span:
        """Both ends."""
        return self.first, self.last


class Judgement(NamedTuple):
    """The quality of a structure, and the negation or hedge that reaches the quality."""

    quality: Event
    denial: Span | None = None
    doubt: Span | None = None


_MENTIONS = frozenset(
    {Kind.ABNORMAL, Kind.ONLY_NEGATED, Kind.ONLY_ASSERTED, Kind.NEVER_HEDGED, Kind.HEDGED}
)
_QUALITIES = {
    Kind.NORMAL: Status.NEGATIVE,
    Kind.ENLARGED: Status.POSITIVE,
    Kind.STABLE: Status.UNCERTAIN,
    Kind.UNSURE: Status.UNCERTAIN,
}
_TURNS = (Kind.NEGATION_BEFORE, Kind.HEDGE_BEFORE)
_FIRM = frozenset({Kind.NEVER_HEDGED, Kind.ONLY_ASSERTED})
_ANY = (Status.POSITIVE, Status.NEGATIVE, Status.UNCERTAIN)
_COUNTS = {Kind.ONLY_NEGATED: (Status.NEGATIVE,), Kind.ONLY_ASSERTED: (Status.POSITIVE,)}


def read(words: tuple[str, ...], lexicon: Lexicon) -> list[Reading]:
    """The readings of one sentence, in the order of its words."""
    if lexicon.openers.isdisjoint(words):
        return []
    events = _merged(_events(words, lexicon))
    scope = _Scope(words, events, lexicon)
    for index in range(len(events)):
        scope.visit(index)
    return [r for r in scope.readings if r.status in _COUNTS.get(r.kind, _ANY)]


def _events(words: tuple[str, ...], lexicon: Lexicon) -> list[Event]:
    """The longest phrase at each place, from left to right."""
    events: list[Event] = []
    index = 0
    while index < len(words):
        if words[index] not in lexicon.longest:
            index += 1
            continue
        last, entries = _longest(words, index, lexicon)
        if entries and entries[0].kind is not Kind.IGNORE:
            events.append(Event(entries[0].kind, entries, index, last))
        index = last
    return events


def _longest(words: tuple[str, ...], index: int, lexicon: Lexicon) -> tuple[int, tuple[Entry, ...]]:
    """The end and the meanings of the longest phrase that starts here; none is one word long."""
    longest = min(lexicon.longest[words[index]], len(words) - index)
    for last in range(index + longest, index, -1):
        entries = lexicon.entries.get(words[index:last])
        if entries is not None:
            return last, entries
    return index + 1, ()


def _merged(events: list[Event]) -> list[Event]:
    """Joins 'normal and stable' to one quality; 'stable' gives way to what is said beside it."""
    merged: list[Event] = []
    for event in events:
        linked = merged[-2:-1] if merged and merged[-1].kind is Kind.AND else merged[-1:]
        if (
            event.kind in _QUALITIES
            and linked
            and linked[0].kind in _QUALITIES
            and event.first - linked[0].last <= 2
        ):
            left = linked[0]
            del merged[-2 if merged[-1] is not left else -1 :]
            event = _joined(left, event, event.kind if left.kind is Kind.STABLE else left.kind)
        merged.append(event)
    return merged


def _joined(left: Event, right: Event, kind: Kind) -> Event:
    return Event(kind, (Entry(kind),), left.first, right.last)


class _Scope:
    """What is in force at the current word of a sentence.

    Attributes:
        readings: what was read so far.
        reachable: the mentions a cue behind them may still deny or hedge.
        judged: the enlarged structures such a cue reaches where no mention stands nearer.
        denial: the negation in force.
        doubt: the hedge in force.
        used: whether the cue in force has met a mention, or something enlarged.
        separated: whether a comma or 'and' has come since the last mention.
        closed: whether the clause has its verb.
        described: whether the last mention was called small, old or the like, so that a comma
            completes it.
        alternative: an 'or' between the last mention and the next.
        attribute: what judges a list of structures behind it, as in 'normal heart and mediastinum'.
        predicate: the quality a structure found after itself.
    """

    def __init__(self, words: tuple[str, ...], events: list[Event], lexicon: Lexicon) -> None:
        self.words, self.events, self.lexicon = words, events, lexicon
        self.readings: list[Reading] = []
        self.reachable: list[Reading] = []
        self.judged: list[Reading] = []
        self.denial: Span | None = None
        self.doubt: Span | None = None
        self.used = self.separated = self.closed = self.described = False
        self.alternative: Span | None = None
        self.attribute: Judgement | None = None
        self.predicate: Event | None = None
        self._look_ahead()

    def _look_ahead(self) -> None:
        """For each event: the judgement that follows in its clause, and whether an 'or' does."""
        self.judgement: list[Judgement | None] = []
        self.or_follows: list[bool] = []
        judgement, same_clause, or_follows = None, False, False
        for event in reversed(self.events):
            self.judgement.append(judgement)
            self.or_follows.append(or_follows)
            if event.kind in _QUALITIES:
                judgement, same_clause = Judgement(event), True
            elif event.kind is Kind.STOP or event.kind in _MENTIONS:
                judgement = None
            elif event.kind in (Kind.AND, Kind.COMMA):
                same_clause = False
            elif judgement is not None and same_clause and event.kind in _TURNS:
                denial = event.span if event.kind is Kind.NEGATION_BEFORE else None
                judgement = Judgement(judgement.quality, denial, doubt=event.span)
                same_clause = False
            if event.kind is Kind.OR:
                or_follows = True
            elif event.kind in (Kind.STOP, Kind.VERB, *_TURNS):
                or_follows = False
        self.judgement.reverse()
        self.or_follows.reverse()

    def visit(self, index: int) -> None:
        """Takes account of the next event."""
        event = self.events[index]
        match event.kind:
            case Kind.STRUCTURE:
                self._structure(index, event)
            case Kind.NEGATION_BEFORE if event.last < len(self.words):
                self._open(denial=event.span)
            case Kind.NEGATION_BEFORE | Kind.NEGATION_AFTER:
                self._deny_back(event)
            case Kind.HEDGE_BEFORE:
                self._hedge(event)
            case Kind.HEDGE_AFTER:
                self._hedge_back(event)
            case Kind.VERSUS:
                for reading in self.reachable[-1:]:
                    reading.hedge(event.span)
                self._hedge(event)
            case Kind.OR:
                self.alternative = event.span if self.reachable else None
            case Kind.AND | Kind.COMMA:
                self._separate(index, event)
            case Kind.STOP:
                self._open()
                self.attribute = None
            case Kind.VERB:
                self.closed = True
                self.alternative = None
            case Kind.ENLARGED:
                self.used = True
            case _:
                pass
        if event.kind in _MENTIONS or event.kind in _QUALITIES:
            self._mention(event)

    def _open(self, denial: Span | None = None) -> None:
        """Begins the reach of a negation, or of nothing."""
        self.denial, self.doubt = denial, None
        self.used = self.closed = self.separated = False
        self.alternative = None
        self.reachable.clear()
        self.judged.clear()

    def _mention(self, event: Event) -> None:
        new = [
            Reading(entry.finding, entry.kind, event.span, Status.POSITIVE)
            for entry in event.entries
            if entry.finding is not None
        ]
        for reading in new:
            if self.denial is not None:
                reading.deny(self.denial)
            elif reading.kind is Kind.HEDGED:
                reading.status = Status.UNCERTAIN
            elif self.doubt is not None:
                reading.hedge(self.doubt)
            elif self.alternative is not None and self.reachable[-1].finding is not reading.finding:
                self.reachable[-1].hedge(self.alternative)
                reading.hedge(self.alternative)
        if new:
            self.used, self.separated = True, False
            self.alternative = self.attribute = None
            before = self.words[max(event.first - 2, 0) : event.first]
            self.described = not self.lexicon.fresh.isdisjoint(before)
            self.readings += new
            self.reachable += new

    def _structure(self, index: int, event: Event) -> None:
        before = self._attributive(index, event)
        ahead = self.judgement[index]
        if (before or ahead) and self.separated and self.alternative is None:
            self.denial = None
        if before is not None:
            self.attribute = Judgement(before, self.denial, self.doubt)
            self._judge(event, self.attribute)
        elif ahead is not None:
            self.predicate = ahead.quality
            unmet = None if self.used else self.doubt
            self._judge(event, ahead._replace(doubt=ahead.doubt or unmet))
        elif self.attribute is not None:
            self._judge(event, self.attribute)

    def _judge(self, structure: Event, judgement: Judgement) -> None:
        """Reads a structure by its quality; only an enlarged one can be denied or hedged."""
        quality, denial, doubt = judgement
        new = [
            Reading(
                entry.finding, entry.kind, structure.span, _QUALITIES[quality.kind], quality.span
            )
            for entry in structure.entries
            if entry.finding is not None
        ]
        self.readings += new
        if quality.kind is not Kind.ENLARGED:
            return
        self.judged += new
        for reading in new:
            if denial is not None:
                reading.deny(denial)
            elif doubt is not None:
                reading.hedge(doubt)

    def _attributive(self, index: int, structure: Event) -> Event | None:
        """The quality just before that belongs to this structure: 'normal heart size'."""
        before = self.events[index - 1] if index else None
        if before is None or before.kind not in _QUALITIES or before is self.predicate:
            return None
        between = self.words[before.last : structure.first]
        return before if len(between) <= (6 if "of" in between[-2:] else 3) else None

    def _deny_back(self, event: Event) -> None:
        """'A or B is not seen'; with nothing before it, 'Resolved A' denies what follows."""
        if not (reached := self.reachable or self.judged):
            self._open(denial=event.span)
            return
        for reading in reached:
            if reading.status is not Status.NEGATIVE:
                reading.deny(event.span)
        self._open()

    def _hedge(self, event: Event) -> None:
        if self.denial is None or (self.used and self.separated):
            self.denial, self.doubt = None, event.span
            self.used = self.closed = self.separated = False

    def _hedge_back(self, event: Event) -> None:
        if not (reached := self.reachable or self.judged):
            self._hedge(event)
            return
        for reading in reached:
            reading.hedge(event.span)
        self._open()

    def _separate(self, index: int, event: Event) -> None:
        """A comma or 'and' ends a complete clause, and a list that something new interrupts."""
        self.judged.clear()
        new = self.closed or self._fresh(event.last)
        if self.closed or (self.described and event.kind is Kind.COMMA):
            self.reachable.clear()
        if self.used and not self.or_follows[index]:
            if new:
                self.denial = None
            if new or event.kind is Kind.COMMA:
                self.doubt = None
        self.closed, self.separated, self.alternative = False, True, None

    def _fresh(self, position: int) -> bool:
        """Whether the words from here open a statement of their own: 'small', 'there is'."""
        while position < len(self.words) and self.words[position] in self.lexicon.skip:
            position += 1
        return position < len(self.words) and self.words[position] in self.lexicon.fresh
