"""Open-vocabulary inference: images and names in, boxes out."""

from __future__ import annotations

import copy
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from fgclip2_det.apis.detections import Detections
from fgclip2_det.apis.explaining import ExplainMethods
from fgclip2_det.apis.inputs import (
    InputImage,
    check_batch_size,
    check_names_given,
    check_score_thr,
    find_inputs,
)
from fgclip2_det.apis.output_files import OutputFiles, keep_inputs, pictures_of
from fgclip2_det.apis.precision import (
    DTYPES,
    choose_device,
    precision,
    set_precision,
)
from fgclip2_det.apis.prompt_free import named_candidates
from fgclip2_det.apis.prompting import PromptMethods
from fgclip2_det.apis.results import Loaded, Outcome, Results, report_unread
from fgclip2_det.apis.slicing import SliceMethods, Slices
from fgclip2_det.apis.systems import EMBEDDED, trained_system
from fgclip2_det.apis.video import VideoMethods
from fgclip2_det.apis.wrapped_systems import Wrapping, image_ids, wrapped_system
from fgclip2_det.fgclip2.image import ImageLike
from fgclip2_det.models.detectors.open_vocab_mixin import Names, with_negatives
from fgclip2_det.models.image_memory import ImageMemory
from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.vocabulary.negatives import NegativeTexts


class OpenVocabInferencer(PromptMethods, SliceMethods, VideoMethods, ExplainMethods):
    """Open-vocabulary detection: name objects, get boxes.

    - ``OpenVocabInferencer()``: the embedded detector, of coloured shapes only;
    - ``OpenVocabInferencer('epoch_3.pth')``: a detector that was trained;
    - ``OpenVocabInferencer(detector='iSEE-Laboratory/llmdet_tiny',
      encoder='qihoo360/fg-clip2-base')``: a detector of transformers, re-scored;
    - ``OpenVocabInferencer(detector='faster-rcnn.py', weights='x.pth')``: one of
      MMDetection, re-scored with an ``encoder``; a config of ``configs/rescore`` too;
    - ``OpenVocabInferencer(detector='results.bbox.json', ann_file='val.json',
      encoder=...)``: saved results, re-scored.

    An image that was seen lately is not encoded again for other names: a two-stage
    detector of this package compares its regions with them, a re-scorer keeps the
    encoder's map. A detector that reads the names itself, like Grounding DINO, OWLv2
    and LLMDet, runs again: its features depend on them.

    Args:
        weights: checkpoint of ``tools/train.py``, or of the config ``detector``; None
            for the embedded detector, or weights that the detector names itself.
        config: config of the weights; None for the one saved in the checkpoint.
        device: 'cpu', 'cuda', 'cuda:1', 'mps'; None for a CUDA device if there is one.
        detector: see above; None for a detector that was trained here.
        encoder: folder, hub id or options (``dict(size='tiny')``) of the FG-CLIP 2
            that re-scores the detector; None: its own scores.
        fusion: rule by its name in ``tools/rescore.py``, or its config.
        chunk_size: names a pass of a detector that reads names; None: 40 for those of
            transformers, the config's for MMDetection's.
        ann_file: COCO file with images and categories of saved results.
        dtype: 'float32'; 'bfloat16': the encoder in it, the rest in autocast; or
            'int8': the encoder's matrix products, the rest in float32, on CPUs with
            AVX-512 VNNI. Boxes of the embedded detector move in bfloat16 by up to two
            pixels and scores by up to 0.05.
        cache_size: images whose features are kept; 0 for none.
        options: of ``FGCLIP2Rescorer``: ``mode``, ``templates``, ``competitors``, ...

    Raises:
        FileNotFoundError: if there is no such checkpoint or config.
        ValueError: if one is damaged or does not fit, if a saved config has a ``type``
            that is not registered by this package or MMDetection, or for a device that
            is not there.

    Example:
        >>> inferencer = OpenVocabInferencer('work_dirs/ovd_fgclip2/epoch_2.pth')
        >>> inferencer('val/000000.jpg', 'orange circle; 黑色圆形')[0].names
        ['orange circle', '黑色圆形']
    """

    def __init__(
        self,
        weights: str | os.PathLike | None = None,
        config: str | os.PathLike | Config | None = None,
        device: str | None = None,
        *,
        detector: str | os.PathLike | None = None,
        encoder: str | dict | None = None,
        fusion: str | dict | None = None,
        chunk_size: int | None = None,
        ann_file: str | os.PathLike | None = None,
        dtype: str = 'float32',
        cache_size: int = 8,
        **options: Any,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f'dtype must be one of {DTYPES}, got {dtype!r}')
        if cache_size < 0:
            raise ValueError(f'cache_size must be 0 or more, got {cache_size}')
        self.device, self.dtype = choose_device(device), dtype
        init_default_scope('mmdet')
        wrapping = Wrapping(encoder, fusion, chunk_size, options)
        if detector is not None:
            if config is not None:
                raise ValueError('give a config of MMDetection as detector=, not both')
            self.system = wrapped_system(detector, weights, wrapping, ann_file)
        elif encoder is not None or chunk_size is not None or ann_file is not None:
            raise ValueError(
                'encoder, chunk_size and ann_file belong to a detector that is '
                'wrapped; pass detector= as well'
            )
        else:
            weights = EMBEDDED if weights is None else weights
            self.system = trained_system(weights, config)
        self.model = self.system.model.to(self.device).eval()
        set_precision(self.system, dtype)
        self.system.detector.keep_text_encoder = True
        self.model.keep_text_encoder = True
        self.config = self.system.config
        self.cache_size = cache_size
        self._memories: OrderedDict[bytes, ImageMemory] = OrderedDict()
        self._image_id = image_ids(self.system)
        self._given: Any = None  # the names in force, as they were given
        self._set: Vocabulary | None = None  # what became of them

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The names to detect; None until some are set."""
        return self.system.vocabulary

    def set_vocabulary(
        self, texts: Names, negatives: NegativeTexts | None = None
    ) -> Vocabulary:
        """Set the names to detect; they are encoded once, whatever the number of
        images.

        Args:
            texts: names, e.g. 'black cat. 白色杯子', a list or a ``Vocabulary``.
            negatives: names that compete for boxes and are not reported: 'shadow;
                reflection', or a mapping name -> its negatives.

        Raises:
            ValueError: for invalid names, or names the detector does not know or
                cannot read; those that were in force stay so.
        """
        check_names_given(texts)
        given = copy.deepcopy(texts) if isinstance(texts, list | tuple) else texts
        others = copy.deepcopy(negatives)
        self._set = self.system.set_vocabulary(with_negatives(given, others))
        self._given = given, others
        return self._set

    def forget(self) -> None:
        """Drop the features of all images, e.g. after loading other weights."""
        self._memories.clear()

    def __call__(
        self,
        inputs: ImageLike | Sequence[ImageLike],
        texts: Names | None = None,
        score_thr: float = 0.0,
        channel_order: str = 'bgr',
        *,
        batch_size: int = 1,
        pred_score_thr: float = 0.3,
        return_vis: bool = False,
        show: bool = False,
        no_save_vis: bool = False,
        no_save_pred: bool = True,
        draw_pred: bool = True,
        print_result: bool = False,
        return_datasamples: bool = False,
        out_dir: str | os.PathLike = '',
        allow_urls: bool = False,
        negatives: NegativeTexts | None = None,
        slices: Slices | Mapping | int | None = None,
    ) -> Results:
        """Detect objects in images, with the options of MMDetection's
        ``DetInferencer``.

        Args:
            inputs: one or several of: a file, a folder, a pattern ('photos/**/*.jpg'),
                a URL, or an image as for ``fgclip2_det.fgclip2.load_image``.
            texts: names, e.g. 'black cat. 白色杯子'; None for the current vocabulary,
                initially that of the training.
            score_thr: detections with lower scores are left out.
            channel_order: channel order of (h, w, 3) NumPy arrays: 'bgr', as in OpenCV
                and MMDetection's ``DetInferencer``, or 'rgb'. Files, PIL images and
                tensors are RGB.
            batch_size: images per pass of the model.
            pred_score_thr: lowest score that is drawn.
            return_vis: keep the drawn images.
            show: open them in the system's viewer.
            no_save_vis: do not write them under ``out_dir``/vis.
            no_save_pred: do not write JSON files under ``out_dir``/preds.
            draw_pred: draw boxes; False leaves the images as they are.
            print_result: print names, scores and boxes.
            return_datasamples: keep MMDetection's structures as well.
            out_dir: folder of what is written; '' writes nothing.
            allow_urls: whether URLs are fetched.
            negatives: of ``texts``, see :meth:`set_vocabulary`.
            slices: options of :class:`.Slices`, or a size in pixels, for images that
                are larger than the detector's input; None: one pass an image.

        Returns:
            One entry per image, fewer where some could not be read: one warning names
            those, and ``unread`` has the reasons.

        Raises:
            ValueError: if no image can be read, if a drawn image would be written over
                an input, and as in ``find_inputs``.
        """
        results = Results()
        output = OutputFiles(out_dir, not no_save_vis, not no_save_pred)
        sources = find_inputs(inputs, allow_urls, channel_order)
        if output.images:
            targets = pictures_of(sources, output.folder / 'vis')
            keep_inputs(targets, [source.path for source in sources])
        drawn_for = return_vis or show or output.images
        for outcome in self.stream(
            sources,
            texts,
            score_thr,
            channel_order,
            batch_size,
            allow_urls,
            negatives,
            slices,
        ):
            found = outcome.detections
            if found is None or outcome.image is None:
                results.unread[outcome.given.name] = outcome.error
                continue
            results.append(found)
            image = outcome.image
            if drawn_for and draw_pred:
                image = found.plot(image, pred_score_thr)
            results.files += output.write(outcome.given.stem, found, image)
            if return_vis:
                results.visualization.append(np.asarray(image))
            if return_datasamples:
                results.data_samples.append(found.to_data_sample())
            if show:
                image.show()
            if print_result:
                print(found.to_json())
        report_unread(results)
        return results

    @torch.no_grad()
    def stream(
        self,
        inputs: ImageLike | Sequence[ImageLike | InputImage],
        texts: Names | None = None,
        score_thr: float = 0.0,
        channel_order: str = 'bgr',
        batch_size: int = 1,
        allow_urls: bool = False,
        negatives: NegativeTexts | None = None,
        slices: Slices | Mapping | int | None = None,
    ) -> Iterator[Outcome]:
        """Like calling the inferencer, one image after the other, in order.

        The names hold to the end: where others were set in the meantime, they are set
        again before the next batch, and stay.

        Yields:
            An outcome per image; one that cannot be read has an ``error``.
        """
        check_batch_size(batch_size)
        check_score_thr(score_thr)
        sources = find_inputs(inputs, allow_urls, channel_order)
        self._use(texts, negatives)
        keep_names = self.system.hold()
        size = 1 if self.system.one_by_one else batch_size
        cut = Slices.of(slices)
        if cut is not None:
            self._check_slices()
            for number, source in enumerate(sources):
                keep_names()
                yield self._detect_slices(source, number, cut, score_thr, size)
            return
        for start in range(0, len(sources), size):
            batch = [
                self._read(source, start + i)
                for i, source in enumerate(sources[start : start + size])
            ]
            keep_names()
            self._detect(
                [each for each in batch if isinstance(each, Loaded)], score_thr
            )
            for each in batch:
                yield each.outcome if isinstance(each, Loaded) else each

    def _use(self, texts: Names | None, negatives: NegativeTexts | None = None) -> None:
        """Set the names of a call, unless they are in force."""
        if texts is None:
            if negatives is not None:
                raise ValueError("negatives need names; pass texts='black cat' as well")
            if self.vocabulary is None:
                if self.system.default is None:
                    raise ValueError(
                        "expected names of objects to detect; pass texts='black cat; "
                        "白色杯子', or call set_vocabulary"
                    )
                self.set_vocabulary(self.system.default)
            return
        check_names_given(texts)
        if (
            isinstance(texts, Vocabulary)
            or (texts, negatives) != self._given
            or self.vocabulary is not self._set
        ):
            self.set_vocabulary(texts, negatives)

    def _read(
        self, source: InputImage, number: int, fresh: bool = False
    ) -> Loaded | Outcome:
        """The image as the model takes it, ``fresh`` without what is known of it; an
        outcome if it cannot be read."""
        try:
            image = source.load()
            image_id = self._image_id(source, number)
        except ValueError as error:
            return Outcome(source, error=str(error))
        pipeline = self.system.pipeline
        of_file = pipeline is not None and pipeline.reads_files
        memory = ImageMemory() if fresh else self._memory(source, image, of_file)
        if pipeline is None:
            meta = dict(
                ori_shape=image.size[::-1], img_path=source.path, img_id=image_id
            )
            data: dict[str, Any] = dict(data_samples=DetDataSample(metainfo=meta))
        else:
            data = pipeline(source, image, image_id)
        if not of_file or source.path is None:
            memory['image'] = image
        data['data_samples'].set_metainfo(dict(memory=memory))
        return Loaded(Outcome(source, image), data, memory)

    def _memory(
        self, source: InputImage, image: Image.Image, of_file: bool
    ) -> ImageMemory:
        """What is known of an image with this content."""
        if not self.cache_size:
            return ImageMemory()
        key = source.digest(image, of_file)
        memory = self._memories.setdefault(key, ImageMemory())
        self._memories.move_to_end(key)
        while len(self._memories) > self.cache_size:
            self._memories.popitem(last=False)
        return memory

    def _detect(self, batch: Sequence[Loaded], score_thr: float) -> None:
        """Add the detections to the outcomes of a batch."""
        if not batch:
            return
        with precision(self.dtype, self.device):
            instances = self.system([each.data for each in batch])
        assert self.vocabulary is not None
        classes = tuple(self.vocabulary.names)
        for each, found in zip(batch, instances, strict=True):
            if each.memory is not None:
                each.memory.pop('image', None)
            detections = Detections(
                found.bboxes.float(),
                found.scores.float(),
                found.labels,
                classes,
                each.outcome.given.path or '',
                named_candidates(found, classes),
            )
            each.outcome.detections = detections.above(score_thr)
