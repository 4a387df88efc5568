"""Released weights: where they are published, how large they are, what is in them.

Numbers of tensors and parameters of FG-CLIP 2 follow from its layout; those of base
are also what its page counts. Bytes are of the weights, four for each parameter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from safetensors import SafetensorError, safe_open

from fgclip2_det.io import InputError
from fgclip2_det.io.digests import file_digest, json_digest

HUB = 'https://huggingface.co'
WEIGHTS = 'model.safetensors'
FGCLIP1 = 'fgclip2_det.fgclip1'  # package that reads FG-CLIP 1
_GEMMA = ('tokenizer.json', 'tokenizer.model')  # one of them
_BERT = ('tokenizer.json', 'vocab.txt')
_APACHE = 'Apache-2.0'


@dataclass(frozen=True)
class Release:
    """A folder of weights.

    Args:
        repository: on the Hugging Face hub, 'owner/name'.
        num_bytes: of the weights, about.
        license: as its page or its repository says.
        files: needed besides the weights; a tuple inside is a choice.
        revision: the commit that was described; None: none is known.
        num_tensors, num_parameters: of the weights; None: not checked.
        sha256: of the weights; None: not known.
        note: what else to know before a download.
    """

    repository: str
    num_bytes: int
    license: str = _APACHE
    files: tuple[str | tuple[str, ...], ...] = ('config.json',)
    revision: str | None = None
    num_tensors: int | None = None
    num_parameters: int | None = None
    sha256: str | None = None
    note: str = ''

    @property
    def url(self) -> str:
        """Page that publishes it."""
        return f'{HUB}/{self.repository}'

    def folder(self, root: Path) -> Path:
        """Where it is below a folder of weights: 'owner/name', or 'name' alone."""
        whole, short = root / self.repository, root / self.repository.split('/')[1]
        return short if short.is_dir() and not whole.is_dir() else whole

    def how_to_get(self, root: str = 'FOLDER') -> str:
        """Where it is published, its size, and the command that gets it."""
        note = f', {self.note}' if self.note else ''
        return (
            f'{self.repository} ({self.url}, {self.num_bytes / 1e9:.2f} GB, '
            f'{self.license}{note}): hf download {self.repository} --local-dir '
            f'{root}/{self.repository}'
        )

    def fault(self, folder: Path) -> str:
        """What is missing or wrong about a folder, in words; '' for nothing."""
        if not folder.is_dir():
            return 'missing'
        for names in (WEIGHTS, *self.files):
            choice = (names,) if isinstance(names, str) else names
            if not any((folder / name).is_file() for name in choice):
                return f'missing: {" or ".join(choice)}'
        try:
            counts = count_tensors(folder / WEIGHTS)
        except InputError as error:
            return f'wrong: {error}'
        for what, found, expected in zip(
            ('tensors', 'parameters'),
            counts,
            (self.num_tensors, self.num_parameters),
            strict=True,
        ):
            if expected is not None and found != expected:
                return f'wrong: {found:,} {what}, expected {expected:,}'
        if self.sha256 is not None and file_digest(folder / WEIGHTS) != self.sha256:
            return f'wrong: {WEIGHTS} has another SHA-256 than {self.sha256[:12]}...'
        return ''


@dataclass(frozen=True)
class EncoderRelease(Release):
    """Weights of an encoder.

    Args:
        version: of FG-CLIP, 1 or 2.
        size: 'base', 'large' or 'so400m'.
        image_tokens: patches of an image at most.
    """

    version: int = 2
    size: str = 'base'
    image_tokens: int = 1024


@dataclass(frozen=True)
class DetectorRelease(Release):
    """Weights of a detector of ``transformers``.

    Args:
        architecture: whose cost it has, see :mod:`.costs`.
        languages: that it reads.
    """

    architecture: str = 'llmdet-tiny'
    languages: tuple[str, ...] = field(default=('en',))


def reads_version(version: int) -> bool:
    """Whether this package reads weights of FG-CLIP 1; it reads those of 2."""
    return version == 2 or find_spec(FGCLIP1) is not None


def count_tensors(path: Path) -> tuple[int, int]:
    """Tensors and their elements of a safetensors file, from its header.

    Raises:
        InputError: a file that is truncated or is none.
    """
    try:
        with safe_open(path, framework='np') as file:
            names = list(file.keys())
            shapes = [file.get_slice(name).get_shape() for name in names]
    except (SafetensorError, OSError) as error:
        raise InputError(
            f'{path.name} is truncated or no safetensors file ({error}); download it '
            'again'
        ) from error
    total = 0
    for shape in shapes:
        elements = 1
        for side in shape:
            elements *= side
        total += elements
    return len(names), total


def folder_of_weights_digest(folder: Path) -> str:
    """SHA-256 over the files that a model is read from, with their names."""
    endings = {'.json', '.safetensors', '.model', '.txt'}
    files = sorted(f for f in folder.iterdir() if f.suffix in endings and f.is_file())
    return json_digest([[file.name, file_digest(file)] for file in files])


def _fgclip2(size: str, tensors: int, parameters: int, revision: str) -> EncoderRelease:
    return EncoderRelease(
        f'qihoo360/fg-clip2-{size}',
        4 * parameters,
        files=('config.json', _GEMMA),
        revision=revision,
        num_tensors=tensors,
        num_parameters=parameters,
        size=size,
    )


def _fgclip1(size: str, num_bytes: int, tokens: int) -> EncoderRelease:
    return EncoderRelease(
        f'qihoo360/fg-clip-{size}',
        num_bytes,
        files=('config.json', ('tokenizer.json', 'vocab.json')),
        version=1,
        size=size,
        image_tokens=tokens,
    )


ENCODERS: dict[str, EncoderRelease] = {
    'fgclip2-base': _fgclip2(
        'base', 425, 383_803_394, '430fbc8a912c86fd4de601381b6245a0edab22f0'
    ),
    'fgclip2-large': _fgclip2(
        'large', 809, 896_622_594, '4d1d5dc35c716902f07c172dbfc23b82a7bc6bf3'
    ),
    'fgclip2-so400m': _fgclip2(
        'so400m', 905, 1_154_017_410, 'd57d30fe94a107dd6a2610eb4e9a135004d823a4'
    ),
    'fgclip1-base': _fgclip1('base', 600_000_000, 196),
    'fgclip1-large': _fgclip1('large', 1_720_000_000, 576),
}
_DETECTOR_FILES = (
    'config.json',
    ('preprocessor_config.json', 'processor_config.json'),  # as written since 5.0
    _BERT,
)
DETECTORS: dict[str, DetectorRelease] = {
    'llmdet-tiny': DetectorRelease(
        'iSEE-Laboratory/llmdet_tiny',
        692_000_000,
        files=_DETECTOR_FILES,
        revision='d05199165a19320a9236396e20fca0a5e065189c',
        sha256='f0e476be3d65c7c50e13029b0adc4bb5d4e05f3eb6d7bb04856578095e6ad92f',
    ),
    'llmdet-base': DetectorRelease(
        'iSEE-Laboratory/llmdet_base',
        933_000_000,
        files=_DETECTOR_FILES,
        architecture='llmdet-base',
    ),
    'llmdet-large': DetectorRelease(
        'iSEE-Laboratory/llmdet_large',
        1_400_000_000,
        files=_DETECTOR_FILES,
        architecture='llmdet-large',
    ),
    'mm-grounding-dino-tiny': DetectorRelease(
        'openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_grit_v3det',
        692_000_000,
        files=_DETECTOR_FILES,
    ),
    'sam3': DetectorRelease(
        'facebook/sam3',
        3_440_000_000,
        license='SAM License',
        files=('config.json', ('tokenizer.json', 'vocab.json')),
        sha256='6d06f0a5f84e435071fe6603e61d0b4cc7b40e0d39d487cfd4d67d8cc11cc14a',
        architecture='sam3',
        note='its authors give access on request',
    ),
}
