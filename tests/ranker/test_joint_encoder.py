"""Joint encoders against plain loops, and their padding."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.ranker import JointEncoder
from fgclip2_det.ranker.joint_encoder import JointAttention, init_bert


def encoder(**options) -> JointEncoder:
    joint = JointEncoder(**(dict(
        width=12, context_width=8, num_layers=2, num_heads=3, hidden=20
    ) | options))  # fmt: skip
    init_bert(joint)
    for parameter in joint.parameters():  # norms and biases count, too
        nn.init.normal_(
            parameter,
            std=0.3,
            generator=torch.Generator().manual_seed(parameter.numel()),
        )
    return joint.double().eval()


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def attend(part: JointAttention, x: Tensor, context: Tensor) -> Tensor:
    """(L, W) over (N, C), head by head."""
    q, k, v = part.query(x), part.key(context), part.value(context)
    size, heads = q.shape[1] // part.num_heads, []
    for head in range(part.num_heads):
        own = slice(head * size, (head + 1) * size)
        weights = (q[:, own] @ k[:, own].T / size**0.5).softmax(1)
        heads.append(weights @ v[:, own])
    return part.norm(x + part.output(torch.cat(heads, 1)))


def plain(joint: JointEncoder, x: Tensor, context: Tensor) -> Tensor:
    """One sequence (L, W) over one context (N, C), without padding."""
    for layer in joint.layers:
        x = attend(layer.self_attention, x, x)
        x = attend(layer.cross_attention, x, context)
        x = layer.norm(x + layer.fc2(F.gelu(layer.fc1(x))))
    return x


def test_every_sequence_by_itself():
    """Padded sequences and contexts, against one at a time without padding."""
    joint, lengths = encoder(), [[4, 1, 3], [2, 4, 4]]
    sizes = [5, 3]
    sequences, contexts = normal(2, 3, 4, 12), normal(2, 5, 8, seed=1)
    mask = torch.arange(4) < torch.tensor(lengths)[..., None]
    context_mask = torch.arange(5) < torch.tensor(sizes)[:, None]
    found = joint(sequences, contexts, mask, context_mask)
    for i, row in enumerate(lengths):
        for j, length in enumerate(row):
            one = plain(joint, sequences[i, j, :length], contexts[i, : sizes[i]])
            torch.testing.assert_close(found[i, j, :length], one)


def test_gradients_are_those_of_the_loop():
    joint = encoder()
    sequences = normal(2, 2, 3, 12).requires_grad_()
    contexts = normal(2, 4, 8, seed=1).requires_grad_()
    inputs = [sequences, contexts, *joint.parameters()]
    fast = torch.autograd.grad(joint(sequences, contexts)[..., 0, :].sum(), inputs)
    total = sum(
        plain(joint, sequences[i, j], contexts[i])[0].sum()
        for i in range(2)
        for j in range(2)
    )
    slow = torch.autograd.grad(total, inputs)
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize('num_layers', [1, 2, 3])
def test_the_first_states_alone_and_begun_once(num_layers):
    """Texts 2, 0 and 2 of three for each context, with gradients."""
    joint, rows = encoder(num_layers=num_layers), torch.tensor([[2, 0], [0, 2]])
    texts, contexts = normal(3, 4, 12).requires_grad_(), normal(2, 5, 8, seed=1)
    mask = torch.arange(4) < torch.tensor([4, 1, 3])[:, None]
    context_mask = torch.arange(5) < torch.tensor([5, 3])[:, None]
    begun = joint.begin(texts, mask)
    fast = joint.first_states(begun[rows], contexts, mask[rows], context_mask)
    slow = joint(texts[rows], contexts, mask[rows], context_mask)[:, :, 0]
    torch.testing.assert_close(fast, slow)
    inputs = [texts, *joint.parameters()]
    for one, other in zip(
        torch.autograd.grad(fast.square().sum(), inputs),
        torch.autograd.grad(slow.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize('shape', [(0, 2, 3), (2, 1, 1), (2, 0, 3)])
def test_none_and_one(shape):
    contexts, per_context, length = shape
    out = encoder()(normal(contexts, per_context, length, 12), normal(contexts, 4, 8))
    assert out.shape == (contexts, per_context, length, 12)


def test_dropout_is_for_training():
    joint = encoder(dropout=0.5)
    inputs = normal(1, 1, 3, 12), normal(1, 4, 8)
    assert torch.equal(joint(*inputs), joint(*inputs))
    joint.train()
    assert not torch.equal(joint(*inputs), joint(*inputs))
