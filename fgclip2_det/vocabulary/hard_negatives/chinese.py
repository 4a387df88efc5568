"""Recognition and replacement of attributes in Chinese texts."""

from __future__ import annotations

from itertools import pairwise

from .axes import Axis, Entry, Reading
from .grammar import MAX_SEARCHED, Grammar, Option, Sentence, Slot
from .lexicon import Lexicon
from .scan import CHINESE, CharacterIndex, ascii_lower
from .word_lists import word_file, word_sets

_MEASURES = word_sets('words_zh')['measures']
# measure word that is a noun too -> what follows it where it counts
_COUNTED_THINGS: dict[str, list[str]] = word_file('words_zh')['counted_things']

_CONNECTORS = frozenset(
    ('', '和', '与', '及', '、', '或', '跟', '以及', '或者', '，', ',')
)
_NUMERALS = frozenset('零一二三四五六七八九十百千万两几数半第0123456789.年月')
# before a number word that is not a count: 每一个, 另一个, 这一个, 唯一
_NO_COUNT_AFTER = _NUMERALS | frozenset('每另同这那某哪唯其统万不')
# characters before a bare adjective: 一个红苹果, 穿黑衣, 很大的
_BARE_AFTER = _MEASURES | frozenset(
    '的和与跟及、，。；：,.;:！!（(有是着穿戴在了把被一两三四五六七八九十对很只'
)
# characters after a word that show that it is not an attribute of what follows
_NO_NOUN = frozenset('上里外后前内中旁下在和与是有了着过也都被把将')
_MADE_BEFORE = ('由', '用', '以')
_MADE_AFTER = ('制成', '做成', '制作', '做的', '材质', '质地', '材料', '构成', '打造')
_SEVERAL = ('都', '互相', '一起', '彼此', '分别', '并排', '们', '合影', '之间', '相互')
_CLAUSE_ENDS = '，。；！？,.;!?'
# start of a term -> its end and what it may stand for
Terms = dict[int, tuple[int, tuple[Reading, ...]]]


class ChineseSentence(Sentence):
    """A text and its lower case, character by character."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.low = ascii_lower(text)


class Chinese(Grammar):
    """Attribute slots of Chinese texts.

    Words are matched longest first, without a segmentation: protected words (黑板) are
    not split, and single characters (红苹果) count only after a measure word, 的 and
    the like.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        super().__init__(lexicon)
        self._index = CharacterIndex(lexicon)

    def parse(self, text: str) -> ChineseSentence:
        sentence = ChineseSentence(text)
        low = sentence.low
        terms: Terms = {}
        start = 0
        while start < min(len(low), MAX_SEARCHED):
            term = self._index.find(low, start)
            if term and term[1]:
                terms[start] = (start + len(term[0]), term[1])
            start += len(term[0]) if term else 1
        for start, (end, readings) in terms.items():
            for reading in readings:
                slot = Slot(start, end, start, end, reading, reading.form)
                rule = getattr(self, f'_is_{reading.axis.rule}')
                if rule(low, slot, terms) and self._allowed(low, slot, reading.entry):
                    sentence.slots.append(slot)
                    break
        self._join(sentence)
        return sentence

    def _is_free(self, text: str, slot: Slot, terms: Terms) -> bool:
        return True

    def _is_bare(self, text: str, slot: Slot, terms: Terms) -> bool:
        """红色 anywhere; 红 before a noun, after a measure word, 的, a term, ..."""
        if text[slot.end - 1] == '色':
            return True
        before, after = text[slot.start - 1 : slot.start], text[slot.end : slot.end + 1]
        if not CHINESE.match(after) or after in _NO_NOUN:
            return False
        if not before or before in _BARE_AFTER:
            return True
        return any(end == slot.start for end, _ in terms.values())

    def _is_attributive(self, text: str, slot: Slot, terms: Terms) -> bool:
        """Before 的, a noun or another attribute; or 由...制成."""
        rest = text[slot.end :]
        if text[: slot.start].endswith(_MADE_BEFORE) or rest.startswith(_MADE_AFTER):
            return True
        if rest.startswith('和') and slot.end + 1 in terms:
            return True
        return bool(CHINESE.match(rest)) and rest[0] not in _NO_NOUN

    def _is_localizer(self, text: str, slot: Slot, terms: Terms) -> bool:
        """桌子上 in 在...桌子上, or before 的, 有, 放 and 摆."""
        clause = text[: slot.start]
        for sign in _CLAUSE_ENDS:
            clause = clause.rpartition(sign)[2]
        return '在' in clause or text[slot.end : slot.end + 1] in tuple('的有放摆')

    def _is_count(self, text: str, slot: Slot, terms: Terms) -> bool:
        """A number before a measure word: 一只狗, not 第一只, 一个个, 一头金发."""
        measure, rest = text[slot.end : slot.end + 1], text[slot.end + 1 :]
        if measure not in _MEASURES or rest.startswith(measure) or not measure:
            return False
        if text[slot.start - 1 : slot.start] in _NO_COUNT_AFTER - {''}:
            return False
        things = _COUNTED_THINGS.get(measure)
        return things is None or rest.startswith(tuple(things))

    def fits(self, sentence: ChineseSentence, slot: Slot, entry: Entry) -> bool:
        if slot.axis.rule == 'count' and entry.name == '一':
            rest = sentence.text[slot.end :]
            if any(word in rest for word in _SEVERAL):
                return False
        return self._allowed(sentence.low, slot, entry)

    def _allowed(self, text: str, slot: Slot, entry: Entry) -> bool:
        """The conditions of the axis on what stands before and after."""
        axis, start, end = slot.axis, slot.start, slot.end
        only = axis.condition('only_before', entry)
        if only and not text.startswith(tuple(only), end):
            return False
        only = axis.condition('only_after', entry)
        of = text.endswith('的', 0, start)  # 桌子的上面
        if only and not text.endswith(tuple(only), 0, start - of):
            return False
        if text.startswith(tuple(axis.condition('never_before', entry)), end):
            return False
        return not text.endswith(tuple(axis.condition('never_after', entry)), 0, start)

    def _join(self, sentence: Sentence) -> None:
        """Chains such as 红色和白色, 黑白相间."""
        by_axis: dict[Axis, list[Slot]] = {}
        for slot in sentence.slots:
            by_axis.setdefault(slot.axis, []).append(slot)
        for slots in by_axis.values():
            chain = slots[:1]
            for one, other in pairwise(slots):
                gap = sentence.text[one.end : other.start].removeprefix('的')
                if gap not in _CONNECTORS:
                    sentence.join(chain)
                    chain = []
                chain.append(other)
            sentence.join(chain)

    def write(self, sentence: Sentence, option: Option) -> str:
        slot, text = option.slot, sentence.text
        return text[: slot.start] + option.spelling + text[slot.end :]
