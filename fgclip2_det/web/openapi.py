"""OpenAPI's description of the JSON interface."""

from __future__ import annotations

from typing import Any

from fgclip2_det.version import __version__
from fgclip2_det.web.asks import THRESHOLD
from fgclip2_det.web.limits import NAME_LENGTH, Limits

NUMBER, TEXT, WHOLE = ({'type': t} for t in ('number', 'string', 'integer'))
NAMES = (
    "Names of objects, separated by ; or other signs: 'black cat; 白色杯子'. "
    "'sofa|couch' are names of one class, 'red {cup|plate}' of two."
)
NEGATIVES = "Names that compete and are not reported: 'shadow', or 'cup=glass; mug'."
LOWEST = 'Boxes with lower scores are left out.'
ERRORS = {
    400: 'a form that cannot be read',
    403: 'a request of another web site',
    404: 'an image that is not kept (any more): upload it again',
    408: 'a request that arrives too slowly',
    413: 'too many bytes or pixels',
    415: 'another kind of body',
    421: 'an address that is not this server',
    422: 'no image, names that cannot be asked for, too many of them, a path or URL',
    503: 'the queue is full: Retry-After says when to try again',
}


def description(limits: Limits) -> dict[str, Any]:
    """The document that ``/api/openapi.json`` answers with.

    Args:
        limits: of the server.
    """
    return {
        'openapi': '3.1.0',
        'info': {
            'title': 'fgclip2_det',
            'version': __version__,
            'description': (
                'Names in English or Chinese and images in, boxes out. One request '
                f'computes at a time, {limits.queue} are accepted; a request has at '
                f'most {limits.upload:,} bytes, {limits.images} images of '
                f'{limits.pixels:,} pixels and {limits.names} names. The last '
                f'{limits.kept} images are kept: other names for them are fast.'
            ),
        },
        'paths': {
            '/api/detect': {'post': _detect(limits)},
            '/api/explain': {'post': _explain(limits)},
            '/api/images': {'post': _add()},
            '/api/images/{key}': {'get': _picture()},
            '/api/info': {
                'get': _operation('Limits and the system', _object(
                    version=TEXT, limits={'type': 'object'}, system=TEXT,
                    shapes_only={'type': 'boolean'},
                ))
            },
            '/healthz': {
                'get': _operation('Whether it runs, and what waits', _object(
                    status=TEXT, version=TEXT, waiting=WHOLE, queue=WHOLE,
                    held_bytes=WHOLE, images=WHOLE, encoder_passes=WHOLE,
                    job_seconds=NUMBER,
                ))
            },
        },
        'components': {'schemas': _schemas()},
    }  # fmt: skip


def _detect(limits: Limits) -> dict[str, Any]:
    fields = _fields()
    form = {
        'image': _list({'type': 'string', 'format': 'binary'}, limits.images),
        'id': {**_list(TEXT, limits.images), 'description': 'of earlier images'},
        **fields,
        'names': {**TEXT, 'description': NAMES},
        'not': {**TEXT, 'description': NEGATIVES},
        'examples': {**TEXT, 'description': 'JSON, as in the other kind of body'},
    }
    body = {'images': _list(_ref('ImageInput'), limits.images), **fields}
    return {
        **_operation('Boxes of names in images', _ref('Answer')),
        'requestBody': _body({
            'multipart/form-data': _object(form, required=['names']),
            'application/json': _object(body, required=['images', 'names']),
        }),
    }  # fmt: skip


def _explain(limits: Limits) -> dict[str, Any]:
    index = {**WHOLE, 'description': 'of the detection in the answer, 0 for the first'}
    body = {'images': _list(_ref('ImageInput'), 1), **_fields(), 'index': index}
    return {
        **_operation('Why a box has its score', _ref('Explanation')),
        'requestBody': _body({
            'application/json': _object(body, required=['images', 'names', 'index'])
        }),
    }  # fmt: skip


def _add() -> dict[str, Any]:
    return {
        **_operation('Keep an image for later requests', _ref('Image')),
        'parameters': [{
            'name': 'name', 'in': 'query', 'schema': TEXT,
            'description': 'file name, for the answer',
        }],
        'requestBody': _body({'image/*': {'type': 'string', 'format': 'binary'}}),
    }  # fmt: skip


def _picture() -> dict[str, Any]:
    image = {'image/jpeg': {'schema': {'type': 'string', 'format': 'binary'}}}
    return {
        'summary': 'A kept image, upright',
        'parameters': [{'name': 'key', 'in': 'path', 'required': True, 'schema': TEXT}],
        'responses': {'200': {'description': 'JPEG', 'content': image}, **_errors()},
    }


def _fields() -> dict[str, Any]:
    aliases = {'type': 'array', 'items': TEXT}
    return {
        'names': {
            'description': NAMES + ' Or a list of names, or of lists of aliases.',
            'oneOf': [TEXT, _list({'oneOf': [TEXT, aliases]})],
        },
        'not': {'description': NEGATIVES, 'oneOf': [TEXT, _list(TEXT)]},
        'threshold': {**NUMBER, 'default': THRESHOLD, 'description': LOWEST},
        'examples': {
            **_list(_ref('Example')),
            'description': 'boxes of kept images that show what a name means',
        },
    }


def _schemas() -> dict[str, Any]:
    bbox = {**_list(NUMBER, 4), 'description': 'x1, y1, x2, y2 in pixels'}
    image = dict(
        id=TEXT, name=TEXT, width=WHOLE, height=WHOLE, notes=_list(TEXT)
    )  # fmt: skip
    candidate = dict(name=TEXT, cosine=NUMBER, similarity=NUMBER, det_score=NUMBER,
                     score=NUMBER)  # fmt: skip
    return {
        'Image': _object(image),
        'ImageInput': {
            'description': "the id of a kept image, or base64 of a file's bytes",
            **_object(id=TEXT, data=TEXT, name=TEXT),
        },
        'Example': _object(
            id={**TEXT, 'description': 'of a kept image'}, bbox=bbox,
            name={**TEXT, 'maxLength': NAME_LENGTH},
        ),
        'Detection': _object(name=TEXT, label=WHOLE, score=NUMBER, bbox=bbox),
        'Answer': _object(
            images=_list({'oneOf': [
                _object({**image, 'detections': _list(_ref('Detection'))}),
                _ref('Error'),
            ]}),
            names=_list(TEXT), threshold=NUMBER, notes=_list(TEXT),
            encoder_passes=WHOLE, seconds=NUMBER,
        ),
        'Candidate': _object(candidate),
        'Explanation': _object(
            image=TEXT, name=TEXT, bbox=bbox, score=NUMBER, fused=NUMBER,
            det_score=NUMBER, similarity=NUMBER, cosine=NUMBER, weight=NUMBER,
            rule=TEXT, background={'type': ['number', 'null']}, competing=NUMBER,
            names=_list(_ref('Candidate')), competitors=_list(_ref('Candidate')),
            texts=_list(_ref('Candidate')), heat=_list(_list(NUMBER)),
            heat_size=_list(NUMBER, 2),
        ),
        'Error': _object(error=TEXT, code=TEXT),
    }  # fmt: skip


def _operation(summary: str, answer: dict[str, Any]) -> dict[str, Any]:
    content = {'application/json': {'schema': answer}}
    done = {'200': {'description': 'done', 'content': content}}
    return {'summary': summary, 'responses': {**done, **_errors()}}


def _errors() -> dict[str, Any]:
    content = {'application/json': {'schema': _ref('Error')}}
    return {
        str(status): {'description': text, 'content': content}
        for status, text in ERRORS.items()
    }


def _body(kinds: dict[str, Any]) -> dict[str, Any]:
    content = {kind: {'schema': schema} for kind, schema in kinds.items()}
    return {'required': True, 'content': content}


def _object(
    properties: dict[str, Any] | None = None,
    required: list[str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    content: dict[str, Any] = {'type': 'object', 'properties': properties or more}
    return {**content, 'required': required} if required else content


def _list(items: dict[str, Any], most: int | None = None) -> dict[str, Any]:
    content: dict[str, Any] = {'type': 'array', 'items': items}
    return content if most is None else {**content, 'maxItems': most}


def _ref(name: str) -> dict[str, Any]:
    return {'$ref': f'#/components/schemas/{name}'}
