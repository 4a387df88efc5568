"""What a run needs, and what of it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fgclip2_det.io import InputError
from fgclip2_det.reproduce.benchmarks import Benchmark, DataFile
from fgclip2_det.reproduce.questions import Questions, read_questions, source_of
from fgclip2_det.reproduce.releases import EncoderRelease, Release, reads_version


@dataclass(frozen=True)
class Need:
    """One thing that a run needs.

    Args:
        what: in words.
        path: where it is looked for.
        state: 'there', or what is missing or wrong, in words.
        url: page that publishes it.
        size: of the download.
        license: as its page says.
        note: what else to know.
    """

    what: str
    path: str
    state: str
    url: str
    size: str
    license: str
    note: str = ''

    @property
    def there(self) -> bool:
        """Whether it can be used."""
        return self.state == 'there'


@dataclass(frozen=True)
class Checklist:
    """All that a run needs.

    Args:
        needs: one after the other.
        questions: of the benchmark; None where its files are not there.
    """

    needs: tuple[Need, ...]
    questions: Questions | None

    @property
    def missing(self) -> list[Need]:
        """Those that are missing or wrong."""
        return [need for need in self.needs if not need.there]

    def sentence(self) -> str:
        """What is missing, in one sentence."""
        missing = self.missing
        names = '; '.join(f'{need.what} ({need.state})' for need in missing)
        return (
            f'{len(missing)} of {len(self.needs)} things that the run needs are not '
            f'there: {names}; the table above says where they are published'
        )


def check(
    benchmark: Benchmark,
    releases: Sequence[tuple[str, Release]],
    result_list: Path | None,
    data_root: Path,
    weights: Path,
    work: Path,
    limit: int | None = None,
    read: Callable[..., Questions] = read_questions,
) -> Checklist:
    """Look for everything.

    Args:
        benchmark: its files and images.
        releases: name and release of detector and encoder.
        result_list: instead of a detector's weights.
        data_root, weights: folders that paths start from.
        work: for annotation files that are made.
        limit: only the images of the first n are needed.
        read: of the benchmark's files.
    """
    needs = [_annotations(benchmark, data_root, part) for part in benchmark.annotations]
    if benchmark.groups is not None:
        needs.append(_groups(benchmark.groups, data_root))
    questions = None
    if all(need.there for need in needs):
        try:
            questions = read(benchmark, data_root, work, limit)
        except ValueError as error:
            needs[0] = _changed(needs[0], f'wrong: {error}')
        else:
            needs[0] = _counted(needs[0], benchmark, questions)
    needs += _images(benchmark, data_root, questions)
    if result_list is not None:
        state = 'there' if result_list.is_file() else 'missing'
        needs.append(
            Need('result list of the detector', str(result_list), state, '', '', '')
        )
    needs += [_weights(name, release, weights) for name, release in releases]
    return Checklist(tuple(needs), questions)


def table(needs: Sequence[Need]) -> str:
    """The needs, three lines each."""
    lines = []
    for need in needs:
        mark = 'ok  ' if need.there else '--  '
        lines.append(f'{mark}{need.what}: {need.state}')
        lines.append(f'      {need.path}')
        about = [need.url, need.size, need.license, need.note]
        if any(about):
            lines.append(f'      {", ".join(filter(None, about))}')
    return '\n'.join(lines)


def _changed(need: Need, state: str) -> Need:
    return Need(**(vars(need) | {'state': state}))


def _annotations(benchmark: Benchmark, data_root: Path, part: str) -> Need:
    file = benchmark.annotations[part]
    title = f'{benchmark.title} {part}'.strip()
    path = source_of(benchmark, data_root, part)
    state = 'missing' if path is None else 'there'
    shown = str(path or data_root / file.path)
    if path is None and file.instead is not None:
        shown += f', or {data_root / file.instead}'
    return _need(f'annotations of {title}', shown, state, file)


def _groups(file: DataFile, data_root: Path) -> Need:
    path = data_root / file.path
    state = 'there' if path.is_file() else 'missing'
    return _need('descriptions of each image', str(path), state, file)


def _need(what: str, path: str, state: str, file: DataFile) -> Need:
    return Need(what, path, state, file.url, file.size, file.license)


def _counted(need: Need, benchmark: Benchmark, questions: Questions) -> Need:
    for what, found, expected in (
        ('images', questions.num_all, benchmark.num_images),
        ('names', len(questions.names), benchmark.num_names),
    ):
        if expected is not None and found != expected:
            state = f'wrong: {found:,} {what}, expected {expected:,}'
            return _changed(need, state)
    return need


def _images(
    benchmark: Benchmark, data_root: Path, questions: Questions | None
) -> list[Need]:
    """The images, if it is known which; else their folders."""
    if questions is None:
        return [_folder(folder, data_root) for folder in benchmark.images]
    absent = [item.path for item in questions.items if not item.path.is_file()]
    if not absent:
        folder = benchmark.images[0]
        what = f'{len(questions.items):,} images'
        return [_need(what, str(data_root / folder.path), 'there', folder)]
    state = f'missing: {len(absent):,} of {len(questions.items):,}'
    return [
        _need('images', f'{absent[0]}, for example', state, folder)
        for folder in benchmark.images
    ]


def _folder(file: DataFile, data_root: Path) -> Need:
    path = data_root / file.path
    state = 'there' if path.is_dir() else 'missing'
    return _need(f'images ({file.path})', str(path), state, file)


def _weights(name: str, release: Release, root: Path) -> Need:
    folder = release.folder(root)
    state = release.fault(folder) or 'there'
    version = release.version if isinstance(release, EncoderRelease) else 2
    if not reads_version(version):
        state = 'wrong: this version of the package does not read FG-CLIP 1'
    revision = '' if release.revision is None else f'revision {release.revision[:12]}'
    return Need(
        f'weights of {name}',
        str(folder),
        state,
        release.url,
        f'{release.num_bytes / 1e9:.2f} GB',
        release.license,
        ', '.join(filter(None, (revision, release.note))),
    )


def require(checklist: Checklist) -> Questions:
    """The questions of a complete checklist.

    Raises:
        InputError: something is missing or wrong.
    """
    if checklist.missing or checklist.questions is None:
        raise InputError(checklist.sentence())
    return checklist.questions
