"""Ontologies: what each class of a labelling is asked for by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fgclip2_det.coco.names import normalize_name
from fgclip2_det.vocabulary.image_prompts import ImageEmbeds, ImagePrompt
from fgclip2_det.vocabulary.names import has_content
from fgclip2_det.vocabulary.negatives import EVERY, Negatives
from fgclip2_det.vocabulary.vocabulary import Vocabulary

if TYPE_CHECKING:
    from PIL import Image

Encode = Callable[[Sequence[ImagePrompt]], ImageEmbeds]


@dataclass(frozen=True)
class OntologyClass:
    """One class of a labelling.

    Attributes:
        name: what its boxes are labelled.
        prompts: texts that it is asked for by, in any language; embedded together.
        negatives: texts that compete with it and are not labelled.
        examples: pairs of an image and a box of the class in it, xyxy in pixels; paths,
            where the ontology is written to a file.
        weight: of the examples beside the prompts, in (0, 1].
        threshold: lowest score of the accept band; None: that of all classes.
        review: lowest score of the review band; None: that of all classes.
        name_zh: Chinese name, for ``language='zh'`` of the data sets.
    """

    name: str
    prompts: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    examples: tuple[tuple[str | Image.Image, tuple[float, ...]], ...] = ()
    weight: float = 0.5
    threshold: float | None = None
    review: float | None = None
    name_zh: str | None = None

    @property
    def texts(self) -> list[str]:
        """The prompts; the name, which is shown, where images alone say it."""
        return list(self.prompts) or [self.name]


@dataclass(frozen=True)
class Ontology:
    """Classes of a labelling, in the order of their labels.

    Attributes:
        classes: C of them.
        negatives: texts that compete with all of them.
        source: the file, for messages.

    Raises:
        ValueError: naming the source and the class: no classes, a class named twice, a
            prompt for two classes, a class without prompts and images, a negative that
            is asked for.
    """

    classes: tuple[OntologyClass, ...]
    negatives: tuple[str, ...] = ()
    source: str = 'the ontology'

    def __post_init__(self) -> None:
        if not self.classes:
            raise ValueError(f'{self.source} has no classes; name at least one')
        names: dict[str, str] = {}
        prompts: dict[str, str] = {}
        for each in self.classes:
            where = f'{self.source}: class {each.name!r}'
            _check_name(where, each.name)
            if (other := names.get(normalize_name(each.name))) is not None:
                raise ValueError(
                    f'{where} is there twice{_also(other, each.name)}; join the two'
                )
            names[normalize_name(each.name)] = each.name
            if not each.prompts and not each.examples:
                raise ValueError(f'{where} has no prompts and no images; give some')
            for prompt in each.prompts:
                other = prompts.setdefault(normalize_name(prompt), each.name)
                if other != each.name:
                    raise ValueError(
                        f'{where}: the prompt {prompt!r} is one of class {other!r} as '
                        'well; leave it out of one of them'
                    )
        if not self.negative_texts:
            return
        try:
            Negatives.read(self.negative_texts, self.aliases)
        except ValueError as error:
            raise ValueError(f'{self.source}: {error}') from error

    @property
    def names(self) -> list[str]:
        """C class names."""
        return [each.name for each in self.classes]

    @property
    def aliases(self) -> list[list[str]]:
        """C lists of texts, as a vocabulary takes them."""
        return [each.texts for each in self.classes]

    @property
    def negative_texts(self) -> dict[str, list[str]]:
        """Name -> negatives, as a vocabulary takes them."""
        found = {
            each.texts[0]: list(each.negatives)
            for each in self.classes
            if each.negatives
        }
        return {**found, EVERY: list(self.negatives)} if self.negatives else found

    def vocabulary(self, encode: Encode | None = None) -> Vocabulary:
        """The classes, as a detector takes them.

        Args:
            encode: encodes image prompts, ``inferencer.encode_prompts``; needed where
                a class has some.
        """
        prompts = [
            ImagePrompt(
                each.texts[0],
                each.examples,
                each.texts[0] if each.prompts else None,
                each.weight,
            )
            for each in self.classes
            if each.examples
        ]
        images = encode(prompts) if encode is not None and prompts else None
        return Vocabulary(
            self.aliases, negatives=self.negative_texts or None, images=images
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, that :meth:`from_dict` reads."""
        return dict(
            classes=[asdict(each) for each in self.classes],
            negatives=list(self.negatives),
        )

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str) -> Ontology:
        """The ontology of :meth:`to_dict`."""
        classes = [
            OntologyClass(**{
                **each,
                'prompts': tuple(each['prompts']),
                'negatives': tuple(each['negatives']),
                'examples': tuple((p, tuple(box)) for p, box in each['examples']),
            })
            for each in content['classes']
        ]  # fmt: skip
        return cls(tuple(classes), tuple(content['negatives']), source)


def _check_name(where: str, name: str) -> None:
    if not has_content(name) or not name.isprintable():
        raise ValueError(f'{where}: expected a name of printable characters')


def _also(other: str, name: str) -> str:
    return f' (also as {other!r})' if other != name else ''
