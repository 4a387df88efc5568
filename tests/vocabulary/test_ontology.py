"""Ontologies: files of classes, and what is wrong with some of them."""

import json

import pytest

from fgclip2_det.vocabulary.ontology import Ontology, OntologyClass
from fgclip2_det.vocabulary.ontology_file import as_ontology, read_ontology

FULL = """
classes:
  cup:
    prompts: [cup, mug|杯子, 'red {cup|mug}', Cup]
    negatives: glass; 玻璃杯
    images: ['desk.jpg:40,60,120,150', {image: sub/sink.jpg, box: [1, 2, 3, 4.5]}]
    weight: 0.7
    threshold: 0.6
    review: 0.2
    name_zh: 杯子
  no: black cat; 黑猫
  007: [007]
  thing: {images: ['desk.jpg:1,2,3,4']}
negatives: [shadow]
"""


def test_a_full_file(tmp_path):
    """Words as they are written; several prompts; images beside the file."""
    path = tmp_path / 'classes.yaml'
    path.write_text(FULL, 'utf-8')
    own = read_ontology(path)
    assert own.names == ['cup', 'no', '007', 'thing']
    cup, cat, _, thing = own.classes
    assert cup.prompts == ('cup', 'mug', '杯子', 'red cup', 'red mug')
    assert cup.negatives == ('glass', '玻璃杯') and own.negatives == ('shadow',)
    assert cup.examples == (
        (str(tmp_path / 'desk.jpg'), (40.0, 60.0, 120.0, 150.0)),
        (str(tmp_path / 'sub/sink.jpg'), (1.0, 2.0, 3.0, 4.5)),
    )
    assert (cup.weight, cup.threshold, cup.review, cup.name_zh) == (
        0.7, 0.6, 0.2, '杯子',
    )  # fmt: skip
    assert cat.prompts == ('black cat', '黑猫') and cat.threshold is None
    assert thing.texts == ['thing']
    vocabulary = own.vocabulary()
    assert vocabulary.aliases[0] == list(cup.prompts)
    assert vocabulary.negatives.texts == ('glass', '玻璃杯', 'shadow')
    again = Ontology.from_dict(json.loads(json.dumps(own.to_dict())), own.source)
    assert again == own
    asked = []
    own.vocabulary(lambda prompts: asked.extend(prompts))
    assert [(p.name, p.text, p.weight) for p in asked] == [
        ('cup', 'cup', 0.7), ('thing', None, 0.5),
    ]  # fmt: skip


CAPTIONS = {'a ceramic mug': 'cup', '杯子': 'cup', 'a bag, on the floor': 'bag'}


@pytest.mark.parametrize('name', ['a.yaml', 'a.json', None])
def test_captions_of_autodistill(tmp_path, name):
    """Prompt -> class; several prompts of one class; a comma does not split."""
    given = CAPTIONS
    if name:
        given = tmp_path / name
        given.write_text(json.dumps(CAPTIONS, ensure_ascii=False), 'utf-8')
    own = as_ontology(given)
    assert own.names == ['cup', 'bag']
    assert own.aliases == [['a ceramic mug', '杯子'], ['a bag, on the floor']]


@pytest.mark.parametrize(
    'given',
    ['cup|杯子; cat', [['cup', '杯子'], 'cat'], {'classes': ['cup|杯子', 'cat']}],
)
def test_names_alone(given):
    own = as_ontology(given)
    assert own.aliases == [['cup', '杯子'], ['cat']]
    assert as_ontology(own) is own


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('classes: {cup: [a], Cup: [b]}', "class 'Cup' is there twice .also as 'cup'."),
        ('a: cup\na: dog', "line 2: 'a' is there twice; join the two"),
        ('classes: {cup: [a], dog: [A]}', "class 'dog': the prompt 'A' is one of"),
        ('classes: {cup: }', "class 'cup' has no prompts and no images"),
        ('classes: {cup: {}}', "class 'cup' has no prompts and no images"),
        ('classes: {cup: {promts: [a]}}', "class 'cup': unknown key 'promts'; known"),
        ('classes: {a: b}\nthreshold: 1', "unknown key 'threshold'; known are classes"),
        ('classes: {cup: {prompts: [a], threshold: 2}}', 'threshold must be a number'),
        ('classes: {cup: {prompts: [a], threshold: .1, review: .2}}', 'is above'),
        ('classes: {cup: {prompts: [a], weight: 0}}', 'weight must be above 0'),
        ('classes: {cup: [[a]]}', 'prompts must be texts'),
        ('classes: {cup: ["a|"]}', "empty prompt beside"),
        ('classes: {cup: ["{a"]}', 'braces that are nested or not closed'),
        ('classes: {cup: {prompts: [a], negatives: {b: c}}}', 'negatives must be'),
        ('classes: {cup: {prompts: [a], negatives: [A]}}', "'A' is asked for and"),
        ('classes: {cup: {images: [a.jpg]}}', "an image is written 'desk.jpg:x1"),
        ('classes: {cup: {images: [{image: a, box: [1, 2]}]}}', 'an image is written'),
        ('classes: {"a\\tb": [c]}', 'printable characters'),
        ('classes: [{prompts: [a]}]', "entry 0 of 'classes'"),
        ('classes: []', 'has no classes'),
        ('cup: [a]', "must have 'classes'"),
        ('', "must have 'classes'"),
        ('"": cup', 'expected a prompt and its class'),
        ('classes: [', 'cannot be read as YAML'),
        ('[' * 500, 'nested too deeply'),
        ('!!python/object/apply:os.system [echo]', "must have 'classes'"),
    ],
)  # fmt: skip
def test_faults_name_file_and_entry(tmp_path, text, message):
    path = tmp_path / 'classes.yaml'
    path.write_text(text, 'utf-8')
    with pytest.raises(ValueError, match=message) as caught:
        read_ontology(path)
    assert str(caught.value).startswith(str(path)) and '\n' not in str(caught.value)


def test_faults_of_json_and_missing_files(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text('{"classes": {"a": ["b"], "a": ["c"]}}')
    with pytest.raises(ValueError, match=r"a\.json: 'a' is there twice"):
        read_ontology(path)
    path.write_text('{"a": ')
    with pytest.raises(ValueError, match='cannot be read as JSON'):
        read_ontology(path)
    path.write_text('{"classes": {"a": {"prompts": ["b"], "threshold": true}}}')
    with pytest.raises(ValueError, match='threshold must be a number from 0 to 1'):
        read_ontology(path)
    with pytest.raises(ValueError, match=r'absent\.yaml cannot be read'):
        as_ontology('absent.yaml')


def test_ten_thousand_names():
    own = as_ontology([f'thing {i}' for i in range(10_000)])
    assert len(own.aliases) == 10_000
    with pytest.raises(ValueError, match='there twice'):
        Ontology((*own.classes[:9], OntologyClass('thing 7', ('x',))))
