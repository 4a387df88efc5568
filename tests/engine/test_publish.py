"""A checkpoint to hand on: what predicting needs, smaller, with the same boxes."""

import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.apis.inferencer import EMBEDDED
from fgclip2_det.engine.publish import publish_checkpoint


@pytest.fixture
def trained(tmp_path):
    """The embedded detector with what a training leaves beside its weights."""
    checkpoint = torch.load(EMBEDDED, weights_only=True)
    weights = {
        name: value.float() if value.is_floating_point() else value
        for name, value in checkpoint['state_dict'].items()
    }
    meta = checkpoint['meta'] | {'time': 'today', 'experiment_name': 'first'}
    moments = {'state': {0: torch.ones(1000, 1000)}}
    path = tmp_path / 'epoch_3.pth'
    torch.save(dict(meta=meta, state_dict=weights, optimizer=moments), path)
    return path


def test_weights_config_and_classes_are_kept(trained, tmp_path):
    size = publish_checkpoint(trained, tmp_path / 'out.pth')
    assert size == (tmp_path / 'out.pth').stat().st_size
    assert size < trained.stat().st_size - 3_900_000  # without the moments
    before = torch.load(trained, weights_only=True)
    after = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert set(after) == {'meta', 'state_dict'}
    assert after['meta']['cfg'] == before['meta']['cfg']
    assert after['meta']['dataset_meta'] == before['meta']['dataset_meta']
    for name, value in before['state_dict'].items():
        assert torch.equal(after['state_dict'][name], value), name


def test_matrices_are_stored_smaller_and_the_rest_is_not(trained, tmp_path):
    publish_checkpoint(trained, tmp_path / 'out.pth', 'bfloat16')
    before = torch.load(trained, weights_only=True)['state_dict']
    after = torch.load(tmp_path / 'out.pth', weights_only=True)['state_dict']
    for name, value in before.items():
        small = value.is_floating_point() and value.dim() > 1
        small = small and not name.endswith('text_embeds')
        assert after[name].dtype == (torch.bfloat16 if small else value.dtype), name
        assert torch.equal(after[name], value.to(after[name].dtype)), name


def test_bad_input(trained, tmp_path):
    with pytest.raises(ValueError, match=r"dtype must be one of .*, got 'int8'"):
        publish_checkpoint(trained, tmp_path / 'out.pth', 'int8')
    torch.save(dict(state_dict={}), tmp_path / 'bare.pth')
    with pytest.raises(ValueError, match=r'bare\.pth carries no config'):
        publish_checkpoint(tmp_path / 'bare.pth', tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()
