"""Pack training records and their images into tar shards.

Writes KEY.jpg and KEY.json of each record in WebDataset's layout, index.json with
counts, and for each shard a .npy file with the offsets of its samples. An interrupted
run continues when it is started again.
"""

import argparse

EXAMPLE = """example:
  python tools/convert_to_shards.py finehard/jsonfiles --images finehard/images \\
      --out data/finehard_shards
  python tools/convert_to_shards.py en.jsonl zh.json --images images --out shards \\
      --bad-records skip --max-per-shard 5000"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'records', nargs='+', help='.json, .jsonl, .txt that lists these, or a folder'
    )
    parser.add_argument('--images', required=True, help='folder that f_path is below')
    parser.add_argument('--out', required=True, help='folder of the shards')
    parser.add_argument(
        '--max-per-shard', type=int, default=10_000, help='samples; default: 10000'
    )
    parser.add_argument(
        '--max-bytes', type=int, default=1_000_000_000, help='default: 1000000000'
    )
    parser.add_argument(
        '--bad-records',
        choices=['raise', 'skip'],
        default='raise',
        help='stop at an invalid record, or skip and count it',
    )
    parser.add_argument(
        '--decode',
        action='store_true',
        help='decode every image to detect damaged ones',
    )
    parser.add_argument(
        '--allow-outside',
        action='store_true',
        help="pack images outside --images, too: '..', absolute paths, links",
    )
    parser.add_argument(
        '--verbose', action='store_true', help='show the traceback of an error'
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from pretrain.data import read_records, write_shards

    records = read_records(args.records)
    with tqdm(total=len(records), unit='record', disable=None) as bar:
        index = write_shards(
            records,
            args.images,
            args.out,
            max_per_shard=args.max_per_shard,
            max_bytes=args.max_bytes,
            bad_records=args.bad_records,
            decode=args.decode,
            progress=lambda done: bar.update(done - bar.n),
            allow_outside=args.allow_outside,
        )
    languages = ', '.join(f'{n} {name}' for name, n in index['languages'].items())
    print(
        f'{args.out}: {len(index["shards"])} shards, {index["samples"]} samples '
        f'({languages}), {index["bytes"]:,} bytes; left out: {index["num_bad"]}'
    )
