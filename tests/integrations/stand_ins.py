"""Interfaces of packages that are not installed with the tests, in their least form.

Each follows what the package publishes: names, arguments, what is called when. The same
tests run against the packages themselves in ``.ci/bridges``.
"""

import json
import types
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import supervision as sv


def modules(**contents: dict[str, Any]) -> dict[str, types.ModuleType]:
    """Modules by dotted name ('__' for '.'), and the packages above them."""
    found: dict[str, types.ModuleType] = {}
    for name, content in contents.items():
        parts = name.split('__')
        for end in range(1, len(parts) + 1):
            dotted = '.'.join(parts[:end])
            module = found.setdefault(dotted, types.ModuleType(dotted))
            module.__path__ = []
        vars(found['.'.join(parts)]).update(content)
    return found


# ---------------------------------------------------------------- autodistill 0.1.29
@dataclass
class CaptionOntology:
    """Prompts and their classes."""

    promptMap: list[tuple[str, str]]

    def __init__(self, ontology: dict[str, str]) -> None:
        self.promptMap = list(ontology.items())

    def prompts(self) -> list[str]:
        return [prompt for prompt, _ in self.promptMap]

    def classes(self) -> list[str]:
        return [name for _, name in self.promptMap]


@dataclass
class DetectionBaseModel(ABC):
    """A dataclass, as autodistill's is."""

    ontology: CaptionOntology

    def set_ontology(self, ontology: CaptionOntology) -> None:
        self.ontology = ontology

    @abstractmethod
    def predict(self, input: Any) -> sv.Detections: ...


def autodistill() -> dict[str, types.ModuleType]:
    return modules(
        autodistill__detection=dict(
            CaptionOntology=CaptionOntology, DetectionBaseModel=DetectionBaseModel
        )
    )


# ----------------------------------------------------- label-studio-ml 2.0, of GitHub
def parse_config(text: str) -> dict[str, dict]:
    """Control tags by name, as ``label_studio_sdk`` gives them."""
    root = ElementTree.fromstring(text)
    objects = {
        tag.get('name'): {'type': tag.tag, 'value': str(tag.get('value'))[1:]}
        for tag in root.iter()
        if tag.get('name') and tag.get('value')
    }
    return {
        str(tag.get('name')): {
            'type': tag.tag,
            'to_name': [tag.get('toName')],
            'inputs': [objects[tag.get('toName')]],
            'labels': [label.get('value') for label in tag],
            'labels_attrs': {label.get('value'): dict(label.attrib) for label in tag},
        }
        for tag in root.iter()
        if tag.get('toName')
    }


class LabelStudioMLBase:
    """One for each request; strings are kept by project."""

    kept: dict[tuple[str, str], str] = {}  # noqa: RUF012

    def __init__(self, project_id: str | None = None, label_config: str = '') -> None:
        self.project_id = project_id or ''
        self.set('parsed_label_config', json.dumps(parse_config(label_config)))

    @property
    def parsed_label_config(self) -> dict:
        return json.loads(self.get('parsed_label_config') or '{}')

    def get(self, key: str) -> str | None:
        return self.kept.get((self.project_id, key))

    def set(self, key: str, value: str) -> None:
        assert isinstance(value, str)
        self.kept[self.project_id, key] = value

    def get_local_path(self, url: str, task_id: int | None = None) -> str:
        assert task_id is not None  # needed for cloud storage
        return url


def label_studio() -> dict[str, types.ModuleType]:
    return modules(label_studio_ml__model=dict(LabelStudioMLBase=LabelStudioMLBase))


# ------------------------------------------------------------------- FiftyOne 1.22.1
class Detection:
    def __init__(self, label: str, bounding_box: list, confidence: float) -> None:
        self.label, self.bounding_box = label, bounding_box
        self.confidence = confidence


class Detections:
    def __init__(self, detections: list[Detection]) -> None:
        self.detections = detections


class FiftyOneModel:
    """``fiftyone.core.models.Model``: properties that a model has to have."""

    def __enter__(self) -> 'FiftyOneModel':
        return self

    def __exit__(self, *args: object) -> None: ...

    def predict_all(self, args: list) -> list:
        return [self.predict(arg) for arg in args]  # type: ignore[attr-defined]


def fiftyone() -> dict[str, types.ModuleType]:
    return modules(
        fiftyone=dict(Detection=Detection, Detections=Detections),
        fiftyone__core__models=dict(Model=FiftyOneModel),
    )


# ------------------------------------------------------- X-AnyLabeling-Server 0.0.10
REGISTERED: dict[str, type] = {}


def register_model(*names: str) -> Callable[[type], type]:
    def decorate(kind: type) -> type:
        REGISTERED.update(dict.fromkeys(names, kind))
        return kind

    return decorate


class BaseModel(ABC):
    def __init__(self, config: dict[str, Any]) -> None:
        self.config, self.model_id = config, config['model_id']
        self.display_name = config['display_name']
        self.params = config.get('params', {})

    @abstractmethod
    def load(self) -> None: ...

    @abstractmethod
    def predict(self, image: Any, params: dict) -> dict: ...

    @abstractmethod
    def unload(self) -> None: ...

    def get_metadata(self) -> dict[str, Any]:
        return {
            'display_name': self.display_name,
            'widgets': self.config.get('widgets', []),
            'params': self.params,
            'batch_processing_mode': self.config.get('batch_processing_mode'),
        }


@dataclass
class Shape:
    label: str
    shape_type: str
    points: list[list[float]]
    score: float | None = None

    def model_dump(self) -> dict[str, Any]:
        return dict(vars(self))


def x_anylabeling_server() -> dict[str, types.ModuleType]:
    return modules(
        app__core__registry=dict(register_model=register_model),
        app__models=dict(BaseModel=BaseModel),
        app__schemas__shape=dict(Shape=Shape),
    )
