"""Results of the stacks as Markdown and JSON."""

from __future__ import annotations

import json
from pathlib import Path

from stack_list import STACKS

STEPS = {  # heading of the column
    'install': 'install',
    'main job': 'main job, short',
    'checkpoint': 'checkpoint, base / novel AP50',
    'tests': 'tests',
    'comparison': 'against compiled ops',
}


def cell(result: dict, name: str) -> str:
    """A step in the table: its note, and how it ended where it did not pass."""
    for step in result['steps']:
        if step['name'] == name:
            words = [] if step['outcome'] == 'passed' else [step['outcome']]
            text = ': '.join([*words, *([step['note']] if step['note'] else [])])
            time = '' if step['outcome'] == 'not run' else f' ({step["seconds"]:.0f} s)'
            return (text or 'passed').replace('|', '/').replace('\n', ' ') + time
    return ''


def table(results: list[dict]) -> str:
    """Results as Markdown."""
    heads = ['stack', 'versions', *STEPS.values(), 'outcome']
    lines = [f'| {" | ".join(heads)} |', '|---' * len(heads) + '|']
    for result in results:
        versions = dict(result['versions'])
        ops = versions.pop('mmcv._ext', None)
        words = [f'{name} {version}' for name, version in versions.items()]
        words += ['compiled ops'] if ops and not ops.endswith('.py') else []
        cells = [f'`{result["name"]}`: {result["about"]}', ', '.join(words)]
        cells += [cell(result, name) for name in STEPS]
        lines.append('| ' + ' | '.join([*cells, f'**{result["outcome"]}**']) + ' |')
    return '\n'.join(lines) + '\n'


def read(out: Path) -> dict[str, dict]:
    """Results in stacks.json by the stack's name; none where there is no file."""
    path = out / 'stacks.json'
    rows = json.loads(path.read_text()) if path.exists() else []
    return {row['name']: row for row in rows}


def write(results: list[dict], out: Path) -> None:
    """stacks.json and stacks.md, earlier results of other stacks kept."""
    merged = read(out) | {result['name']: result for result in results}
    order = [stack.name for stack in STACKS]
    ordered = sorted(merged.values(), key=lambda r: order.index(r['name']))
    (out / 'stacks.json').write_text(json.dumps(ordered, indent=1) + '\n')
    (out / 'stacks.md').write_text(table(ordered))
