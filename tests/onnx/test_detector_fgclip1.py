"""Detectors on FG-CLIP 1 in ONNX against ``OpenVocabInferencer``."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet', reason='detectors need MMDetection')
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from fgclip2_det import OpenVocabInferencer, Vocabulary
from fgclip2_det.cli import run
from fgclip2_det.io import InputError
from fgclip2_det.models import FGCLIP1ViT
from fgclip2_det.onnx import Detector, Encoder
from fgclip2_det.onnx.backbone_graphs import exported_backbone
from fgclip2_det.onnx.comparing import Agreement
from fgclip2_det.onnx.detector import Found
from fgclip2_det.onnx.sessions import Session
from fgclip2_det.onnx.tracing import Graph, image_input, write_graph
from tests.fgclip1.patches import with_patches

ROOT = Path(__file__).resolve().parents[2]
NAMES = ['red square', 'blue square', 'zebra']


@pytest.fixture(scope='module')
def weights(fgclip1_tiny, tmp_path_factory) -> Path:
    """A checkpoint as training writes it, of an untrained detector."""
    init_default_scope('mmdet')
    cfg = Config.fromfile(ROOT / 'configs/ovd_fgclip2.py')
    cfg.model.backbone.update(
        type='FGCLIP1ViT', encoder=dict(pretrained=str(fgclip1_tiny)), frozen_stages=4
    )
    cfg.model.neck.in_channels = 96
    cfg.model.roi_head.bbox_head.embed_dims = 80
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.nn.init.normal_(model.classifier.project.weight, std=1.0)
    model.set_vocabulary(Vocabulary(NAMES, novel_classes=NAMES[2:]))
    path = tmp_path_factory.mktemp('weights') / 'epoch_1.pth'
    meta = dict(cfg=cfg.pretty_text, dataset_meta=model.dataset_meta)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


@pytest.fixture(scope='module')
def exported(packages, weights, picture, tmp_path_factory) -> Path:
    """The detector, exported by the command."""
    out = tmp_path_factory.mktemp('detector') / 'out'
    run('export', [str(out), '--weights', str(weights), '--check', str(picture)])
    return out


@pytest.mark.parametrize('names', [NAMES, ['Cat'], ['cup', 'a "red" thing — 5']])
def test_detections_are_the_inferencers(exported, weights, picture, names):
    (found,) = OpenVocabInferencer(weights, device='cpu')(picture, names)
    wanted = Found(
        found.bboxes.numpy(), found.scores.numpy(), found.labels.numpy(), found.classes
    )
    (own,) = Detector(exported)(picture, names)
    assert own.classes == wanted.classes
    result = Agreement()
    result.add(wanted, own)
    assert result.boxes and not result.unmatched, result
    assert result.score < 1e-4 and result.pixels < 1e-2, result


def test_the_folder(exported, fgclip1_tiny):
    """What a description says; there is no encoder in a detector's folder."""
    folder = Detector(exported).folder
    assert (folder.version, folder['patch_size'], folder['embed_dims']) == (1, 16, 80)
    with pytest.raises(InputError, match='the encoder was not exported'):
        Encoder(exported)


def test_names_of_another_encoder(exported):
    """FG-CLIP 2's names have other digests."""
    embeds = Detector(exported).embed(['cat'])
    other = type(embeds)(**(vars(embeds) | dict(encoder='0' * 64)))
    with pytest.raises(InputError, match='embedded by another encoder'):
        Detector(exported).set_vocabulary(other)


def test_without_pytorch(exported, picture):
    code = (
        'import sys\n'
        "for name in ('torch', 'mmdet', 'mmengine', 'mmcv', 'transformers'):\n"
        '    sys.modules[name] = None\n'
        'from fgclip2_det.onnx import Detector\n'
        f'(found,) = Detector({str(exported)!r})({str(picture)!r}, "cat; dog")\n'
        'print(len(found))'
    )
    path = os.pathsep.join([str(ROOT), *sys.path])
    said = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True,
        env={**os.environ, 'PYTHONPATH': path},
    ).stdout  # fmt: skip
    assert int(said) == len(Detector(exported)(picture, 'cat; dog')[0]) > 0


@torch.no_grad()
@pytest.mark.parametrize('size', [16, 14, 8])
@pytest.mark.parametrize('out_indices', [(), (1,), (1, 3)])
def test_backbones(fgclip1_tiny, tmp_path, size, out_indices):
    """Grids that are not square, blocks within, patches of other sizes."""
    folder = with_patches(fgclip1_tiny, tmp_path / 'model', size)
    backbone = FGCLIP1ViT(
        dict(pretrained=str(folder)), output='both', out_indices=out_indices
    ).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 48, 112, generator=generator) * 2 - 1
    features, dense = exported_backbone(backbone)(images)
    wanted = backbone(images)
    torch.testing.assert_close(features, wanted[-2], rtol=0, atol=2e-5)
    torch.testing.assert_close(dense, wanted[-1], rtol=0, atol=2e-5)


@torch.no_grad()
def test_patches_of_14_pixels_in_onnx(packages, fgclip1_tiny, tmp_path):
    """As of ViT-L/14, on a grid that is not the example's."""
    folder = with_patches(fgclip1_tiny, tmp_path / 'model', 14)
    backbone = FGCLIP1ViT(dict(pretrained=str(folder)), output='both').eval()
    example, axes = image_input(16, 30)
    graph = Graph(
        exported_backbone(backbone), dict(images=example), dict(images=axes), ['f', 'd']
    )
    write_graph(graph, tmp_path / 'backbone.onnx', 18)
    images = torch.rand(1, 3, 80, 400, generator=torch.Generator().manual_seed(0))
    actual = Session(tmp_path / 'backbone.onnx')(dict(images=images.numpy()))
    for own, exact in zip(actual, backbone(images), strict=True):
        np.testing.assert_allclose(own, exact.numpy(), rtol=0, atol=2e-5)
