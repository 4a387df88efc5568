"""Labels for a folder of images, from an ontology and a detector."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgclip2_det.apis.annotating.bands import Band, bands_of, measured_bands
from fgclip2_det.apis.annotating.content import CORRECTED, Labels, read_corrected
from fgclip2_det.apis.annotating.doubts import doubt_lines
from fgclip2_det.apis.annotating.folder import ImageFolder, ReadAhead
from fgclip2_det.apis.annotating.labelled import LabelledPart, answers_on
from fgclip2_det.apis.annotating.lines import NAME, ImageLine, LineFile
from fgclip2_det.apis.annotating.lock import only_one
from fgclip2_det.apis.annotating.options import FORMATS, AnnotateOptions, Manifest
from fgclip2_det.apis.annotating.outputs import write_labels, write_report
from fgclip2_det.apis.annotating.report import class_table
from fgclip2_det.apis.annotating.sheets import Crops
from fgclip2_det.apis.annotating.writer import LineWriter
from fgclip2_det.apis.inferencer import OpenVocabInferencer
from fgclip2_det.apis.inputs import InputImage
from fgclip2_det.io import IncompleteError
from fgclip2_det.prepare.coco_to_yolo import check_stems
from fgclip2_det.vocabulary.ontology import Ontology
from fgclip2_det.vocabulary.ontology_file import as_ontology

AHEAD = 4  # images beyond a batch that are loaded, or wait to be written
SINGLE_FILES = {'coco', 'odvg'}
SHOWN = 5
Bar = Callable[..., Iterable]


@dataclass(frozen=True)
class Annotation:
    """What a labelling did.

    Attributes:
        out: folder of the labels.
        rows: a row per class, as in ``annotate.json``.
        doubts: as in ``doubtful.json``.
        unread: image or folder -> why it could not be read.
        kept: label files that were there, changed by others, and stayed.
        num_images: images that could be read, all runs together.
        num_new: images of this run.
        seconds: that their detection took.
    """

    out: Path
    rows: list[dict[str, Any]]
    doubts: dict[str, Any]
    unread: dict[str, str]
    kept: list[str]
    num_images: int
    num_new: int
    seconds: float

    def lines(self) -> Iterator[str]:
        """A table by class, and sentences about what is doubtful or stayed."""
        yield from class_table(self.rows)
        yield from doubt_lines(self.doubts)
        if self.kept:
            more = f' and {len(self.kept) - SHOWN} more' * (len(self.kept) > SHOWN)
            yield (
                f'{len(self.kept)} files were there or changed since, and were kept '
                f'({", ".join(self.kept[:SHOWN])}{more}); --overwrite replaces them'
            )

    def check_unread(self) -> None:
        """Raise ``IncompleteError`` that counts and names what could not be read."""
        if self.unread:
            count, reasons = len(self.unread), list(self.unread.values())
            more = f'; and {count - SHOWN} more' if count > SHOWN else ''
            raise IncompleteError(
                f'{count} images or folders cannot be read, beside '
                f'{self.num_images} that are labelled: {"; ".join(reasons[:SHOWN])}'
                f'{more}'
            )


class Annotator:
    """Labels a folder, step by step; see :func:`annotate`.

    Args:
        folder, ontology, out, inferencer, options, overwrite: see :func:`annotate`.

    Example:
        >>> annotator = Annotator('photos', 'classes.yaml', 'labels', inferencer)
        >>> print(*annotator.run().lines(), sep='\\n')
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        ontology: Ontology | Mapping | Sequence | str | os.PathLike,
        out: str | os.PathLike,
        inferencer: OpenVocabInferencer,
        options: AnnotateOptions | None = None,
        overwrite: bool = False,
    ) -> None:
        self.folder, self.out = Path(folder), Path(out)
        self.ontology = as_ontology(ontology)
        self.inferencer, self.options = inferencer, options or AnnotateOptions()
        self.overwrite = overwrite
        self.count = self.done = 0
        if self.out.resolve() == self.folder.resolve():
            raise ValueError(f'{out} is the folder of the images; name another --out')
        if self.out.exists() and not self.out.is_dir():
            raise ValueError(f'{out} is a file; name a folder for the labels')

    def sentence(self) -> str:
        """What was done until now."""
        if not self.count:
            return 'no image was done'
        return (
            f'{self.done} of {self.count} images are done, see {self.out / NAME}; the '
            'same command goes on from there'
        )

    def run(self, bar: Bar = lambda images, total: images) -> Annotation:
        """Label the folder.

        Args:
            bar: wraps the images of this run, to show progress; called with them and
                ``total=``.

        Raises:
            ValueError: as :func:`annotate`.
        """
        try:
            with only_one(self.out):
                return self._run(bar)
        except OSError as error:
            raise ValueError(
                f'{self.out} cannot be written ({error}); {self.sentence()}'
            ) from error

    def _run(self, bar: Bar) -> Annotation:
        images = ImageFolder.find(self.folder, self.out)
        if set(self.options.formats) - SINGLE_FILES:
            check_stems({'images': [dict(file_name=name) for name in images.names]})
        part = self._part(images.names)
        encode = self.inferencer.encode_prompts
        self.inferencer.set_vocabulary(self.ontology.vocabulary(encode))
        manifest = self._begin()
        file = LineFile(self.out / NAME)
        lowest = bands_of(self.ontology, self.options.accept, self.options.review,
                          [None] * len(self.ontology.classes))  # fmt: skip
        crops = Crops(self.folder, [band.review for band in lowest])
        start, before = time.perf_counter(), 0
        try:
            again, due = self._due(file, images)
            self.count, before = len(images.names), len(images.names) - len(due)
            self.done = before
            for names in (due, again):
                self._detect(names, images, file, crops, bar)
        finally:
            file.close()
        seconds = time.perf_counter() - start
        lines = self._ordered(file, images)
        num_new = self.count - before
        return self._finish(manifest, images, lines, part, crops, num_new, seconds)

    def _begin(self) -> Manifest:
        """Check and write the manifest; what --overwrite makes useless goes."""
        new = Manifest.of(self.folder, self.ontology, self.options, self.inferencer)
        earlier = Manifest.read(self.out)
        found = self.out / NAME
        replace = self.overwrite
        if earlier is None and found.exists() and not self.overwrite:
            raise ValueError(
                f'{found} is there without a manifest; take another --out, or '
                '--overwrite to replace it'
            )
        if earlier is not None and not self.overwrite:
            new.check(earlier, self.out)
            replace = earlier.replace and not earlier.complete
        if self.overwrite and (earlier is None or earlier.detection != new.detection):
            found.unlink(missing_ok=True)
        corrected = self.out / CORRECTED
        if self.overwrite and corrected.is_file():
            corrected.replace(corrected.with_name('corrected.earlier.json'))
        known = {*new.formats, *(earlier.formats if earlier else ())}
        formats = [name for name in FORMATS if name in known]
        return new.write(self.out, formats=formats, complete=False, replace=replace)

    def _due(self, file: LineFile, images: ImageFolder) -> tuple[list[str], list[str]]:
        """Images to try again, as they could not be read, and those without a line.

        Lines of a batch that is not whole go: a detector may see the padding of the
        other images of a batch, and batches are to be those of a run in one piece.
        """
        lines, names = file.lines, images.names
        if [line.image for line in lines] == list(names[: len(lines)]) != list(names):
            lines = lines[: len(lines) - len(lines) % self._batch_size()]
        fresh = [line for each in lines if (line := images.unchanged(each))]
        file.replace(fresh)
        known = {line.image: line for line in fresh}
        again = [n for n in names if n in known and known[n].error]
        return again, [n for n in names if n not in known]

    def _batch_size(self) -> int:
        """Images that are detected together; slices are batched within their image."""
        alone = self.inferencer.system.one_by_one or self.options.slices is not None
        return 1 if alone else self.options.batch_size

    def _detect(
        self,
        names: Sequence[str],
        images: ImageFolder,
        file: LineFile,
        crops: Crops,
        bar: Bar,
    ) -> None:
        """Append lines of these images; reading, hashing and writing happen aside."""
        if not names:
            return
        size = self._batch_size()
        inputs = []
        for name in names:
            path = str(images.path / name)
            inputs.append(InputImage(path, name, path))
        writer = LineWriter(file, images, crops, size + AHEAD)
        try:
            with ReadAhead(inputs, size + AHEAD) as ahead:
                outcomes = self.inferencer.stream(
                    ahead.images, None, self.options.floor(self.ontology),
                    batch_size=self.options.batch_size, slices=self.options.slices,
                )  # fmt: skip
                for outcome in bar(outcomes, total=len(names)):
                    writer.put(outcome)
        finally:
            writer.close()
            self.done = len({line.image for line in file.lines})
        writer.check()

    def _ordered(self, file: LineFile, images: ImageFolder) -> list[ImageLine]:
        """One line per image, in the order of the folder, in the file as well."""
        last = {line.image: line for line in file.lines}
        lines = [last[name] for name in images.names]
        file.replace(lines)
        file.close()
        return lines

    def _finish(
        self,
        manifest: Manifest,
        images: ImageFolder,
        lines: Sequence[ImageLine],
        part: LabelledPart | None,
        crops: Crops,
        num_new: int,
        seconds: float,
    ) -> Annotation:
        unread = {line.image: line.error for line in lines if line.error}
        read = [line for line in lines if not line.error]
        if not read:
            first = next(iter(unread.values()))
            raise ValueError(f'none of {len(lines)} images can be read: {first}')
        unread |= {name: f'{name}: {why}' for name, why in images.unread.items()}
        corrected = read_corrected(self.out, self.ontology)
        known = {line.image for line in read}
        labels = Labels(
            self.ontology, self._bands(read, part), read,
            {image: boxes for image, boxes in corrected.items() if image in known},
        )  # fmt: skip
        kept = write_labels(
            self.out, self.folder, labels, manifest.formats, manifest.replace
        )
        rows, doubtful = write_report(self.out, labels, unread, crops)
        manifest.write(self.out, complete=True, replace=False)
        return Annotation(
            self.out, rows, doubtful, unread, kept, len(read), num_new, seconds
        )

    def _part(self, names: Sequence[str]) -> LabelledPart | None:
        """The labelled part, which is checked before anything is detected."""
        given = self.options.labelled
        return None if given is None else LabelledPart.read(given, self.ontology, names)

    def _bands(
        self, lines: Sequence[ImageLine], part: LabelledPart | None
    ) -> list[Band]:
        options, ontology = self.options, self.ontology
        measured: Sequence[Band | None] = [None] * len(ontology.classes)
        if part is not None:
            known = {line.image: line for line in lines}
            answers = answers_on(part, known, len(measured))
            measured = measured_bands(
                answers, options.precision, options.review, options.min_boxes
            )
        return bands_of(ontology, options.accept, options.review, measured)


def annotate(
    folder: str | os.PathLike,
    ontology: Ontology | Mapping | Sequence | str | os.PathLike,
    out: str | os.PathLike,
    inferencer: OpenVocabInferencer | None = None,
    *,
    overwrite: bool = False,
    bar: Bar = lambda images, total: images,
    **options: Any,
) -> Annotation:
    """Label the images of a folder, and of those below it.

    Boxes of the accept band go into the labels, those of the review band into
    ``review.json`` and contact sheets for a person. A run that was stopped at any
    moment goes on where it was, and leaves the bytes of a run in one piece. Label files
    that a person made or changed are kept.

    Args:
        folder: of the images.
        ontology: a file of classes (:mod:`.ontology_file`), its content, names, or an
            :class:`.Ontology`.
        out: folder of the labels.
        inferencer: finds the boxes; None for the embedded detector.
        overwrite: replace labels that exist, also those made with other settings.
        bar: wraps the images, to show progress; called with them and ``total=``.
        options: of :class:`.AnnotateOptions`: ``formats``, ``accept``, ``review``,
            ``labelled``, ``precision``, ``min_boxes``, ``batch_size``, ``slices``.

    Returns:
        Rows by class, what is doubtful, and what could not be read.

    Raises:
        ValueError: invalid options or ontology; no image that can be read; labels that
            were made with other settings; another process in the same folder; no
            space left, with what was done until then.

    Example:
        >>> from fgclip2_det.apis import annotate
        >>> done = annotate('photos', {'red circle': 'circle', '红色圆形': 'circle'},
        ...                 'labels', formats=['coco', 'yolo'], accept=0.6)
        >>> done.num_images
        12
    """
    inferencer = inferencer or OpenVocabInferencer(cache_size=0)
    own = AnnotateOptions(**options)
    return Annotator(folder, ontology, out, inferencer, own, overwrite).run(bar)
