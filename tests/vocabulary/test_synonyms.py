"""Names of one class in the words of several data sets."""

from fgclip2_det.vocabulary import load_list
from fgclip2_det.vocabulary.synonyms import match_names, synonyms_of

# id2label of the released RT-DETR: COCO's 80 classes, six of them in VOC's words
RT_DETR = {
    'motorcycle': 'motorbike', 'airplane': 'aeroplane', 'couch': 'sofa',
    'potted plant': 'pottedplant', 'dining table': 'diningtable', 'tv': 'tvmonitor',
}  # fmt: skip


def test_every_class_of_coco_in_rt_detrs_words():
    coco = load_list('coco').names
    own = [RT_DETR.get(name, name) for name in coco]
    assert match_names([[name] for name in coco], own) == own
    assert match_names([[name] for name in own], coco) == list(coco)


def test_every_class_of_voc_in_cocos_words_and_back():
    voc, coco = load_list('voc').names, load_list('coco').names
    actual = match_names([[name] for name in voc], coco)
    assert None not in actual and len(set(actual)) == 20
    assert match_names([[name] for name in actual], voc) == list(voc)


def test_exact_names_come_first_and_none_serves_two():
    assert match_names([['couch'], ['sofa']], ['sofa']) == [None, 'sofa']
    assert match_names([['couch'], ['sofa']], ['sofa', 'couch']) == ['couch', 'sofa']
    assert match_names([['seat', 'chair'], ['chair']], ['chair']) == [None, 'chair']
    assert match_names([['traffic_light'], ['Cup']], ['cup', 'trafficlight']) == [
        'trafficlight',
        'cup',
    ]


def test_other_names_have_none():
    assert synonyms_of('red circle') == []
    assert 'sofa' in synonyms_of('Couch')
