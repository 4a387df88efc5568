"""Other ways to say what to find than by name: images, or no prompt at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from fgclip2_det.apis.prompt_free import BOX_NAMES, set_prompt_free
from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.vocabulary.image_prompts import ImageEmbeds, ImagePrompt


class PromptMethods:
    """Methods of ``OpenVocabInferencer`` for images as prompts, and for no prompt."""

    def set_prompt_free(
        self,
        names: str | os.PathLike | Sequence[str | Sequence[str]] | None = None,
        language: str = 'en',
        top: int = 3,
        box_names: str | Sequence[str] = BOX_NAMES,
        cache_dir: str | os.PathLike | None = None,
    ) -> Vocabulary:
        """Detect without a prompt: every object gets its best names from a long list.

        Lasts until names are set. A detector of this package finds objects by all the
        names; another one under its own, and the encoder names its boxes. Names that
        mean the same do not compete; the best of them stands for all.

        Args:
            names: a built-in list, 'ram' of 4,585 tags or 'lvis'; a file of one class
                a line; or names. None: 'ram', and for the embedded encoder, which
                knows few words, the names of the training and what they combine to.
            language: of a built-in list: 'en', 'zh' or 'both'.
            top: names per box; the best is the box's own, ``Detections.candidates`` has
                all.
            box_names: what a detector that reads names is given: a built-in list or
                names.
            cache_dir: folder of text embeddings on disk, from now on: a base encoder
                takes minutes for 4,585 tags on a CPU. None: the model's own, if any.

        Returns:
            The C names.

        Raises:
            ValueError: for no such list, or a detector without an encoder.

        Example:
            >>> inferencer = OpenVocabInferencer()
            >>> inferencer.set_prompt_free()
            >>> inferencer('shapes.png')[0].candidates[0]
            (('red circle', 0.98), ('orange circle', 0.01), ('red ring', 0.01))
        """
        own: Any = self  # the inferencer
        own._set = set_prompt_free(own.system, names, language, top, box_names,
                                   cache_dir)  # fmt: skip
        own._given = None
        return own._set

    def encode_prompts(self, prompts: Sequence[ImagePrompt]) -> ImageEmbeds:
        """Encode image prompts with the encoder of this system.

        Example:
            >>> prompt = ImagePrompt('my cup', [('desk.jpg', (40, 60, 120, 150))])
            >>> shown = inferencer.encode_prompts([prompt])
            >>> inferencer('kitchen.jpg', shown.vocabulary(['black cat']))
        """
        own: Any = self  # the inferencer
        return ImageEmbeds.encode(prompts, own.system.image_encoder())

    def load_prompts(self, path: str | os.PathLike) -> ImageEmbeds:
        """Read the file of :meth:`.ImageEmbeds.save`, of this system's encoder.

        Raises:
            ValueError: no such file, a damaged one, or one of another encoder.
        """
        own: Any = self  # the inferencer
        return ImageEmbeds.load(path, own.system.image_encoder())
