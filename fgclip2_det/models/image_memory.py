"""What a model has computed of an image that does not depend on the names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.structures import DetDataSample
from torch import Tensor

KEY = 'memory'  # of the data samples' metainfo


class ImageMemory(dict[str, Any]):
    """Results of one image, kept between calls with other names.

    A data sample carries it as ``memory`` in its metainfo. Models that find their part
    in it do not compute it again; models that know nothing of it ignore it. Its parts:

    - ``regions``: pyramid with region embeddings, and proposals, of a two-stage
      detector;
    - ``detections``: of a detector with fixed classes under a re-scorer;
    - ``encoded``: the re-scorer's batch of this image with its maps;
    - ``image``: the upright RGB image, where there is no file to read it from.

    Data samples copy their metainfo; a copy of the memory is the memory itself.
    """

    def __deepcopy__(self, memo: dict) -> ImageMemory:
        return self


def memory_of(sample: DetDataSample) -> ImageMemory | None:
    """The memory that a data sample carries; None: nothing is kept."""
    return sample.metainfo.get(KEY)


def without(samples: Sequence[DetDataSample], part: str) -> list[int]:
    """Indices of the samples whose memory lacks a part, or that have no memory; of
    several with one memory, the first."""
    indices, seen = [], set()
    for i, sample in enumerate(samples):
        memory = memory_of(sample)
        if memory is None or (part not in memory and id(memory) not in seen):
            indices.append(i)
        seen.add(id(memory))
    return indices


def inputs_of(inputs: Any, index: list[int]) -> Any:
    """Rows of a batch of images: a tensor (B, ...), a list, or None for no images."""
    if inputs is None:
        return None
    if len(index) == len(inputs):
        return inputs
    return inputs[index] if isinstance(inputs, Tensor) else [inputs[i] for i in index]
