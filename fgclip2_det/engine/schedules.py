"""Rescale schedules, intervals and hooks to another training length."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LENGTHS = {'EpochBasedTrainLoop': 'max_epochs', 'IterBasedTrainLoop': 'max_iters'}
# keys of schedulers that are a time in the training, or a duration
PLACES = ('begin', 'end', 'milestones', 'total_steps', 'total_iters')
SPANS = ('T_max', 'step_size', 'step_size_up', 'periods')
HOOK_PLACES = (
    'switch_epoch', 'begin_epoch', 'begin_iter', 'save_begin', 'num_last_epochs',
)  # fmt: skip
_KNOWN = re.compile(
    '(Constant|CosineAnnealing|CosineRestart|Exponential|Linear|MultiStep|OneCycle|'
    'Poly|QuadraticWarmup|ReduceOnPlateau|Step|Triangular)(LR|Momentum|ParamScheduler)'
)
_ENDLESS = 10**9  # MMEngine's INF


def train_length(cfg: Mapping) -> tuple[str, int] | None:
    """``('max_epochs', 12)`` or ``('max_iters', 5000)`` of a config; None if not set.

    Raises:
        ValueError: if the length is in the unit of the other loop, or not a positive
            integer.
    """
    train = cfg.get('train_cfg') or {}
    loop = str(train.get('type', '')).split('.')[-1]
    own = LENGTHS.get(loop) or ('max_iters' if 'max_iters' in train else 'max_epochs')
    [other] = set(LENGTHS.values()) - {own}
    if loop in LENGTHS and train.get(other) is not None:
        raise ValueError(
            f'train_cfg.{other} is not for {loop}, which counts {own}; give '
            f'train_cfg.{own}, or change train_cfg.type and the schedule as well'
        )
    length = train.get(own)
    if length is None:
        return None
    if type(length) is not int or length < 1:
        raise ValueError(f'train_cfg.{own} must be 1 or more, got {length!r}')
    return own, length


def stretch_schedule(
    cfg: MutableMapping,
    old: tuple[str, int] | None,
    given: Collection[str] = (),
) -> list[str]:
    """Rescale schedules, validation and hooks to a changed training length.

    Scaled in proportion are ends and milestones of schedulers, the gamma of an
    exponential decay, ``val_interval`` if it was the whole training,
    ``dynamic_intervals`` and the epochs at which hooks switch. A warm-up keeps its
    length unless it would take more than half of the time to the next milestone.

    Args:
        cfg: config after options were merged; changed in place.
        old: :func:`train_length` before.
        given: dotted keys set by options; these are not changed.

    Returns:
        ``'param_scheduler.1.milestones [2] -> [8]'`` for each change.

    Raises:
        ValueError: if a scheduler cannot be rescaled: an unknown type, or one in epochs
            for a training in iterations.
    """
    new = train_length(cfg)
    if old is None or new is None or old == new:
        return []
    schedulers = [
        (key, scheduler)
        for key, scheduler in _schedulers(cfg)
        if not _covers(given, key)
    ]
    if old[0] != new[0]:
        if schedulers:
            raise ValueError(
                f'the training length changed from {old[0]} to {new[0]}, but its '
                'param_scheduler did not; set param_scheduler by an option as well'
            )
        return []
    change = _Change(old[1], new[1], set(given))
    in_epochs = new[0] == 'max_epochs'
    own = [s for _, s in schedulers if s.get('by_epoch', True) == in_epochs]
    warm_up = change.find_warm_up(own)
    for key, scheduler in schedulers:
        is_own = scheduler.get('by_epoch', True) == in_epochs
        if not is_own and not in_epochs:
            raise ValueError(
                f'{key} is in epochs but the training in iterations; set '
                f'{key}.by_epoch=False and give its milestones in iterations'
            )
        if is_own or not is_warm_up(scheduler):
            change.stretch_scheduler(key, scheduler, warm_up if is_own else None)
    change.stretch_loop(cfg['train_cfg'])
    for key, hook in _hooks(cfg):
        for name in HOOK_PLACES:
            change.move(key, hook, name)
    return change.moved


@dataclass
class _Change:
    """Change of a training's length.

    Args:
        old, new: lengths in epochs or in iterations.
        given: dotted keys that are not changed.
        moved: one message per change.
    """

    old: int
    new: int
    given: set[str]
    moved: list[str] = field(default_factory=list)

    def scaled(self, place: Any) -> Any:
        """Rescale a time in the training, or a list of times."""
        if isinstance(place, list | tuple):
            return type(place)(map(self.scaled, place))
        if type(place) is not int or not 0 < place < _ENDLESS:
            return place
        return max(1, (2 * place * self.new + self.old) // (2 * self.old))

    def move(self, key: str, part: MutableMapping, name: str) -> None:
        """Rescale one entry of a scheduler or hook."""
        if name in part:
            self.put(key, part, name, self.scaled(part[name]))

    def put(self, key: str, part: MutableMapping, name: str, value: Any) -> None:
        """Set one entry, unless it was set by an option."""
        if part[name] != value and not _covers(self.given, f'{key}.{name}'):
            self.moved.append(f'{key}.{name} {part[name]!r} -> {value!r}')
            part[name] = value

    def find_warm_up(self, schedulers: Sequence[Mapping]) -> tuple[int, int] | None:
        """(old end, new end) of the warm-up among schedulers of one unit."""
        ends = [s['end'] for s in schedulers if is_warm_up(s) and s['end'] < self.old]
        if not ends:
            return None
        end = max(ends)
        later = [self.new]
        for scheduler in schedulers:
            places = [scheduler.get('begin', 0), *scheduler.get('milestones', ())]
            later += [self.scaled(place) for place in places if place > end]
        return end, end if 2 * end <= min(later) else self.scaled(end)

    def stretch_scheduler(
        self, key: str, scheduler: MutableMapping, warm_up: tuple[int, int] | None
    ) -> None:
        """Rescale all times of a scheduler."""
        kind = str(scheduler['type']).split('.')[-1]
        if not _KNOWN.fullmatch(kind):
            raise ValueError(
                f'{key} is a {kind}, which cannot be rescaled to another training '
                f'length; set {key} by an option as well'
            )
        begin, end = scheduler.get('begin', 0), scheduler.get('end')
        for name in PLACES:
            if warm_up and scheduler.get(name) == warm_up[0]:
                self.put(key, scheduler, name, warm_up[1])
            else:
                self.move(key, scheduler, name)
        if type(scheduler.get('end')) is int:
            later = max(scheduler['end'], scheduler.get('begin', 0) + 1)
            self.put(key, scheduler, 'end', later)
        for name in SPANS:
            if end is not None and scheduler.get(name) == end - begin:
                span = scheduler['end'] - scheduler.get('begin', 0)
                self.put(key, scheduler, name, span)
            else:
                self.move(key, scheduler, name)
        if kind.startswith('Exponential') and 'gamma' in scheduler:
            gamma = scheduler['gamma'] ** (self.old / self.new)
            self.put(key, scheduler, 'gamma', gamma)

    def stretch_loop(self, train: MutableMapping) -> None:
        """Rescale the beginning and the intervals of validation."""
        if train.get('val_interval') == self.old:
            self.put('train_cfg', train, 'val_interval', self.new)
        if train.get('val_begin', 1) > 1:
            self.move('train_cfg', train, 'val_begin')
        if train.get('dynamic_intervals'):
            moved = [
                (self.scaled(place), self.new if interval == self.old else interval)
                for place, interval in train['dynamic_intervals']
            ]
            before = list(map(tuple, train['dynamic_intervals']))
            if moved != before:
                self.put('train_cfg', train, 'dynamic_intervals', moved)


def is_warm_up(scheduler: Mapping) -> bool:
    """Whether a scheduler is a warm-up at the beginning of the training."""
    kind = str(scheduler.get('type', '')).split('.')[-1]
    if scheduler.get('begin', 0) != 0 or type(scheduler.get('end')) is not int:
        return False
    if kind.startswith('Linear'):
        first = scheduler.get('start_factor', 1 / 3)
        return first < scheduler.get('end_factor', 1.0)
    if kind.startswith('Constant'):
        return scheduler.get('factor', 1 / 3) < 1
    return kind.startswith('QuadraticWarmup')


def _schedulers(cfg: Mapping) -> Iterator[tuple[str, MutableMapping]]:
    """(dotted key, scheduler) of one scheduler, a list, or a dict by optimizer."""
    stack = [('param_scheduler', cfg.get('param_scheduler') or [])]
    while stack:
        key, part = stack.pop(0)
        if isinstance(part, MutableMapping) and 'type' in part:
            yield key, part
        elif isinstance(part, Mapping):
            stack += [(f'{key}.{name}', item) for name, item in part.items()]
        else:
            stack += [(f'{key}.{number}', item) for number, item in enumerate(part)]


def _hooks(cfg: Mapping) -> Iterator[tuple[str, MutableMapping]]:
    for number, hook in enumerate(cfg.get('custom_hooks') or ()):
        yield f'custom_hooks.{number}', hook
    for name, hook in (cfg.get('default_hooks') or {}).items():
        if isinstance(hook, MutableMapping):
            yield f'default_hooks.{name}', hook


def _covers(given: Collection[str], key: str) -> bool:
    """Whether options have set a key or a dict that contains it."""
    parts = key.split('.')
    return any('.'.join(parts[:n]) in given for n in range(1, len(parts) + 1))
