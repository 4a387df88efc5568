"""Queues of a momentum teacher's features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pretrain.losses import QueueEntries, all_gather_rows, row_layout


class FeatureQueue(nn.Module):
    """The newest pairs of all processes as a teacher saw them, oldest first out.

    An entry's weight is 1 when it comes in and is multiplied by ``decay`` whenever
    others come in. Everything is in buffers, hence in checkpoints, and the same in all
    processes; with one process it is what several have, as long as these share a batch
    in the order of their ranks.

    Args:
        size: Q, pairs at most.
        dims: D of the features.
        decay: of the weights.

    Example:
        >>> queue = FeatureQueue(4, 8)
        >>> keys = torch.arange(3)
        >>> queue.enqueue(torch.rand(3, 8), torch.rand(3, 8), keys, keys)
        >>> queue.entries().image.shape
        torch.Size([3, 8])

    Reference: R2D2 (arXiv:2205.03860), section 4.2: weights decay by 0.99 an iteration;
    the queues are ALBEF's (arXiv:2107.07651), section 3.2.
    """

    image: Tensor
    text: Tensor
    image_keys: Tensor
    text_keys: Tensor
    weights: Tensor
    place: Tensor
    count: Tensor

    def __init__(self, size: int, dims: int, decay: float = 0.99) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f'a queue has room for 1 pair or more, got size {size}')
        if not 0 < decay <= 1:
            raise ValueError(f'decay must lie in (0, 1], got {decay}')
        self.size, self.decay = size, decay
        self.register_buffer('image', torch.zeros(size, dims))
        self.register_buffer('text', torch.zeros(size, dims))
        self.register_buffer('image_keys', torch.full((size,), -1))
        self.register_buffer('text_keys', torch.full((size,), -1))
        self.register_buffer('weights', torch.zeros(size))
        self.register_buffer('place', torch.zeros((), dtype=torch.long))  # of the next
        self.register_buffer('count', torch.zeros((), dtype=torch.long))  # taken

    def entries(self) -> QueueEntries:
        """What there is, in the order of the places, not of age."""
        taken = slice(int(self.count))
        return QueueEntries(
            self.image[taken].clone(),
            self.text[taken].clone(),
            self.image_keys[taken].clone(),
            self.text_keys[taken].clone(),
            self.weights[taken].clone(),
        )

    @torch.no_grad()
    def enqueue(
        self, image: Tensor, text: Tensor, image_keys: Tensor, text_keys: Tensor
    ) -> None:
        """Take the pairs of all processes in, in the order of their ranks.

        Args:
            image, text: (B, D) of this process, L2-normalised. B may be 0.
            image_keys, text_keys: (B,) int64.
        """
        layout = row_layout(len(image), self.image.device)
        own = dict(image=image, text=text, image_keys=image_keys, text_keys=text_keys)
        self.weights.mul_(self.decay)
        start, first = int(self.place), max(layout.total - self.size, 0)
        places = torch.arange(start + first, start + layout.total) % self.size
        places = places.to(self.image.device)
        for name, rows in own.items():
            buffer = self.get_buffer(name)
            buffer[places] = all_gather_rows(rows.to(buffer), layout)[first:]
        self.weights[places] = 1.0
        self.place.fill_((start + layout.total) % self.size)
        self.count.fill_(min(int(self.count) + layout.total, self.size))
