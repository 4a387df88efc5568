"""supervision around any system: annotators, tracker, exports.

    python integrations/supervision_tools.py photos --names "cup|杯子; 黑猫" --out found

writes what supervision's exporters write (COCO, YOLO, Pascal VOC) and the images with
boxes. Systems are chosen by the environment (``FGCLIP2_WEIGHTS``). In Python::

    detector = NamedDetector({'names': 'red circle; 蓝色正方形'})
    frame = draw(frame, detect(detector, frame))
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import supervision as sv

from fgclip2_det.apis.named_detector import NamedDetector
from fgclip2_det.apis.output_files import keep_inputs
from fgclip2_det.apis.tracking import BoxTracker
from fgclip2_det.fgclip2 import load_image
from fgclip2_det.visualization.draw import FONT


def detect(
    detector: NamedDetector, frame: np.ndarray, score_thr: float | None = None
) -> sv.Detections:
    """Detect in an (h, w, 3) BGR frame; also the callback of ``sv.InferenceSlicer``."""
    return detector(frame, None, score_thr, channel_order='bgr').to_supervision()


def draw(frame: np.ndarray, found: sv.Detections) -> np.ndarray:
    """A copy of a BGR frame with boxes, names, scores and ids.

    ``sv.LabelAnnotator`` draws by OpenCV, which has no Chinese characters.
    """
    assert found.confidence is not None  # detections of a detector
    ids = [None] * len(found) if found.tracker_id is None else found.tracker_id.tolist()
    rows = zip(found.data['class_name'], found.confidence, ids, strict=True)
    texts = [
        f'{name} {score:.2f}' if own is None else f'#{own} {name} {score:.2f}'
        for name, score, own in rows
    ]
    frame = sv.BoxAnnotator(thickness=2).annotate(frame.copy(), found)
    labels = sv.RichLabelAnnotator(font_path=str(FONT), font_size=14, text_padding=3)
    return labels.annotate(frame, found, texts)


def track(
    detector: NamedDetector, video: str | Path, stride: int = 1
) -> Iterator[tuple[np.ndarray, sv.Detections]]:
    """Frames of a video with boxes and ids, -1 for none; needs the package trackers."""
    rate = sv.VideoInfo.from_video_path(str(video)).fps / stride
    tracker = BoxTracker(rate, detector.options.score_thr)
    frames = sv.get_video_frames_generator(str(video), stride=stride)
    for number, frame in enumerate(frames):
        own = detector(frame, channel_order='bgr')
        found = own.to_supervision()
        ids = tracker(own, number / rate)
        found.tracker_id = np.array([-1 if i is None else i for i in ids], dtype=int)
        yield frame, found


def label(detector: NamedDetector, folder: Path) -> sv.DetectionDataset:
    """The images right in a folder with their boxes, for supervision's exporters."""
    paths = sv.list_files_with_extensions(folder, ['jpg', 'jpeg', 'png', 'webp', 'bmp'])
    if not paths:
        raise ValueError(f'there are no images right in {folder}; name another folder')
    names = sorted(map(str, paths))
    found = {name: detector(load_image(name)).to_supervision() for name in names}
    return sv.DetectionDataset(detector.classes, list(found), found)


def export(dataset: sv.DetectionDataset, out: Path) -> None:
    """COCO, YOLO and Pascal VOC files, and the images with boxes.

    Raises:
        ValueError: if a drawn image would be written over one that is labelled.
    """
    paths = dataset.image_paths
    keep_inputs([out / 'drawn' / Path(path).name for path in paths], paths)
    dataset.as_coco(annotations_path=str(out / 'coco.json'))
    dataset.as_yolo(annotations_directory_path=str(out / 'yolo' / 'labels'),
                    data_yaml_path=str(out / 'yolo' / 'data.yaml'))  # fmt: skip
    dataset.as_pascal_voc(annotations_directory_path=str(out / 'voc'))
    (out / 'drawn').mkdir(exist_ok=True)
    for path, image, found in dataset:
        cv2.imwrite(str(out / 'drawn' / Path(path).name), draw(image, found))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--names')
    parser.add_argument('--score-thr', type=float)
    parser.add_argument('--out', type=Path, default=Path('found'))
    given = parser.parse_args()
    own = NamedDetector({'names': given.names, 'score_thr': given.score_thr})
    given.out.mkdir(parents=True, exist_ok=True)
    labelled = label(own, given.folder)
    export(labelled, given.out)
    print(f'{len(labelled)} images are labelled, see {given.out}')
