"""Labels of points, XML files without a size, and paths in what is said."""

import pytest

from fgclip2_det.prepare.own_data import Findings, look


def test_points_of_a_skeleton_are_no_classes(tmp_path, draw):
    for i in range(2):
        draw(tmp_path / f'{i}.png', seed=i)
    labels = ''.join(
        f'<label><name>{name}</name>{parent}</label>'
        for name, parent in (
            ('cup', ''), ('bus', '<parent/>'), ('body', '<type>skeleton</type>'),
            ('nose', '<type>points</type><parent>body</parent>'),
        )
    )  # fmt: skip
    images = ''.join(
        f'<image id="{i}" name="{i}.png" width="48" height="32"><box label="cup" '
        'xtl="1" ytl="1" xbr="30" ybr="20"/><skeleton label="body"><points '
        'label="nose" points="1,1"/></skeleton></image>'
        for i in range(2)
    )
    text = f'<annotations><meta><task><labels>{labels}</labels></task></meta>{images}'
    (tmp_path / 'annotations.xml').write_text(f'{text}</annotations>')
    own = look(tmp_path)
    assert own.data.names == ['cup', 'bus', 'body'] and own.findings['shape'] == 2


BOX = """<object><name>cup</name><bndbox><xmin>3</xmin><ymin>3</ymin>
<xmax>20</xmax><ymax>20</ymax></bndbox></object>"""


@pytest.mark.parametrize('inner', ['<filename>0.png</filename>' + BOX, BOX])
def test_voc_without_sizes(tmp_path, draw, inner):
    for i in range(3):
        draw(tmp_path / f'{i}.png', seed=i)
        text = inner.replace('0.png', f'{i}.png') if i else '<filename>0.png</filename>'
        (tmp_path / f'{i}.xml').write_text(f'<annotation>{text}</annotation>')
    own = look(tmp_path)
    assert own.data.layout == 'PASCAL VOC' and own.findings['no_boxes'] == 1
    assert [len(image.boxes) for image in own.data.images] == [0, 1, 1]
    assert own.data.images[1].size == (48, 32) and not own.findings.is_wrong


def test_a_folder_goes_at_the_beginning_alone():
    findings = Findings('a/')
    for text in ('a/data/9.jpg', 'data/9.jpg', 'a/1.json and a/2.json: a/a/3.jpg'):
        findings.add('no_labels', text)
    shown = ['data/9.jpg', 'data/9.jpg', '1.json and 2.json: a/a/3.jpg']
    assert findings.first['no_labels'] == shown
