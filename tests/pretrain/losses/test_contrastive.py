"""InfoNCE of captions that some images lack, against its formula written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.losses import contrastive_loss


def formula(images: Tensor, texts: Tensor, scale: Tensor, keys: list[int]) -> Tensor:
    """L term by term, over the pairs that have a text."""
    pairs = [i for i, key in enumerate(keys) if key >= 0]
    total = scale * 0
    for i in pairs:
        own = scale.exp() * (images[i] @ texts[i])
        to_texts = [(scale.exp() * (images[i] @ texts[j])).exp() for j in pairs]
        to_images = [(scale.exp() * (images[j] @ texts[i])).exp() for j in pairs]
        total = total - (own - sum(to_texts).log()) - (own - sum(to_images).log())
    return total / (2 * max(len(pairs), 1))


def leaves_of(count: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(count)
    rows = torch.randn(2, count, 4, generator=draw, dtype=torch.float64)
    scale = torch.tensor([0.9], dtype=torch.float64)
    return [x.clone().requires_grad_() for x in (*rows, scale)]


@pytest.mark.parametrize(
    'keys',
    [
        [3, 1, 4, 5],
        [3, 3, 1, 1],  # equal texts are wrong answers to each other's images
        [-1, 3, -1, 1, 4],
        [7, -1, -1],
        [-1, -1],
    ],
)
def test_pairs_without_text_are_left_out(keys):
    found = []
    for loss in (
        lambda *args: contrastive_loss(*args, text_keys=torch.tensor(keys)),
        lambda images, texts, scale: formula(images, texts, scale[0], keys),
    ):
        images, texts, scale = leaves = leaves_of(len(keys))
        value = loss(F.normalize(images, dim=1), F.normalize(texts, dim=1), scale)
        grads = torch.autograd.grad(value, leaves, materialize_grads=True)
        found.append((value, *grads))
    torch.testing.assert_close(*found)
    absent = torch.tensor(keys) < 0
    assert not any(grad[absent].any() for grad in found[0][1:3])
    if sum(key >= 0 for key in keys) < 2:  # nothing to tell apart
        assert found[0][0] == 0


def test_keys_of_other_images():
    rows, scale = torch.ones(2, 4), torch.zeros(())
    with pytest.raises(ValueError, match=r'text_keys must be \(2,\), one for each'):
        contrastive_loss(rows, rows, scale, text_keys=torch.zeros(3).long())
