"""Export of a trained detector into a folder for :mod:`fgclip2_det.onnx`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.apis.systems import System
from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import temporary_folder
from fgclip2_det.models.backbones import FGCLIP1ViT, FGCLIP2ViT
from fgclip2_det.models.detectors import OpenVocabTwoStageDetector
from fgclip2_det.models.detectors.open_vocab_mixin import Names
from fgclip2_det.models.encoders import build_encoder
from fgclip2_det.models.label_nms import is_plain
from fgclip2_det.onnx import folder as files
from fgclip2_det.onnx.detector_graph import ExportedDetector
from fgclip2_det.onnx.exporting import (
    MAX_SIDE,
    add_text,
    describe,
    save_candidates,
)
from fgclip2_det.onnx.name_embeds import NameEmbeds
from fgclip2_det.onnx.rescoring_files import NAME_AXES
from fgclip2_det.onnx.tracing import (
    DEFAULT_OPSET,
    DETECTOR_OPSET,
    Graph,
    check_opset,
    image_input,
    write_graph,
)
from fgclip2_det.vocabulary import Vocabulary, fingerprint
from fgclip2_det.vocabulary.names import parts_of

NAMES_FILE = 'names.npz'


def export_detector(
    system: System,
    out: str | os.PathLike,
    opset: int = DEFAULT_OPSET,
    names: Names | None = None,
    nms: bool = False,
    text: bool = True,
    max_side: int | None = None,
    pt2: bool = False,
) -> Path:
    """Write a trained detector as a folder of ONNX graphs.

    Args:
        system: of an ``OpenVocabInferencer``; its names are changed.
        out: folder to write; one that exists is replaced file by file.
        opset: of ONNX.
        names: baked into the graph; None: names are an input, and those of the training
            the default.
        nms: class-wise NMS inside the graph.
        text: with the text tower, for names that are set later.
        max_side: patches of an image's side, at most; None: the detector's budget.
        pt2: with ``torch.export`` files of the same.

    Returns:
        The folder.

    Raises:
        InputError: a detector of another kind, an opset or a side that cannot be
            exported, or no onnx and onnxscript.
    """
    check_opset(opset, DETECTOR_OPSET)
    detector = _checked(system)
    budget = _budget(system)
    side = max_side or (MAX_SIDE if budget == 'auto' else int(budget))
    tower = build_encoder(detector.text_encoder, towers='text')
    digest = fingerprint(tower)
    with temporary_folder(out, files.DESCRIPTION) as folder, torch.no_grad():
        own = _set_names(system, tower, names)
        embeds = None if own is None else name_embeds(detector, own, digest)
        if embeds is not None:
            embeds.save(folder / NAMES_FILE)
        baked = None if names is None else embeds
        graph = detector_graph(detector, side, nms, baked)
        write_graph(graph, folder / files.DETECTOR, opset, pt2)
        sections = {}
        if names is None:
            sections = add_text(folder, tower, opset, pt2) if text else {}
            _save_candidates(folder, detector, tower)
        sections['detector'] = detector_section(detector, budget, nms)
        content = describe(tower, digest, opset, side)
        content['patch_size'] = detector.backbone.patch_size
        files.write_description(folder, content | sections)
    return Path(out)


def detector_graph(
    detector: Any, max_side: int, nms: bool, baked: NameEmbeds | None = None
) -> Graph:
    """The detector, with names as inputs or baked in."""
    example, of_images = image_input(detector.backbone.patch_size, max_side)
    images, axes = {'images': example}, {'images': of_images}
    outputs = ['boxes', 'scores', 'labels'] if nms else ['boxes', 'scores']
    module = ExportedDetector(detector, nms)
    if baked is not None:
        return Graph(BakedDetector(module, baked), images, axes, outputs)
    from fgclip2_det.onnx.rescoring_files import example_names

    inputs = images | example_names(detector.classifier.text_embeds.shape[1])
    return Graph(module, inputs, axes | NAME_AXES, outputs)


class BakedDetector(nn.Module):
    """An exported detector whose names are constants.

    Args:
        detector: takes names.
        embeds: the names.
    """

    def __init__(self, detector: ExportedDetector, embeds: NameEmbeds) -> None:
        super().__init__()
        self.detector, self.inputs = detector, tuple(embeds.inputs())
        for name, array in embeds.inputs().items():
            self.register_buffer(name, torch.from_numpy(array))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """See :class:`.ExportedDetector`."""
        return self.detector(images, *map(self.get_buffer, self.inputs))


def name_embeds(
    detector: OpenVocabTwoStageDetector, vocabulary: Vocabulary, encoder: str
) -> NameEmbeds:
    """The names in force of a detector, with what they compete with."""
    classifier, calibration = detector.classifier, detector.roi_head.calibration
    names, rivals = classifier.class_embeds(), classifier.competitors
    missing = len(names) + len(rivals) - classifier.apart.shape[1]
    known = classifier.known
    shift = torch.zeros(len(known))
    if classifier.is_open:
        shift = torch.where(known.cpu(), calibration.base, calibration.novel)
    return NameEmbeds(
        tuple(vocabulary.names),
        names.float().cpu().numpy(),
        known.cpu().numpy(),
        rivals.float().cpu().numpy(),
        F.pad(classifier.apart, (0, missing)).cpu().numpy(),
        shift.float().numpy(),
        encoder,
    )


def _set_names(
    system: System, tower: DualEncoder, names: Names | None
) -> Vocabulary | None:
    """The names that are baked in, or the default; None where there is none."""
    detector = system.detector
    given = system.default if names is None else names
    if given is None:  # a background embedding is needed all the same
        detector.set_vocabulary(['object'], tower)
        return None
    return detector.set_vocabulary(given, tower)


def _save_candidates(folder: Path, detector: Any, tower: DualEncoder) -> None:
    finder = detector.competitors
    texts = [] if finder is None else finder.options.candidates(
        detector.trained_classes, detector.parts
    )  # fmt: skip
    if not texts:
        return
    own = Vocabulary(
        texts, detector.templates, base_classes=[], check=False,
        parts=parts_of(texts, detector.parts),
    )  # fmt: skip
    embeds = own.embed(tower).cpu().numpy()
    save_candidates(folder / files.CANDIDATES, texts, embeds)


def detector_section(detector: Any, budget: int | str, nms: bool) -> dict[str, Any]:
    """What a description says of a detector."""
    cfg, finder = detector.roi_head.test_cfg, detector.competitors
    calibration = detector.roi_head.calibration
    options = None
    if finder is not None:
        options = dict(vars(finder.options))
        options |= {key: list(options[key]) for key in ('lists', 'names')}
    templates = Vocabulary(['x'], detector.templates, check=False).templates
    return dict(
        max_num_patches=budget,
        nms_inside=nms,
        score_thr=float(cfg.score_thr),
        iou_threshold=float(cfg.nms.iou_threshold),
        max_per_img=int(cfg.max_per_img),
        templates=list(templates),
        trained_classes=list(detector.trained_classes),
        parts={k: list(v) for k, v in (detector.parts or {}).items()},
        competitors=options,
        calibration=dict(base=calibration.base, novel=calibration.novel),
    )


def _checked(system: System) -> Any:
    """The detector of a system; InputError for one that cannot be exported."""
    detector = system.model
    if not isinstance(detector, OpenVocabTwoStageDetector):
        raise InputError(
            f'a {type(detector).__name__} cannot be exported; expected a checkpoint of '
            'an OpenVocabTwoStageDetector (for another detector, export its encoder '
            'with --rescore)'
        )
    if type(detector.backbone) not in (FGCLIP1ViT, FGCLIP2ViT):
        raise InputError(
            f'a detector with a {type(detector.backbone).__name__} cannot be exported; '
            'expected the backbone FGCLIP2ViT or FGCLIP1ViT'
        )
    for what, present in _unknown_parts(detector).items():
        if present:
            raise InputError(
                f'a detector with {what} cannot be exported; see docs/export.md for '
                'what can'
            )
    return detector


def _unknown_parts(detector: Any) -> dict[str, bool]:
    """Parts that no graph is written of -> whether a detector has them."""
    coders = detector.rpn_head.bbox_coder, detector.roi_head.bbox_head.bbox_coder
    return {
        'windowed attention (backbone.window_size)': bool(
            detector.backbone.vision_model.window_size
        ),
        'its bbox_coder': any(
            type(c).__name__ != 'DeltaXYWHBBoxCoder' or c.add_ctr_clamp
            or not c.clip_border for c in coders
        ),
        'its nms': not all(
            is_plain(cfg.nms)
            for cfg in (detector.rpn_head.test_cfg, detector.roi_head.test_cfg)
        ),
        'nms_pre or max_per_img without a limit': min(
            detector.rpn_head.test_cfg.get('nms_pre', -1),
            detector.rpn_head.test_cfg.get('max_per_img', -1),
            detector.roi_head.test_cfg.max_per_img,
        ) <= 0,
        'its bbox_roi_extractor': type(
            detector.roi_head.bbox_roi_extractor
        ).__name__ != 'SingleRoIExtractor',
    }  # fmt: skip


def _budget(system: System) -> int | str:
    """Patch budget of the test pipeline, the one that images are resized under."""
    assert system.config is not None
    steps = system.config.test_dataloader.dataset.pipeline
    kinds = [str(step['type']).split('.')[-1] for step in steps]
    resizing = [
        step for kind, step in zip(kinds, steps, strict=True) if 'Resize' in kind
    ]
    known = {'OpenVocabLoadImage', 'FGCLIP2Resize', 'LoadAnnotations', 'PackDetInputs'}
    other = [kind for kind in kinds if kind not in known]
    if other or len(resizing) != 1:
        raise InputError(
            f'a test pipeline with {other[0] if other else "no FGCLIP2Resize"} cannot '
            'be exported; expected OpenVocabLoadImage, FGCLIP2Resize, PackDetInputs'
        )
    budget = resizing[0].get('max_num_patches', 1024)
    if not isinstance(budget, int | str):
        raise InputError(
            f'max_num_patches of the test pipeline must be one budget, got {budget}'
        )
    return budget
