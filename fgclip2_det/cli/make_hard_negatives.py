"""Add hard negatives, phrases with one changed attribute, to annotations.

Boxes in FineHARD's format get short_expr_negs and flag_short_neg from word lists, in
English and Chinese; no language model is needed: see vocabulary/hard_negatives.
"""

import argparse
import signal
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from multiprocessing import Pool
from pathlib import Path

EXAMPLE = """example:
  python tools/make_hard_negatives.py train.json --out train_negs.json
  python tools/make_hard_negatives.py train/ --out train_negs/ --forbidden novel.txt"""
ENDINGS = ('.json', '.jsonl')
CHUNK = 256  # records per task of a worker
WINDOW = 64 * CHUNK  # records in memory at a time


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('ann', type=Path, help='.json, .jsonl, or a folder of them')
    parser.add_argument(
        '--out', type=Path, required=True, help='file of the same kind, or folder'
    )
    parser.add_argument(
        '--in-place', action='store_true', help='--out may be the input itself'
    )
    parser.add_argument('--num', type=int, default=10, help='per phrase; default: 10')
    parser.add_argument(
        '--min-num',
        type=int,
        default=1,
        help='a phrase with fewer negatives gets none; 10 for code that needs ten',
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--expr', choices=['short', 'long', 'both'], default='short')
    parser.add_argument(
        '--language',
        choices=['auto', 'en', 'zh'],
        default='auto',
        help='auto: Chinese if a record has is_cn or a phrase has Chinese characters',
    )
    parser.add_argument(
        '--forbidden',
        type=Path,
        help='file of names, one per line, that no negative may contain: novel classes',
    )
    parser.add_argument('--lexicon', type=Path, help='JSON file with more words')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace existing negatives'
    )
    parser.add_argument(
        '--workers', type=int, default=0, help='worker processes; 0: this process'
    )
    parser.add_argument(
        '--verbose', action='store_true', help='show the traceback of an error'
    )
    return parser


def find_files(ann: Path, out: Path) -> list[tuple[Path, Path]]:
    """Pairs of (input, output) files."""
    if ann.is_dir():
        files = sorted(path for path in ann.iterdir() if path.suffix in ENDINGS)
        if not files:
            raise ValueError(f'folder {ann} holds no .json or .jsonl files')
        if out.is_file():
            raise ValueError(f'--out {out} is a file, but {ann} is a folder')
        return [(path, out / path.name) for path in files]
    if not ann.is_file():
        raise ValueError(f'{ann} does not exist')
    for path in (ann, out):
        if path.suffix not in ENDINGS:
            raise ValueError(f'{path} must end in .json or .jsonl')
    return [(ann, out)]


def fill(job: tuple[str, dict], fill_record: partial) -> tuple[str, dict]:
    """A record as JSON with negatives, and its counts."""
    from fgclip2_det.io.json_writing import dumps

    name, record = job
    try:
        counts = fill_record(record)
        return dumps(record), dict(counts)
    except ValueError as error:
        raise ValueError(f'{name}: {error}') from None


def convert(source: Path, target: Path, fill_record: partial, workers: int) -> Counter:
    """Write the records of a file with negatives, and count its phrases."""
    from tqdm import tqdm

    from fgclip2_det.io.atomic import open_atomic
    from pretrain.data.record_files import read_records

    records = read_records(source)
    jobs = ((records.name(n), record) for n, record in enumerate(records))
    task = partial(fill, fill_record=fill_record)
    counts: Counter = Counter(records=len(records))
    is_list = target.suffix == '.json'
    processes = _NoPool()
    if workers:  # Ctrl-C is the first process's business
        processes = Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    with open_atomic(target) as file, processes as pool:
        windows = iter(lambda: list(islice(jobs, WINDOW)), [])
        results = chain.from_iterable(pool.imap(task, w, CHUNK) for w in windows)
        bar = tqdm(results, source.name, len(records), unit='record', disable=None)
        file.write(b'[\n' if is_list else b'')
        for number, (text, counted) in enumerate(bar):
            file.write(b',\n' if is_list and number else b'')
            file.write((text if is_list else f'{text}\n').encode())
            counts.update(counted)
        file.write(b'\n]\n' if is_list else b'')
    return counts


class _NoPool:
    """Stand-in for a process pool that works in this process."""

    def __enter__(self):
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def imap(self, function, jobs, chunk: int) -> Iterator:
        return map(function, jobs)


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.io.text import read_text
    from pretrain.hard_negatives import HardNegativeWriter, fill_record

    for name, value, least in (
        ('min-num', args.min_num, 1),
        ('workers', args.workers, 0),
    ):
        if value < least:
            raise ValueError(f'--{name} must be at least {least}, got {value}')
    if args.min_num > args.num:
        raise ValueError(f'--min-num {args.min_num} is more than --num {args.num}')
    folders = args.out.is_dir() and args.ann.is_dir()
    if folders and not args.in_place and args.out.samefile(args.ann):
        raise ValueError(
            f'--out {args.out} is the folder of the input and its files would be '
            'replaced; name another folder, or add --in-place'
        )
    files = find_files(args.ann, args.out)
    names = read_text(args.forbidden) if args.forbidden else ''
    names = [line.strip() for line in names.splitlines() if line.strip()]
    writer = HardNegativeWriter(args.num, args.seed, names, args.lexicon)
    task = partial(
        fill_record,
        writer=writer,
        expressions=('short', 'long') if args.expr == 'both' else (args.expr,),
        language=None if args.language == 'auto' else args.language,
        overwrite=args.overwrite,
        min_num=args.min_num,
    )
    total: Counter = Counter()
    for source, target in files:
        total += convert(source, target, task, args.workers)
    report(total, args)


def report(total: Counter, args: argparse.Namespace) -> None:
    phrases = sum(total[key] for key in ('full', 'fewer', 'none', 'kept', 'absent'))
    print(f'{total["records"]} records, {phrases} phrases of boxes')
    print(f'  {total["full"]} got {args.num} negatives')
    print(f'  {total["fewer"]} got fewer')
    print(f'  {total["none"]} got none: too few attributes')
    print(f'  {total["kept"]} kept their existing negatives')
    print(f'  {total["absent"]} boxes have no phrase')
    if total['forbidden']:
        print(
            f'warning: {total["forbidden"]} of those kept contain forbidden names; '
            '--overwrite replaces them'
        )
    print(f'wrote {args.out}')
