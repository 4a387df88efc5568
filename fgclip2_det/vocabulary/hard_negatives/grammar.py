"""Base class of the grammars: attribute slots of a text and their replacements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from .axes import Axis, Entry, Reading
from .lexicon import Lexicon

MAX_SEARCHED = 4096  # characters of a text in which attributes are looked for
MAX_SLOTS = 100  # attributes of a text that are replaced


@dataclass(frozen=True)
class Slot:
    """One attribute of a text that may be replaced.

    Args:
        start, end: its characters.
        first, last: its tokens, ``last`` exclusive (characters again in Chinese).
        reading: its meaning.
        form: the grammatical form that the slot needs.
    """

    start: int
    end: int
    first: int
    last: int
    reading: Reading
    form: str

    @property
    def axis(self) -> Axis:
        return self.reading.axis


@dataclass(frozen=True)
class Option:
    """A word for a slot, and how common it is compared with the others there."""

    slot: Slot
    entry: Entry
    shade: str
    spelling: str
    weight: float


class Sentence:
    """A text, its slots in order and which of them are joined ('red and white')."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.slots: list[Slot] = []
        self._joined: dict[int, list[Slot]] = {}

    def join(self, slots: Sequence[Slot]) -> None:
        """Slots of one axis that speak of the same thing."""
        for slot in slots:
            self._joined[slot.start] = [s for s in slots if s is not slot]

    def joined(self, slot: Slot) -> list[Slot]:
        """The other slots of a slot's chain."""
        return self._joined.get(slot.start, [])


class Grammar(ABC):
    """Recognises the attributes of a text and replaces them."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self._space = ' ' if lexicon.language == 'en' else ''

    def options(self, text: str) -> tuple[Sentence, list[Option]]:
        """Every replacement of one attribute that gives a well-formed, false text."""
        sentence = self.parse(text)
        options = [
            option
            for slot in sentence.slots[:MAX_SLOTS]
            for option in self._fill(sentence, slot)
        ]
        return sentence, options

    @abstractmethod
    def parse(self, text: str) -> Sentence:
        """The text with its slots."""

    @abstractmethod
    def write(self, sentence: Sentence, option: Option) -> str:
        """The text with the option in its slot."""

    @abstractmethod
    def fits(self, sentence: Sentence, slot: Slot, entry: Entry) -> bool:
        """Whether the neighbouring words allow an entry in a slot."""

    def _fill(self, sentence: Sentence, slot: Slot) -> list[Option]:
        """Entries that contradict the slot's and every one joined to it by 'and'."""
        axis, mine = slot.axis, slot.reading
        chain = sentence.joined(slot)
        near = frozenset().union(
            *(axis.near[s.reading.entry.name] for s in (slot, *chain))
        )
        options = []
        for entry in axis.entries.values():
            if entry.name in near or entry.name in axis.silent:
                continue
            if mine.shade and entry.name in axis.unshaded:
                continue
            options += self._option(sentence, slot, entry, mine.shade)
        taken = {(s.reading.entry.name, s.reading.shade) for s in chain}
        for shade in axis.shades.get(mine.shade, ()):
            if (mine.entry.name, shade) not in taken:
                options += self._option(sentence, slot, mine.entry, shade)
        return options

    def _option(
        self, sentence: Sentence, slot: Slot, entry: Entry, shade: str
    ) -> list[Option]:
        """An entry's spellings, none where it does not fit.

        The k-th most common entry weighs 1 / (k + 4) ** 2, ten times that where it is
        of the same kind: 'leather table' would be implausible without an image.
        """
        axis = slot.axis
        first, *others = entry.spellings(slot.form, axis.strict) or [None]
        if first is None or not self.fits(sentence, slot, entry):
            return []
        spellings = [first, *(word for word in others if word in axis.variants)]
        weight = (entry.rank + 4) ** -2 / len(spellings)
        if entry.name in axis.kinds[slot.reading.entry.name]:
            weight *= 10
        prefix = f'{shade}{self._space}' if shade else ''
        return [Option(slot, entry, shade, f'{prefix}{s}', weight) for s in spellings]
