"""What a request asks for, read from JSON or a form and checked against the limits."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from fgclip2_det.io.text import parse_json
from fgclip2_det.vocabulary import normalize_name
from fgclip2_det.vocabulary.names import Prompt, parse_prompts
from fgclip2_det.vocabulary.negatives import parse_negatives
from fgclip2_det.vocabulary.texts import parse_texts
from fgclip2_det.web.limits import NAME_LENGTH, Limits, Refused
from fgclip2_det.web.pictures import Upload

THRESHOLD = 0.3  # of a request that gives none
FIELDS = ('images', 'names', 'not', 'threshold', 'examples')
NO_PATHS = (
    'images are uploaded, paths and URLs are refused; send the bytes of a file, or the '
    'id of an image that was sent before'
)


@dataclass(frozen=True)
class Example:
    """A box that shows what a name means.

    Attributes:
        key: of the image.
        bbox: (4,) xyxy in its pixels.
        name: of the class.
    """

    key: str
    bbox: tuple[float, ...]
    name: str


@dataclass(frozen=True)
class Ask:
    """One request, checked.

    Attributes:
        images: uploads, and ids of earlier ones.
        names: aliases of every class that is named.
        negatives: name, or '*' for all -> names that compete with it.
        attributes: names that braces stand for, which get negatives by attribute.
        examples: boxes that show classes.
        threshold: lowest score of an answer.
    """

    images: tuple[Upload | str, ...]
    names: tuple[tuple[str, ...], ...]
    negatives: tuple[tuple[str, tuple[str, ...]], ...] = ()
    attributes: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    threshold: float = THRESHOLD

    @property
    def wording(self) -> tuple:
        """Equal for requests with equal classes."""
        return self.names, self.negatives, self.attributes, self.examples

    @classmethod
    def of_json(cls, body: bytes, limits: Limits) -> tuple[Ask, dict[str, Any]]:
        """The request of a JSON body, and its fields.

        Raises:
            Refused: for another form, or one beyond the limits.
        """
        try:
            content = parse_json(body)
        except ValueError as error:
            raise _bad(f'the body cannot be read as JSON ({error})') from error
        if not isinstance(content, dict):
            raise _bad(f'expected a JSON object, got {type(content).__name__}')
        given = content.get('images', [content['image']] if 'image' in content else [])
        if not isinstance(given, list):
            raise _bad('images must be a list')
        return cls.of_fields([_image(each) for each in given], content, limits), content

    @classmethod
    def of_fields(
        cls, images: Sequence[Upload | str], fields: Mapping[str, Any], limits: Limits
    ) -> Ask:
        """A request of images and of fields as JSON or a form has them.

        Raises:
            Refused: for another form, or one beyond the limits.
        """
        if not 1 <= len(images) <= limits.images:
            raise _bad(f'expected 1 to {limits.images} images, got {len(images)}')
        text = fields.get('names') or ''
        examples = _examples(fields.get('examples'))
        names, of_braces = _names(text, limits)
        negatives = _negatives(fields.get('not'), limits)
        if not names and not examples:
            raise _bad("expected names of objects, such as 'black cat; 白色杯子'")
        count = len(names) + len(examples) + sum(len(texts) for _, texts in negatives)
        if count > limits.names:
            raise _too_many(count, limits)
        return cls(
            tuple(images),
            names,
            negatives,
            of_braces,
            examples,
            _number(fields.get('threshold', THRESHOLD), 'threshold', 1),
        )

    def shown(self) -> dict[str, list[Example]]:
        """The examples of each class that is shown."""
        shown: dict[str, list[Example]] = {}
        known: dict[str, str] = {}
        for example in self.examples:
            name = known.setdefault(normalize_name(example.name), example.name)
            shown.setdefault(name, []).append(example)
        return shown


def whole_number(fields: Mapping[str, Any], name: str) -> int:
    """A field that counts from 0.

    Raises:
        Refused: for anything else.
    """
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _bad(f'{name} must be a whole number from 0, got {value!r:.40}')
    return value


def _bad(message: str) -> Refused:
    return Refused(422, 'bad_request', f'{message}; see /api')


def _too_many(count: object, limits: Limits) -> Refused:
    return Refused(
        422,
        'too_many_names',
        f'{count} names, negatives and examples were given, at most {limits.names} '
        'are accepted in one request; ask for fewer',
    )


def _image(given: object) -> Upload | str:
    """An image of a JSON body."""
    if not isinstance(given, dict):
        raise Refused(422, 'no_path', NO_PATHS)
    name, key, data = given.get('name', ''), given.get('id'), given.get('data')
    if not isinstance(name, str):
        raise _bad('the name of an image must be a text')
    if isinstance(key, str) and data is None:
        return key
    if not isinstance(data, str) or key is not None:
        raise _bad('expected {"id": ...} or {"data": ...} with base64 of a file')
    try:
        return Upload(base64.b64decode(data, validate=True), name)
    except (binascii.Error, ValueError) as error:
        raise _bad(f'the data of an image is no base64 ({error})') from error


def _names(
    given: object, limits: Limits
) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Aliases of every class of a text, or of a list of names or of aliases; and the
    names that braces stand for."""
    if not isinstance(given, str | list):
        raise _bad('names must be a text or a list')
    if isinstance(given, list):
        if len(given) > limits.names:
            raise _too_many(len(given), limits)
        groups = [[n] if isinstance(n, str) else n for n in given]
        if not all(
            isinstance(group, list) and group and all(_is_name(n) for n in group)
            for group in groups
        ):
            raise _bad('names must be texts, or lists of aliases')
        return tuple(tuple(group) for group in groups), ()
    if not given.strip():
        return (), ()
    _check_length(given, limits)
    prompts: list[Prompt] = []
    try:
        for prompt in parse_texts(given):
            prompts += parse_prompts([prompt])  # braces: up to a thousand names
            if len(prompts) > limits.names:
                raise _too_many(f'{len(prompts)} or more', limits)
    except ValueError as error:
        raise Refused(422, 'names', error) from error
    of_braces = tuple(group[0] for group, braces in prompts if braces)
    return tuple(tuple(group) for group, _ in prompts), of_braces


def _negatives(
    given: object, limits: Limits
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """As on the command line: 'shadow; reflection', or 'cup=glass; mug', or a list of
    these."""
    options = [given] if isinstance(given, str) else given or []
    if not isinstance(options, list) or not all(isinstance(o, str) for o in options):
        raise _bad('not must be a text or a list of texts')
    options = [option for option in options if option.strip()]
    _check_length(''.join(options), limits)
    try:
        found = parse_negatives(options) or {}
    except ValueError as error:
        raise _bad(str(error)) from error
    return tuple((name, tuple(texts)) for name, texts in found.items())


def _check_length(text: str, limits: Limits) -> None:
    """Before a text is parsed, which takes time that grows with its square."""
    most = limits.names * NAME_LENGTH
    if len(text) > most:
        raise _too_many(
            f'texts of {len(text):,} characters, more than {most:,}, as', limits
        )


def _is_name(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= NAME_LENGTH


def _examples(given: object) -> tuple[Example, ...]:
    """Of a list of dicts, or of its JSON text in a form."""
    if isinstance(given, str) and given.strip():
        try:
            given = parse_json(given)
        except ValueError as error:
            raise _bad(f'examples cannot be read as JSON ({error})') from error
    if given is None or given == '':
        return ()
    if not isinstance(given, list):
        raise _bad('examples must be a list')
    return tuple(_example(each) for each in given)


def _example(given: object) -> Example:
    wanted = 'an example is {"id": of an image, "bbox": [x1, y1, x2, y2], "name": ...}'
    if not isinstance(given, dict):
        raise _bad(wanted)
    key, bbox, name = given.get('id'), given.get('bbox'), given.get('name')
    if not isinstance(key, str) or not _is_name(name) or not name.strip():
        raise _bad(wanted)
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise _bad(wanted)
    corners = tuple(_number(value, 'bbox', math.inf) for value in bbox)
    return Example(key, corners, name.strip())


def _number(given: object, name: str, most: float) -> float:
    """A number from 0, also as a form's text."""
    try:
        value = float(given) if isinstance(given, int | float | str) else math.nan
    except (ValueError, OverflowError):
        value = math.nan
    if not 0 <= value <= most or math.isinf(value):
        upto = f' to {most:g}' if math.isfinite(most) else ''
        raise _bad(f'{name} must be a number from 0{upto}, got {given!r:.40}')
    return value
