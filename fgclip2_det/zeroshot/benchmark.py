"""Description of a benchmark: its files, their expected counts, its evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .embedder import Embedder
from .report import Report

SIZES = ('base', 'large', 'so400m')  # of the published numbers


@dataclass(frozen=True)
class DataFile:
    """A file or folder that a benchmark reads.

    Args:
        path: below the data root.
        url: page that publishes it.
    """

    path: str
    url: str


@dataclass(frozen=True)
class ReadOptions:
    """Options of a benchmark.

    Args:
        num_images: the first n images alone; None takes all.
        boxes: COCO result list with the boxes to choose from, where a benchmark looks
            for boxes; None takes the annotated ones.
        few_names: options of :class:`.few_names.FewNamesOptions`; None where there are
            none.
        ranker: name of the ranker, where there is one.
        ranker_k: candidates that it ranks; None: as many as the benchmark's reference.
    """

    num_images: int | None = None
    boxes: Path | None = None
    few_names: Mapping[str, Any] | None = None
    ranker: str | None = None
    ranker_k: int | None = None

    def candidates(
        self, images: Iterable[Mapping], source: Path
    ) -> dict[object, list[tuple]] | None:
        """``boxes`` by image, None without any.

        Args:
            images: all entries of the annotation file, with ``id`` and, where it is
                known, ``width`` and ``height``.
            source: the annotation file.

        Raises:
            ValueError: see :func:`.read_candidates`.
        """
        if self.boxes is None:
            return None
        from .candidate_boxes import image_sizes, read_candidates

        return read_candidates(self.boxes, image_sizes(images), source)


@dataclass(frozen=True)
class Task:
    """A benchmark with its files read, before anything is encoded.

    Args:
        counts: what was read: images, names, captions, ...
        run: encodes and measures.
        about: what else the fingerprint of a result says.
        folders: role -> what was read of that folder, in order: the path of a file
            whose content counts, such as an annotation or a label map, or plain values
            for one of which the name is enough, such as a picture with its label.
    """

    counts: dict[str, int]
    run: Callable[[Embedder], Report]
    about: Mapping[str, object] = field(default_factory=dict)
    folders: Mapping[str, Sequence[object]] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Args:
        name: on the command line, such as 'coco-box'.
        title: for tables.
        files: the files that ``read`` gets, by role.
        expected: published counts; compared with :attr:`Task.counts`.
        read: gets the paths of ``files`` and the options, checks, and returns a task.
        paper: FG-CLIP 2's published percent, by metric: of base, large and so400m.
        source: paper that defines the benchmark, and the table of the numbers.
        takes_boxes: whether ``ReadOptions.boxes`` may be given.
        takes_few_names: whether ``ReadOptions.few_names`` may be given.
        totals: published counts over all splits, where those of a split are not.
        takes_ranker: whether ``ReadOptions.ranker`` may be given.
        ranker_k: candidates that are ranked by default; None: it has no candidates.
    """

    name: str
    title: str
    files: Mapping[str, DataFile]
    expected: Mapping[str, int]
    read: Callable[[Mapping[str, Path], ReadOptions], Task]
    source: str
    paper: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    takes_boxes: bool = False
    takes_few_names: bool = False
    totals: Mapping[str, int] = field(default_factory=dict)
    takes_ranker: bool = False
    ranker_k: int | None = None

    def locate(self, data_root: Path) -> dict[str, Path]:
        """Paths of the files, all of which are there.

        Raises:
            FileNotFoundError: naming what is missing and where it is published.
        """
        paths = {role: data_root / file.path for role, file in self.files.items()}
        missing = [
            f'{paths[role]} (published at {file.url})'
            for role, file in self.files.items()
            if not paths[role].exists()
        ]
        if missing:
            raise FileNotFoundError(
                f'{self.name} needs {", ".join(missing)}; nothing is downloaded here'
            )
        return paths

    def differences(self, counts: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        """Counts that are not the published ones: {what: (expected, actual)}."""
        return {
            what: (expected, counts.get(what, 0))
            for what, expected in self.expected.items()
            if counts.get(what, 0) != expected
        }

    def excesses(self, counts: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        """Counts over all splits that are larger than the published ones: {what:
        (published, actual)}. Smaller ones say that a split is not there."""
        return {
            what: (total, counts[what])
            for what, total in self.totals.items()
            if counts.get(what, 0) > total
        }

    def is_complete(self, counts: Mapping[str, int]) -> bool:
        """Whether counts are published, and these are all of them."""
        published = {**self.expected, **self.totals}
        return bool(published) and all(
            counts.get(what) == number for what, number in published.items()
        )
