"""Matrix products of an exported model in int8."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fgclip2_det.fgclip2.image import load_image
from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import temporary_folder
from fgclip2_det.onnx import folder as files
from fgclip2_det.onnx.folder import ModelFolder
from fgclip2_det.onnx.pictures import encoder_input, to_input
from fgclip2_det.onnx.sessions import import_onnxruntime
from fgclip2_det.onnx.text_encoder import MODES

METHODS = ('dynamic', 'static')
QUANTIZED = (files.VISION, files.DETECTOR, files.TEXT)
PRODUCTS = ('MatMul', 'Gemm')
# parts of layers' names that stay in float: pixels, boxes, and the class embedding,
# whose cosines are multiplied by the inverse temperature
KEPT = ('patch_embedding', 'fc_reg', 'fc_cls', 'shared_fcs')
MAX_TEXTS = 32  # names whose activations calibrate the text tower


@dataclass(frozen=True)
class Quantized:
    """What became of the layers of a folder.

    Attributes:
        method: 'dynamic' or 'static'.
        layers: file -> layers in int8.
        kept: file -> layers with weights that stayed in float.
        before, after: bytes of the graphs with their weights.
    """

    method: str
    layers: dict[str, list[str]]
    kept: dict[str, list[str]]
    before: int
    after: int

    def __str__(self) -> str:
        rows = [
            f'int8 ({self.method}): {self.before / 1e6:.1f} MB became '
            f'{self.after / 1e6:.1f} MB'
        ]
        for name, layers in self.layers.items():
            kept = ', '.join(self.kept[name]) or 'none'
            rows.append(f'  {name}: {len(layers)} layers in int8; in float: {kept}')
        return '\n'.join(rows)


def quantize_folder(
    folder: str | os.PathLike,
    method: str = 'dynamic',
    images: Sequence[str | os.PathLike] = (),
    keep: Sequence[str] = (),
) -> Quantized:
    """Replace the graphs of an export by graphs with int8 products.

    Weights are int8 with a scale for each output channel; activations are int8 with
    the range of each tensor, taken when the model runs ('dynamic') or from pictures
    ('static'). Convolutions, attention's products of activations, norms, RoIAlign and
    scores stay in float, and so do the layers of :data:`KEPT`.

    Args:
        folder: an export in float.
        method: 'dynamic' or 'static'.
        images: pictures like those that the model will see, for 'static'.
        keep: further parts of names of layers that stay in float.

    Raises:
        InputError: no export, one in int8 already, no pictures for 'static', a part
            of ``keep`` that no layer's name contains, or no onnx and onnxruntime.
    """
    if method not in METHODS:
        raise InputError(f'method must be one of {METHODS}, got {method!r}')
    if method == 'static' and not len(images):
        raise InputError(
            'static quantisation takes the ranges of activations from pictures, got '
            "none; give some, or take method 'dynamic'"
        )
    import_onnxruntime()
    source = ModelFolder(folder)
    if 'int8' in source.description:
        raise InputError(f'{folder} is in int8 already; export it in float first')
    names = [name for name in QUANTIZED if name in source]
    layers, kept = {}, {}
    for name in names:
        layers[name], kept[name] = _layers(source.path / name, (*KEPT, *keep))
    _check_keep(keep, [*chain(*layers.values(), *kept.values())])
    replaced = {*names, *(f'{name}.data' for name in names)}
    content = {
        k: v for k, v in source.description.items() if k not in ('kind', 'files')
    }
    with temporary_folder(folder, files.DESCRIPTION) as target:
        for name in source['files']:
            if name not in replaced:
                shutil.copyfile(source.path / name, target / name)
        for name in names:
            _quantize(source, name, target / name, layers[name], method, images)
        content['int8'] = dict(method=method, kept=kept, pictures=len(images))
        files.write_description(target, content)
        sizes = [
            sum(path.stat().st_size for path in root.iterdir() if path.name in replaced)
            for root in (source.path, target)
        ]
    return Quantized(method, layers, kept, *sizes)


def _check_keep(keep: Sequence[str], layers: Sequence[str]) -> None:
    """InputError for a part that no layer's name contains."""
    for part in keep:
        if not any(part in layer for layer in layers):
            raise InputError(
                f'no layer has {part!r} in its name, so none would stay in float; '
                f'the layers are {", ".join(sorted({*layers})[:8])}, ...'
            )


def _layers(path: Path, keep: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of the products with weights that are quantised, and of those that are
    kept."""
    import onnx  # pyright: ignore[reportMissingImports]

    graph = onnx.load(str(path), load_external_data=False).graph
    weights = {each.name for each in graph.initializer if len(each.dims) == 2}
    own = [
        node.name
        for node in graph.node
        if node.op_type in PRODUCTS and node.input[1] in weights
    ]
    kept = [name for name in own if any(part in name for part in keep)]
    return [name for name in own if name not in kept], kept


def _quantize(
    source: ModelFolder,
    name: str,
    target: Path,
    layers: list[str],
    method: str,
    images: Sequence[Any],
) -> None:
    from onnxruntime import quantization  # pyright: ignore[reportMissingImports]

    quantize: Any = quantization
    large = (source.path / f'{name}.data').is_file()
    options: dict[str, Any] = dict(
        op_types_to_quantize=list(PRODUCTS),
        nodes_to_quantize=layers,
        per_channel=True,
        weight_type=quantization.QuantType.QInt8,
        use_external_data_format=large,
    )
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / name
        quantize.quant_pre_process(
            str(source.path / name), str(model), skip_optimization=True,
            skip_symbolic_shape=True, save_as_external_data=large,
        )  # fmt: skip
        if method == 'dynamic':
            quantize.quantize_dynamic(str(model), str(target), **options)
            return
        feeds = _feeds(source, name, images)
        quantize.quantize_static(
            str(model), str(target), _reader(feeds),
            activation_type=quantization.QuantType.QUInt8, **options,
        )  # fmt: skip


def _reader(feeds: Iterator[dict[str, np.ndarray]]) -> Any:
    """A ``CalibrationDataReader`` of feeds."""
    from onnxruntime import quantization  # pyright: ignore[reportMissingImports]

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(feeds, None)

    return Reader()


def _feeds(
    source: ModelFolder, name: str, images: Sequence[Any]
) -> Iterator[dict[str, np.ndarray]]:
    """Inputs of a graph: the pictures, or names of the detector's training."""
    if name == files.TEXT:
        yield from _text_feeds(source)
        return
    from fgclip2_det.onnx.name_embeds import NameEmbeds

    sizes = source['patch_size'], source['max_side']
    names: dict[str, np.ndarray] = {}
    if 'names' in _inputs(source.path / name):
        names = NameEmbeds.load(source.need('names.npz', 'a list of names')).inputs()
    for image in images:
        loaded = load_image(image)
        if name == files.VISION:
            pixels = encoder_input(loaded, 'auto', source)
        else:
            budget = source['detector']['max_num_patches']
            pixels = to_input(loaded, budget, *sizes)
        yield dict(images=pixels[None], **names)


def _inputs(path: Path) -> list[str]:
    """Names of a graph's inputs."""
    import onnx  # pyright: ignore[reportMissingImports]

    graph = onnx.load(str(path), load_external_data=False).graph
    return [each.name for each in graph.input]


def _text_feeds(source: ModelFolder) -> Iterator[dict[str, np.ndarray]]:
    from fgclip2_det.vocabulary.name_lists import load_list

    trained = source.description.get('detector', {}).get('trained_classes')
    listed = load_list('coco')
    chinese = [name for name in listed.chinese if name is not None]
    texts = trained or [*listed.names[: MAX_TEXTS // 2], *chinese]
    ids = source.tokenizer().ids(
        list(texts)[:MAX_TEXTS], source['text']['lengths']['box']
    )
    for row in ids:
        yield dict(ids=row[None], mode=np.array(MODES.index('box'), np.int64))
