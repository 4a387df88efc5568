"""Name objects and get boxes in a browser, and for programs as JSON.

The page and the interface (/api) answer on this computer only, until Ctrl-C.
"""

import argparse
from typing import TYPE_CHECKING

from fgclip2_det.cli.detect import PHOTOGRAPHS, add_system_options, build

if TYPE_CHECKING:
    from fgclip2_det.web.limits import Limits

EXAMPLE = f"""examples:
  fgclip2-det serve
  fgclip2-det serve --weights work_dirs/ovd_fgclip2/epoch_2.pth --port 8001
  python tools/serve.py {PHOTOGRAPHS}"""
LOOPBACK = ('127.0.0.1', 'localhost', '::1')
MEGABYTE = 1 << 20


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add_system_options(parser, saved=False)
    add('--port', type=_port, default=8000, help='0: a free one; default: 8000')
    add('--host', default='127.0.0.1', metavar='ADDRESS',
        help='address to listen on; default: 127.0.0.1, this computer only. There is '
             'no password: on another address, whoever reaches it may '
             'use it')  # fmt: skip
    add('--allow-host', action='append', default=[], metavar='NAME',
        help='a further name that browsers may open the page by; may be given several '
             'times')  # fmt: skip
    limits = parser.add_argument_group('limits').add_argument
    limits('--max-upload', type=_count, default=32, metavar='MB',
           help='of a request; default: 32')  # fmt: skip
    limits('--max-pixels', type=_count, default=25, metavar='MILLION',
           help='of an image; default: 25')  # fmt: skip
    limits('--max-images', type=_count, default=16, metavar='N',
           help='of a request; default: 16')  # fmt: skip
    limits('--max-names', type=_count, default=200, metavar='N',
           help='of a request, with negatives and examples; default: 200')  # fmt: skip
    limits('--queue', type=_count, default=64, metavar='N',
           help='requests accepted at a time, of which one computes; further ones are '
                'answered with 503; default: 64')  # fmt: skip
    limits('--max-waiting', type=_count, default=256, metavar='MB',
           help='uploads of all accepted requests; default: 256')  # fmt: skip
    limits('--keep', type=_count, default=8, metavar='N',
           help='images whose pixels and features stay in memory, so that other names '
                'are fast; default: 8')  # fmt: skip
    add('--verbose', action='store_true', help='show the traceback of an error')
    parser.set_defaults(ann=None)  # saved results have no new images
    return parser


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f'expected 1 or more, got {word}')
    return int(word)


def _port(word: str) -> int:
    if not word.isdecimal() or int(word) > 65535:
        raise argparse.ArgumentTypeError(f'expected 0 to 65535, got {word}')
    return int(word)


def main(args: argparse.Namespace) -> None:
    limits = _limits(args)
    try:
        from fgclip2_det.web.server import open_socket, serve
    except ImportError as error:
        raise ImportError(
            f"the page needs the extra 'web' ({error}): pip install 'fgclip2_det[web]'"
        ) from None
    from fgclip2_det.web.service import Service

    with open_socket(args.host, args.port) as listener:
        service = Service(build(args), limits)
        address = _address(args.host, listener.getsockname()[1])
        print(f'open {address} (Ctrl-C ends it)', flush=True)
        if args.host not in LOOPBACK:
            print(f'whoever reaches {args.host} may use it: there is no password')
        serve(service, listener, _hosts(args), _about(args))


def _limits(args: argparse.Namespace) -> 'Limits':
    from fgclip2_det.web.limits import Limits

    return Limits(
        upload=args.max_upload * MEGABYTE,
        pixels=args.max_pixels * 1_000_000,
        images=args.max_images,
        names=args.max_names,
        queue=args.queue,
        uploads=args.max_waiting * MEGABYTE,
        kept=args.keep,
    )


def _hosts(args: argparse.Namespace) -> set[str]:
    return {*LOOPBACK, args.host, *args.allow_host}


def _address(host: str, port: int) -> str:
    return f'http://[{host}]:{port}' if ':' in host else f'http://{host}:{port}'


def _about(args: argparse.Namespace) -> dict[str, object]:
    """What the page says of the system; without folders."""
    shapes_only = args.detector is None and args.weights is None
    name = args.detector or args.weights or 'embedded'
    return {'system': name.replace('\\', '/').rpartition('/')[2],
            'shapes_only': shapes_only}  # fmt: skip
