"""Export of encoders and detectors into a folder for :mod:`fgclip2_det.onnx`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.export import Dim

from fgclip2_det.fgclip1 import FGCLIP1
from fgclip2_det.fgclip2 import FGCLIP2, DualEncoder, FGCLIP2Tokenizer
from fgclip2_det.fgclip2.text import MODES
from fgclip2_det.fgclip2.tokenizer import JSON_FILE
from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import temporary_folder
from fgclip2_det.onnx import folder as files
from fgclip2_det.onnx.clip_graphs import ExportedCLIPText, ExportedCLIPVision
from fgclip2_det.onnx.encoder_graphs import (
    ExportedRegions,
    ExportedText,
    ExportedVision,
)
from fgclip2_det.onnx.tracing import (
    DEFAULT_OPSET,
    Graph,
    check_opset,
    image_input,
    write_graph,
)
from fgclip2_det.version import __version__
from fgclip2_det.vocabulary import fingerprint
from fgclip2_det.vocabulary.embedding import checked_tokenizer

MAX_SIDE = 1024  # patches of a side: the largest budget in one row
MAX_SQUARE = 32  # the same budget as a square, which FG-CLIP 1 has
PIXELS = 'RGB, (x - 127.5) / 127.5, Pillow bilinear to whole patches'
PIXELS_CLIP = 'RGB, (x / 255 - mean) / std of CLIP, Pillow bicubic to a square'
DYNAMIC = Dim.DYNAMIC


def export_encoder(
    encoder: DualEncoder,
    out: str | os.PathLike,
    opset: int = DEFAULT_OPSET,
    text: bool = True,
    rules: Sequence[str] = (),
    max_side: int | None = None,
    pt2: bool = False,
) -> Path:
    """Write an encoder as a folder of ONNX graphs.

    Args:
        encoder: FG-CLIP 2, FG-CLIP 1 or CLIP, with both towers and a tokenizer.
        out: folder to write; one that exists is replaced file by file.
        opset: of ONNX.
        text: with the text tower.
        rules: fusion rules, as in ``tools/rescore.py``, to write re-scoring heads of.
        max_side: patches of an image's side, at most; None: 1024, and 32 of the squares
            of FG-CLIP 1.
        pt2: with ``torch.export`` files of the same.

    Returns:
        The folder.

    Raises:
        InputError: an opset or a side that cannot be exported, an encoder without
            tokenizer, or a tokenizer that needs SentencePiece; without onnx and
            onnxscript.
    """
    check_opset(opset)
    max_side = side_limit(encoder, max_side)
    with temporary_folder(out, files.DESCRIPTION) as folder:
        for name, graph in encoder_graphs(encoder, max_side).items():
            write_graph(graph, folder / name, opset, pt2)
        for name, graph in _rescoring_graphs(rules, encoder).items():
            write_graph(graph, folder / name, opset, pt2)
        sections = add_text(folder, encoder, opset, pt2) if text else {}
        content = describe(encoder, fingerprint(encoder), opset, max_side)
        if isinstance(encoder, FGCLIP1):
            content |= dict(
                grid_side=encoder.config.vision.grid_side, pixels=PIXELS_CLIP
            )
        files.write_description(folder, content | sections)
    return Path(out)


def side_limit(encoder: DualEncoder, max_side: int | None) -> int:
    """Patches of a side that an encoder's graph is exported for.

    Raises:
        InputError: fewer than the only grid that FG-CLIP 1 was trained on.
    """
    if not isinstance(encoder, FGCLIP1):
        return MAX_SIDE if max_side is None else max_side
    own = encoder.config.vision.grid_side
    if max_side is None:
        return max(MAX_SQUARE, own)
    if max_side < own:
        raise InputError(
            f'max_side must be {own} or more, the side of the grid of this model, got '
            f'{max_side}'
        )
    return max_side


def encoder_graphs(encoder: DualEncoder, max_side: int = MAX_SIDE) -> dict[str, Graph]:
    """File name -> graph, of the vision tower and of region pooling."""
    dims = encoder.embed_dims
    images, axes = image_input(encoder.config.vision.patch_size, max_side)
    if isinstance(encoder, FGCLIP1):
        vision = ExportedCLIPVision(encoder)
    else:
        assert isinstance(encoder, FGCLIP2)
        vision = ExportedVision(encoder)
    boxes = torch.tensor([[0.0, 0, 1, 1], [1, 1, 3, 4], [2, 2, 5, 5]])
    pooled = dict(
        dense=torch.zeros(2, dims, 6, 10), boxes=boxes,
        image_indices=torch.tensor([0, 0, 1]),
    )  # fmt: skip
    of_regions = dict(
        dense={0: DYNAMIC, 2: DYNAMIC, 3: DYNAMIC},
        boxes={0: DYNAMIC},
        image_indices={0: DYNAMIC},
    )
    return {
        files.VISION: Graph(
            vision,
            {'images': images},
            {'images': axes},
            ['image_embeds', 'dense'],
        ),
        files.REGIONS: Graph(ExportedRegions(), pooled, of_regions, ['region_embeds']),
    }


def text_graph(encoder: DualEncoder) -> Graph:
    """The text tower in all modes."""
    length = encoder.text_model.embeddings.length('box')
    ids = torch.ones(2, length, dtype=torch.int64)
    inputs = dict(ids=ids, mode=torch.tensor(MODES.index('box')))
    dynamic = {'ids': {0: DYNAMIC, 1: DYNAMIC}}
    if isinstance(encoder, FGCLIP1):
        module = ExportedCLIPText(encoder)
    else:
        assert isinstance(encoder, FGCLIP2)
        module = ExportedText(encoder)
    return Graph(module, inputs, dynamic, ['embeds'])


def add_text(
    folder: Path, encoder: DualEncoder, opset: int, pt2: bool = False
) -> dict[str, Any]:
    """Write the text tower and its tokenizer; returns the description's section."""
    tokenizer = checked_tokenizer(encoder.tokenizer)
    if isinstance(encoder, FGCLIP1):
        _check_eos(encoder, tokenizer)
    _save_tokenizer(tokenizer, folder)
    write_graph(text_graph(encoder), folder / files.TEXT, opset, pt2)
    table = encoder.text_model.embeddings
    return dict(text=dict(lengths={mode: table.length(mode) for mode in MODES}))


def _check_eos(encoder: FGCLIP1, tokenizer: FGCLIP2Tokenizer) -> None:
    """A graph cannot say that it found no EOS."""
    last = encoder.config.text.vocab_size - 1
    if tokenizer.eos_id != last:
        raise InputError(
            f'the tokenizer ends texts with the id {tokenizer.eos_id}, the text tower '
            f'is read at {last}; the tokenizer belongs to another model'
        )


def _save_tokenizer(tokenizer: FGCLIP2Tokenizer, folder: Path) -> None:
    """As ``tokenizer.json``, which the package tokenizers reads alone."""
    if not isinstance(tokenizer.engine, Tokenizer):
        name = tokenizer.files[0] if tokenizer.files else 'the tokenizer'
        raise InputError(
            f'{name} is run by SentencePiece, which an exported model does without; '
            "expected tokenizer.json, or a tokenizer.model of Gemma's kind"
        )
    tokenizer.engine.save(str(folder / JSON_FILE), pretty=False)


def describe(
    encoder: DualEncoder, digest: str, opset: int, max_side: int
) -> dict[str, Any]:
    """What every description holds."""
    import onnx  # pyright: ignore[reportMissingImports]

    return dict(
        version=1 if isinstance(encoder, FGCLIP1) else 2,
        versions=dict(
            fgclip2_det=__version__,
            torch=torch.__version__,
            onnx=onnx.__version__,
        ),
        opset=opset,
        embed_dims=encoder.embed_dims,
        patch_size=encoder.config.vision.patch_size,
        max_side=max_side,
        encoder=digest,
        pixels=PIXELS,
    )


def _rescoring_graphs(rules: Sequence[str], encoder: DualEncoder) -> dict[str, Graph]:
    if not rules:
        return {}
    from fgclip2_det.onnx.rescoring_files import rescoring_graphs  # needs MMDetection

    return rescoring_graphs(rules, encoder.embed_dims)


def save_candidates(path: Path, texts: Sequence[str], embeds: np.ndarray) -> None:
    """Write embeddings of competitors' candidates."""
    np.savez(path, texts=np.array(texts, dtype=str), embeds=embeds.astype(np.float32))
