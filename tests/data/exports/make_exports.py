"""Files as other tools write them: makes the folders beside this script, anew.

    python tests/data/exports/make_exports.py [TOOL ...]

Each tool is installed by its pinned version into an environment of its own, in a
temporary folder, and writes one small scene in each of its formats. No part of the
tests, which read what is stored here: it needs a network, and FiftyOne and ultralytics
take gigabytes.

The scene: three PNG images, ``red cup`` and ``黑猫``, and a class ``bus`` that no box
has. The box of image two crosses its border by 6 pixels.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = {
    'supervision': ('0.31.2', ()),
    'datumaro': ('1.13.12', ()),
    'label-studio-sdk': ('2.1.2', ()),
    'labelme': ('6.3.1', ()),
    'labelme2coco': ('0.2.6', ()),
    'ultralytics': ('8.4.190', ()),
    'fiftyone': ('1.22.1', ()),
}
CLASSES = ['red cup', '黑猫', 'bus']
# name, (width, height), [(class, x1, y1, x2, y2)]
IMAGES = [
    ('one.png', (48, 32), [(0, 4, 6, 20, 26), (1, 22, 2, 46, 30)]),
    ('two 2.png', (32, 40), [(1, 10, 8, 38, 30)]),
    ('三.png', (40, 40), [(0, 2, 2, 12, 14), (0, 20.5, 20.25, 33.5, 38)]),
]


def draw(folder: Path) -> None:
    """The images: noise of a fixed seed, so that none looks like another."""
    import random

    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, size, _) in enumerate(IMAGES):
        noise = random.Random(seed)
        tiles = Image.new('L', (9, 8))
        tiles.putdata([noise.randrange(256) for _ in range(72)])
        tiles.resize(size, Image.Resampling.NEAREST).save(folder / name)


def clipped(number: int) -> list[tuple]:
    """Boxes inside the image, for tools that refuse others."""
    _, (width, height), boxes = IMAGES[number]
    return [(c, x1, y1, min(x2, width), min(y2, height)) for c, x1, y1, x2, y2 in boxes]


def supervision(out: Path, images: Path) -> None:
    import cv2
    import numpy as np
    import supervision as sv

    rows, pixels = {}, {}
    for name, _, boxes in IMAGES:
        path = str(images / name)
        pixels[path] = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        rows[path] = sv.Detections(
            xyxy=np.array([box[1:] for box in boxes], float),
            class_id=np.array([box[0] for box in boxes]),
        )
    data = sv.DetectionDataset(classes=CLASSES, images=list(rows), annotations=rows)
    data.as_coco(str(out / 'coco/images'), str(out / 'coco/annotations.json'))
    data.as_yolo(*(str(out / 'yolo' / x) for x in ('images', 'labels', 'data.yaml')))
    data.as_pascal_voc(str(out / 'voc/images'), str(out / 'voc/annotations'))
    data.as_labelme(str(out / 'labelme'), str(out / 'labelme'))


def datumaro(out: Path, images: Path) -> None:
    from datumaro.components.annotation import AnnotationType, Bbox, LabelCategories
    from datumaro.components.dataset import Dataset
    from datumaro.components.dataset_base import DatasetItem
    from datumaro.components.media import Image

    items = []
    for number, (name, _, boxes) in enumerate(IMAGES):
        own = [
            Bbox(x1, y1, x2 - x1, y2 - y1, label=label, id=i, group=i)
            for i, (label, x1, y1, x2, y2) in enumerate(boxes)
        ]
        items.append(
            DatasetItem(
                id=Path(name).stem,
                subset='val' if number == 2 else 'train',
                media=Image.from_file(path=str(images / name)),
                annotations=own,
            )
        )
    labels = LabelCategories.from_iterable(CLASSES)
    data = Dataset.from_iterable(items, categories={AnnotationType.label: labels})
    formats = (
        'coco_instances', 'yolo', 'yolo_ultralytics', 'voc_detection', 'cvat',
        'datumaro',
    )  # fmt: skip
    for name in formats:
        data.export(str(out / name), name, save_media=True)


def studio_tasks(images: Path, folder: str) -> list[dict]:
    """Tasks as Label Studio keeps them: sides in percent; one box is turned."""
    tasks = []
    for number, (name, (width, height), boxes) in enumerate(IMAGES, 1):
        results = []
        for i, (label, x1, y1, x2, y2) in enumerate(boxes):
            value = dict(
                x=100 * x1 / width, y=100 * y1 / height,
                width=100 * (x2 - x1) / width, height=100 * (y2 - y1) / height,
                rotation=90 if number == 3 and i == 0 else 0,
                rectanglelabels=[CLASSES[label]],
            )  # fmt: skip
            results.append(
                dict(
                    id=f'{number}{i}', type='rectanglelabels', from_name='label',
                    to_name='image', original_width=width, original_height=height,
                    image_rotation=0, value=value, origin='manual',
                )
            )  # fmt: skip
        one = dict(
            id=number, completed_by=1, result=results, was_cancelled=False,
            created_at='2026-01-01T00:00:00Z',
        )  # fmt: skip
        annotations = [one]
        if number == 2:
            annotations.append(one | dict(id=9, completed_by=2))
        tasks.append(
            dict(
                id=number, data=dict(image=f'{folder}{name}'), annotations=annotations,
                predictions=[], drafts=[], meta={}, project=1,
            )
        )  # fmt: skip
    return tasks


def label_studio_sdk(out: Path, images: Path) -> None:
    from label_studio_sdk.converter import Converter

    labels = ''.join(f'<Label value="{name}"/>' for name in CLASSES)
    config = (
        '<View><Image name="image" value="$image"/><RectangleLabels name="label" '
        f'toName="image">{labels}</RectangleLabels></View>'
    )
    source = out / 'tasks.json'
    out.mkdir(parents=True, exist_ok=True)
    # as uploads are named: eight letters before the name
    uploads = images.parent / 'uploads'
    uploads.mkdir()
    for name, *_ in IMAGES:
        shutil.copy(images / name, uploads / f'0a1b2c3d-{name}')
    tasks = studio_tasks(images, '/data/upload/1/0a1b2c3d-')
    source.write_text(json.dumps(tasks, ensure_ascii=False), encoding='utf-8')
    for name in ('json', 'json_min', 'coco', 'yolo', 'yolo_obb', 'voc'):
        # the same converter writes each of the formats only with its own options
        converter = Converter(config, str(uploads), download_resources=False)
        target = out / name
        method = getattr(converter, f'convert_to_{name.removesuffix("_obb")}')
        options = dict(is_obb=True) if name == 'yolo_obb' else {}
        method(str(source), str(target), is_dir=False, **options)
        folder = target / 'images'
        if name == 'coco' or 'yolo' in name or name == 'voc':
            folder.mkdir(exist_ok=True)
        else:
            folder = target
        for path in uploads.iterdir():
            shutil.copy(path, folder / path.name)
    source.unlink()


def labelme(out: Path, images: Path) -> None:
    """A rectangle drawn from its lower right corner, a polygon, a circle, a point."""
    from labelme._label_file import LabelFile

    out.mkdir(parents=True, exist_ok=True)
    for number, (name, (width, height), boxes) in enumerate(IMAGES):
        shutil.copy(images / name, out / name)
        shapes = []
        for label, x1, y1, x2, y2 in boxes:
            points = [[x2, y2], [x1, y1]] if number == 0 else [[x1, y1], [x2, y2]]
            shapes.append(shape(CLASSES[label], points, 'rectangle'))
        if number == 2:
            shapes += [
                shape('red cup', [[1, 20], [15, 20], [8, 34]], 'polygon'),
                shape('bus', [[30, 8], [30, 13]], 'circle'),
                shape('bus', [[3, 3]], 'point'),
            ]
        LabelFile().save(
            filename=str(out / name.replace('.png', '.json')), shapes=shapes,
            image_path=name, image_height=height, image_width=width,
            image_data=None, other_data={}, flags={},
        )  # fmt: skip


def shape(label: str, points: list, kind: str) -> dict:
    return dict(
        label=label, points=points, group_id=None, description='', shape_type=kind,
        flags={}, mask=None,
    )  # fmt: skip


def labelme2coco(out: Path, images: Path) -> None:
    import os

    import labelme2coco as library

    out.mkdir(parents=True, exist_ok=True)
    source = HERE / 'labelme-6.3.1'
    for path in source.iterdir():
        shutil.copy(path, out)
    content = json.loads((out / '三.json').read_text(encoding='utf-8'))
    content['shapes'] = [s for s in content['shapes'] if s['shape_type'] != 'point']
    (out / '三.json').write_text(json.dumps(content, ensure_ascii=False), 'utf-8')
    os.chdir(out.parent)
    library.convert(out.name, str(out))
    for path in source.glob('*.json'):
        (out / path.name).unlink()


def ultralytics(out: Path, images: Path) -> None:
    """What a detector found: no labels. A validation's file and a result's own."""
    import cv2
    import numpy as np
    import torch
    from ultralytics.engine.results import Results
    from ultralytics.models.yolo.detect import DetectionValidator

    out.mkdir(parents=True, exist_ok=True)
    validator = DetectionValidator(args=dict(save_json=True))
    validator.jdict, validator.class_map = [], list(range(1, 4))
    names, own = dict(enumerate(CLASSES)), []
    for name, _, boxes in IMAGES:
        path = images / name
        pixels = cv2.imdecode(np.fromfile(str(path), np.uint8), cv2.IMREAD_COLOR)
        rows = torch.tensor([[*box[1:], 0.9, box[0]] for box in boxes])
        found = dict(bboxes=rows[:, :4], conf=rows[:, 4], cls=rows[:, 5])
        # '三'.isnumeric(), and int('三') then ends its validation
        stem = path.with_name('third.png') if path.stem == '三' else path
        validator.pred_to_json(found, dict(im_file=str(stem)))
        result = Results(pixels, path=str(path), names=names, boxes=rows)
        own.append(json.loads(result.to_json()))
    (out / 'predictions.json').write_text(json.dumps(validator.jdict), 'utf-8')
    (out / 'results.json').write_text(json.dumps(own[0], ensure_ascii=False), 'utf-8')


def fiftyone(out: Path, images: Path) -> None:
    """Its exporters alone: its database comes from outside the package registry. What
    they would ask the database for is written here, from ``Sample.to_dict``."""
    import fiftyone as fo
    from fiftyone.utils import coco, cvat, voc, yolo

    exporters = {
        'coco': coco.COCODetectionDatasetExporter(str(out / 'coco'), classes=CLASSES),
        'yolo': yolo.YOLOv5DatasetExporter(
            str(out / 'yolo'), split='train', classes=CLASSES
        ),
        'voc': voc.VOCDetectionDatasetExporter(str(out / 'voc')),
        'cvat': cvat.CVATImageDatasetExporter(str(out / 'cvat')),
    }
    rows = []
    for name, (width, height), boxes in IMAGES:
        found = fo.Detections()
        for label, x1, y1, x2, y2 in boxes:
            sides = x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height
            found.detections.append(
                fo.Detection(label=CLASSES[label], bounding_box=list(sides))
            )
        path = str(images / name)
        sample = fo.Sample(path, tags=['train'], ground_truth=found)
        sample.metadata = fo.ImageMetadata.build_for(path)
        rows.append((path, found, sample))
    for exporter in exporters.values():
        with exporter:
            for path, found, sample in rows:
                exporter.export_sample(path, found, metadata=sample.metadata)
    for path in [*out.glob('yolo/*.yaml'), *out.glob('voc/labels/*.xml')]:
        text = path.read_text(encoding='utf-8')  # they say where they were written
        path.write_text(text.replace(str(out), '/export'), encoding='utf-8')
    folder = out / 'samples' / 'data'
    folder.mkdir(parents=True)
    samples = []
    for path, _, sample in rows:
        shutil.copy(path, folder)
        samples.append(sample.to_dict() | {'filepath': f'data/{Path(path).name}'})
    for name, content in (
        ('samples.json', dict(samples=samples)),
        ('metadata.json', dict(name='scene', classes={}, default_classes=CLASSES)),
    ):
        text = json.dumps(content, ensure_ascii=False)
        (folder.parent / name).write_text(text, encoding='utf-8')


def install_and_run(tool: str) -> None:
    """In an environment of its own; the folder of the tool is replaced."""
    version, others = TOOLS[tool]
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder, 'env', 'bin', 'python')
        subprocess.run([sys.executable, '-m', 'venv', Path(folder, 'env')], check=True)
        install = [python, '-m', 'pip', 'install', '-q', f'{tool}=={version}', *others]
        subprocess.run(install, check=True)
        subprocess.run([python, __file__, '--here', tool], check=True)


def here(tool: str) -> None:
    """With this Python, which has the tool."""
    target = HERE / f'{tool}-{TOOLS[tool][0]}'
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, 'images')
        draw(images)
        globals()[tool.replace('-', '_')](target, images)


if __name__ == '__main__':
    words = sys.argv[1:]
    if words[:1] == ['--here']:
        here(words[1])
    else:
        for each in words or TOOLS:
            install_and_run(each)
