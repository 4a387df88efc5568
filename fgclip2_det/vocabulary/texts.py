"""Parsing of class names in one string, as on a command line."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod

_SEPARATORS = frozenset(';；，,、。｡\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029')
_STOPS = re.compile(r'[.．…]+')
_QUOTES = {
    '"': '"', "'": "'", '＂': '＂', '“': '”', '‘': '’', '「': '」', '『': '』',
}  # fmt: skip
# a straight quote, or one that is also an apostrophe, closes at the end of a word
_CLOSING = {
    mark: re.compile(
        re.escape(closing)
        + (rf'(?=$|[\s.．…{"".join(sorted(_SEPARATORS))}])' if mark in '"\'‘＂' else '')
    )
    for mark, closing in _QUOTES.items()
}
_CHINESE = re.compile(r'[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]')
# U.S., e.g., Ph.D.: stops between single letters or two
_LETTERS = re.compile(r'[^\W\d_]{1,2}(\.[^\W\d_]{1,2})+')
# a stop after one of them does not end a name
_ABBREVIATIONS = {
    'approx', 'asst', 'attn', 'ave', 'bldg', 'blvd', 'bros', 'capt', 'cf', 'cie', 'co',
    'col', 'corp', 'cpl', 'dept', 'dr', 'esq', 'est', 'ft', 'gen', 'gov', 'hon', 'inc',
    'jr', 'lb', 'lbs', 'lt', 'ltd', 'maj', 'messrs', 'mlle', 'mme', 'mr', 'mrs', 'ms',
    'mt', 'oz', 'pres', 'prof', 'pvt', 'rd', 'rep', 'rev', 'sen', 'sgt', 'spp', 'sr',
    'st', 'ste', 'univ', 'vs',
}  # fmt: skip
# only before a number: 'no. 5', but 'yes. no. perhaps'
_BEFORE_NUMBERS = {
    'ca', 'ch', 'fig', 'figs', 'no', 'nos', 'nr', 'op', 'p', 'pp', 'pt', 'sec', 'vol',
    'vols',
}  # fmt: skip
MAX_EXPANDED = 1000  # names that braces of one string stand for
_PIECE = re.compile(r'\{([^{}]*)\}')


def parse_texts(texts: str) -> list[str]:
    """Names of a string such as ``'black cat. St. Bernard. 白色杯子'``.

    A name ends with '.', ',', ';', '。', '，', '；', '、' or a line break. A full stop
    ends it only before white space, next to a Chinese character or at the end of the
    string, and not after a digit or an abbreviation ('2.5 l bottle', 'U.S. flag',
    'no. 5 jersey'; use another separator after a number: 'boeing 747; cat'). Text in
    quotes at the beginning of a name is not split, nor is any text in Chinese or curly
    quotes: '"salt, pepper"'; quotes around a whole name are removed.

    Raises:
        ValueError: if there is no name, or a name begins with a quote that is not
            closed.
    """
    names = [_strip(part) for part in _split(texts)]
    names = [name for name in names if name]
    if not names:
        raise ValueError(f"expected names such as 'black cat. 白色杯子', got {texts!r}")
    return names


def has_braces(text: str) -> bool:
    """Whether a prompt has alternatives to expand."""
    return '{' in text or '}' in text


def expand_prompt(
    prompt: str, words: Mapping[str, str | Sequence[str]] | None = None
) -> list[str]:
    """Names that a prompt stands for; the prompt itself without braces.

    Args:
        prompt: 'red {cup|plate}', '{红色|蓝色}{圆形|星形}', '{colour} {noun}'.
        words: lists for placeholders such as ``{noun}``, see :mod:`.placeholders`,
            where those of attributes are built in.

    Raises:
        ValueError: nested, unbalanced or single braces, an empty alternative, an
            unknown placeholder, or more than :data:`MAX_EXPANDED` names.

    Example:
        >>> expand_prompt('{red|blue} {star|ring}')
        ['red star', 'red ring', 'blue star', 'blue ring']
        >>> expand_prompt('{size} {noun}', {'noun': ['cup', 'plate']})
        ['large cup', 'large plate', 'small cup', 'small plate']
    """
    if not has_braces(prompt):
        return [prompt]
    pieces = _PIECE.split(prompt)  # text and alternatives in turn
    if any(has_braces(text) for text in pieces[::2]):
        raise ValueError(
            f'{prompt!r} has braces that are nested or not closed; expected '
            "alternatives such as 'red {cup|plate}'"
        )
    choices = [[text] for text in pieces]
    for place in range(1, len(pieces), 2):
        choices[place] = _alternatives(pieces[place], prompt, words)
    _check_count(prod(map(len, choices)), prompt)
    return [' '.join(''.join(words).split()) for words in product(*choices)]


def _alternatives(
    piece: str, prompt: str, words: Mapping[str, str | Sequence[str]] | None
) -> list[str]:
    """What stands in braces: alternatives, or the words of a placeholder."""
    # loaded when needed: word lists of two languages
    from fgclip2_det.vocabulary.placeholders import PLACEHOLDERS, placeholder_words

    if '|' not in piece:
        listed = placeholder_words(piece.strip(), words)
        if listed is not None:
            return listed
    choices = [word.strip() for word in piece.split('|')]
    if len(choices) < 2 or not all(choices):
        known = ', '.join((*(words or ()), *PLACEHOLDERS))
        raise ValueError(
            f'{prompt!r}: expected two or more alternatives in {{...}}, separated by '
            f"'|', or the name of a list ({known}), got {piece!r}"
        )
    return choices


def expand_prompts(
    prompts: Sequence[str], words: Mapping[str, str | Sequence[str]] | None = None
) -> list[str]:
    """Names of several prompts, :data:`MAX_EXPANDED` at most if one has braces."""
    names: list[str] = []
    for prompt in prompts:
        names += expand_prompt(prompt, words)
        if len(names) > len(prompts):
            _check_count(len(names), prompt)
    return names


def _check_count(count: int, prompt: str) -> None:
    if count > MAX_EXPANDED:
        raise ValueError(
            f'braces stand for {count} names up to {prompt!r:.80}, at most '
            f'{MAX_EXPANDED} are expanded; write fewer alternatives'
        )


def _split(texts: str) -> Iterator[str]:
    """Texts between separators."""
    start = place = 0
    while place < len(texts):
        sign = texts[place]
        opens = not texts[start:place].strip() or sign in '“「『'
        if sign in _QUOTES and opens:
            place = _closing(texts, place) + 1
        elif sign in _SEPARATORS:
            yield texts[start:place]
            start = place = place + 1
        elif run := _STOPS.match(texts, place):
            place = run.end()
            if _ends(texts, start, run):
                yield texts[start : run.start()]
                start = place
        else:
            place += 1
    yield texts[start:]


def _ends(texts: str, start: int, run: re.Match) -> bool:
    """Whether a sequence of full stops ends the name that begins at ``start``."""
    before, after = texts[start : run.start()], texts[run.end() : run.end() + 80]
    beside = before[-1:] + after[:1]
    if after and not after[0].isspace() and not _CHINESE.search(beside):
        return False
    if run.end() - run.start() > 1 or run[0] == '…':  # an ellipsis
        return True
    return not (before[-1:].isdigit() or _is_abbreviation(before, after))


def _is_abbreviation(before: str, after: str) -> bool:
    word = re.split(r'[\s(/\-]', before)[-1].lower()
    if word in _BEFORE_NUMBERS:
        return after.lstrip()[:1].isdigit()
    return word in _ABBREVIATIONS or _LETTERS.fullmatch(word) is not None


def _closing(texts: str, place: int) -> int:
    """Position of the quote that closes the one at ``place``.

    A straight or single quote closes before white space, a separator or the end. A
    single quote that is never closed is an apostrophe, as in ``'90s car``.
    """
    quote = texts[place]
    match = _CLOSING[quote].search(texts, place + 1)
    if match:
        return match.start()
    if quote in "'‘":
        return place
    raise ValueError(
        f'{texts[place : place + 40]!r} has no closing {_QUOTES[quote]}; close it, or '
        'leave the quote out'
    )


def _strip(name: str) -> str:
    """Strip white space, the last full stop, and quotes around the whole name."""
    name = name.strip()
    run = re.search(r'[.．…]+$', name)
    if run and not _is_abbreviation(name[: run.start()], ''):
        name = name[: run.start()].strip()
    if len(name) > 1 and name[0] in _QUOTES and _closing(name, 0) == len(name) - 1:
        name = name[1:-1].strip()
    return name
