"""The machine learning backend of Label Studio: 1.0.9 of the registry, 2.0's form."""

import sys

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

CONFIG = """<View>
  <Image name="image" value="$picture"/>
  <TextArea name="prompt" toName="image" editable="true" maxSubmissions="1"/>
  <RectangleLabels name="label" toName="image">
    <Label value="Disk" predicted_values="red circle, 红色圆形"/>
    <Label value="蓝色正方形"/>
  </RectangleLabels>
</View>"""


def typed(*words: str) -> dict:
    return {'result': [{'type': 'textarea', 'value': {'text': list(words)}}]}


def labels(prediction: dict) -> list[str]:
    return [row['value']['rectanglelabels'][0] for row in prediction['result']]


@pytest.fixture
def stand_in(bridge):
    """Function: (context, project) -> prediction, of a backend per request."""
    module = bridge('label_studio_backend.py', '', 'label_studio')

    def ask(path, context=None, project='1', config=CONFIG):
        task = {'id': 7, 'data': {'picture': str(path)}}
        backend = module.FGCLIP2Backend(project, config)
        return backend.predict([task], context=context)[0]

    return ask


def test_labels_of_the_project_are_detected(stand_in, shapes):
    prediction = stand_in(shapes / 'shapes.png')
    assert labels(prediction) == ['Disk', '蓝色正方形']
    first = prediction['result'][0]
    assert (first['from_name'], first['to_name']) == ('label', 'image')
    assert (first['original_width'], first['original_height']) == (300, 200)
    assert first['value']['x'] == pytest.approx(100 * 30 / 300, abs=3)
    assert first['value']['height'] == pytest.approx(100 * 80 / 200, abs=5)
    assert prediction['score'] == first['score'] > 0.3


def test_a_prompt_is_kept_for_the_next_tasks(stand_in, shapes):
    path = shapes / 'shapes.png'
    assert labels(stand_in(path, typed('蓝色正方形'))) == ['蓝色正方形']
    assert labels(stand_in(path)) == ['蓝色正方形']
    with pytest.raises(ValueError, match="'dog' is no label of the project"):
        stand_in(path, typed('dog'))
    assert labels(stand_in(path)) == ['蓝色正方形']  # still the one before
    assert labels(stand_in(path, project='2')) == ['Disk', '蓝色正方形']
    assert labels(stand_in(path, typed('Disk=blue square|蓝色正方形'))) == ['Disk']


@pytest.mark.parametrize('words', ['red circle, ', ',red circle'])
def test_empty_predicted_values(stand_in, shapes, words):
    config = CONFIG.replace('red circle, 红色圆形', words)
    assert labels(stand_in(shapes / 'shapes.png', config=config))[0] == 'Disk'
    config = CONFIG.replace('red circle, 红色圆形', ' , ')
    stand_in(shapes / 'shapes.png', config=config)  # the label's own text


def test_a_project_without_rectangles(stand_in, shapes):
    config = '<View><Image name="image" value="$picture"/></View>'
    with pytest.raises(ValueError, match='no RectangleLabels'):
        stand_in(shapes / 'shapes.png', config=config)


def test_label_studio_accepts_the_predictions(stand_in, shapes):
    """By its own check; and its parser reads labeling interfaces as the stand-in's."""
    pytest.importorskip('label_studio_sdk', reason='needs label-studio-sdk')
    from label_studio_sdk._extensions.label_studio_tools.core import label_config
    from label_studio_sdk.label_interface import LabelInterface

    interface = LabelInterface(config=CONFIG)
    prediction = stand_in(shapes / 'shapes.png')
    assert interface.validate_prediction(prediction, return_errors=True) == []
    prediction['result'][0]['value']['rectanglelabels'] = ['Cup']
    assert not interface.validate_prediction(prediction)
    own = sys.modules['label_studio_ml.model'].LabelStudioMLBase('3', CONFIG)
    parsed = label_config.parse_config(CONFIG)
    for tag in parsed.values():
        tag['inputs'][0].pop('valueType', None)
    assert own.parsed_label_config == parsed


def test_requests_to_the_server_of_the_registry(bridge, shapes, hosted, tmp_path,
                                                monkeypatch):  # fmt: skip
    """label-studio-ml 1.0.9 answers what Label Studio asks."""
    monkeypatch.chdir(tmp_path)
    module = bridge('label_studio_backend.py', 'label_studio_ml.api', 'real')
    from label_studio_ml.api import init_app

    client = init_app(model_class=module.FGCLIP2Backend).test_client()
    asked = dict(project='1.1', schema=CONFIG, hostname='', access_token='')
    assert client.post('/setup', json=asked).status_code == 200

    def ask(context=None):
        task = {'id': 7, 'data': {'picture': f'{hosted(shapes)}/shapes.png'}}
        request = dict(tasks=[task], project='1.1', label_config=CONFIG,
                       params={'context': context})  # fmt: skip
        return client.post('/predict', json=request)

    assert labels(ask().json['results'][0]) == ['Disk', '蓝色正方形']
    assert labels(ask(typed('蓝色正方形')).json['results'][0]) == ['蓝色正方形']
    refused = ask(typed('dog'))
    assert refused.status_code == 500
    assert "'dog' is no label of the project" in refused.json['detail']
    assert labels(ask().json['results'][0]) == ['蓝色正方形']
