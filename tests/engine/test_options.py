"""Words of --cfg-options: what they are read as."""

import pytest

from fgclip2_det.engine.options import (
    format_options,
    format_value,
    parse_options,
    parse_value,
)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        # Python literals, blanks and all
        ("['red circle']", ['red circle']),
        ('["it\'s", "a \\"b\\""]', ["it's", 'a "b"']),
        ("['白色 杯子', 'naïve café']", ['白色 杯子', 'naïve café']),
        ("'12'", '12'),
        ("'1,2'", '1,2'),
        ("'None'", 'None'),
        ("{'white rook': ['white', 'rook'], 'b': {'c': (1, 2)}}",
         {'white rook': ['white', 'rook'], 'b': {'c': (1, 2)}}),
        ('{}', {}),
        ('[]', []),
        ('()', ()),
        ('1e-3', 1e-3),
        ('-5', -5),
        ('1_000', 1000),
        ('[(1, 2), [a, b], c]', [(1, 2), ['a', 'b'], 'c']),
        # text stays as it was typed
        ('traffic light', 'traffic light'),
        ('/my data/coco 2017', '/my data/coco 2017'),
        ('12:30', '12:30'),
        ('007', '007'),
        ('1-2', '1-2'),
        ('1+2j', '1+2j'),
        ('...', '...'),
        ('v1.0.2', 'v1.0.2'),
        (r'C:\new\table', r'C:\new\table'),
        (r"'C:\new\table'", r'C:\new\table'),
        (r"['C:\new data\x1', '\\host']", [r'C:\new data\x1', '\\host']),
        ("don't", "don't"),
        ("dogs'", "dogs'"),
        ('a photo of a {}', 'a photo of a {}'),
        ('x (1)', 'x (1)'),
        ('smile :)', 'smile :)'),
        ('(a) or (b)', '(a) or (b)'),
        ('', ''),
        ('a=b', 'a=b'),
        # MMEngine's shorthand
        ('1,2', [1, 2]),
        ('a,b', ['a', 'b']),
        ('a,', ['a']),
        ('[a,b]', ['a', 'b']),
        ('(a,b)', ('a', 'b')),
        ('(1)', (1,)),
        ('(a)', ('a',)),
        ('(1,2),(3,4)', [(1, 2), (3, 4)]),
        ('[(1,2,3),[a,b],c]', [(1, 2, 3), ['a', 'b'], 'c']),
        ('[traffic light, stop sign]', ['traffic light', 'stop sign']),
        ("[a, 'b, c', don't]", ['a', 'b, c', "don't"]),
        ('true', True),
        ('False', False),
        ('TRUE,none,None', [True, 'none', None]),
        ('inf', float('inf')),
    ],
)  # fmt: skip
def test_values(text, value):
    actual = parse_value(text)
    assert actual == value and type(actual) is type(value)
    assert repr(actual) == repr(value)
    assert parse_value(format_value(value)) == value


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[a,b', 'do not match'),
        ('(a,[b)', 'do not match'),
        ('{white rook: [white, rook]}', 'put names in quotes'),
        ("{'a': b, 'c': d}", 'put names in quotes'),  # MMEngine: RecursionError
        ('[' * 5000 + ',', 'too deep'),
    ],
)
def test_what_cannot_be_meant(text, message):
    with pytest.raises(ValueError, match=message):
        parse_value(text)


def test_mmengine_reads_plain_words_alike():
    action = pytest.importorskip('mmengine.config').DictAction
    for text in ('3', '0.5', '1,2', '[1,2]', '(1,2)', '[a,b]', 'a,b', '(a,b)', 'x',
                 '[(1,2),(3,4)]', 'true', 'False', 'None', '[[1,a],None]', '1e5',
                 '-1', '[]', '(2,)', 'mmdet.A', '/a/b.py', 'None,1'):  # fmt: skip
        theirs = action._parse_iterable(text)
        assert repr(parse_value(text)) == repr(theirs), text


def test_words():
    words = ["names=['red circle']", 'a.b=x=y', 'c=']
    options = {'names': ['red circle'], 'a.b': 'x=y', 'c': ''}
    assert parse_options(words) == options
    assert parse_options(format_options(options)) == options
    for wrong in ('a', '=1', 'a=[1,'):
        with pytest.raises(ValueError):
            parse_options([wrong])
    with pytest.raises(ValueError, match='cannot be written'):
        format_options({'a': object()})
