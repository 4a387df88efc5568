"""The command: from its options to a plan, and what of it is done."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.reproduce import checklist
from fgclip2_det.reproduce.benchmarks import BENCHMARKS
from fgclip2_det.reproduce.costs import cost_of, format_cost
from fgclip2_det.reproduce.detecting import parse_detector
from fgclip2_det.reproduce.dry_run import dry_plan
from fgclip2_det.reproduce.releases import DETECTORS, ENCODERS
from fgclip2_det.reproduce.run import Plan, check_plan, parse_share, run

VARIABLE = 'FGCLIP2_WEIGHTS'


def reproduce(args: Namespace) -> None:
    """Check, compute the cost, or run.

    Raises:
        InputError: unknown names, numbers that cannot be, and what is missing.
    """
    plan = plan_of(args)
    if args.cost:
        cost = cost_of(plan, args.tflops, args.efficiency)
        print(format_cost(cost))
        if args.json:
            write_atomic(args.json, json.dumps(cost.figures(), indent=1).encode())
        return
    if args.json:
        raise InputError('--json takes the figures of --cost; add --cost')
    if args.dry_run:
        plan = dry_plan(plan)
    found = check_plan(plan)
    print(checklist.table(found.needs))
    questions = checklist.require(found)
    if not args.check:
        run(plan, questions)


def plan_of(args: Namespace) -> Plan:
    """The plan of options; InputError for those that cannot be meant."""
    benchmark = _chosen('benchmark', args.benchmark, BENCHMARKS)
    encoder = _chosen('encoder', args.encoder, ENCODERS)
    detector, result_list = parse_detector(args.detector, DETECTORS)
    for name in ('shard_size', 'limit'):
        value = getattr(args, name)
        if value is not None and value < 1:
            option = name.replace('_', '-')
            raise InputError(f'--{option} must be at least 1, got {value}')
    weights = args.weights or Path(os.environ.get(VARIABLE) or 'weights')
    return Plan(
        benchmark=benchmark,
        detector=detector,
        detector_release=None if result_list else DETECTORS[detector],
        result_list=result_list,
        encoder=args.encoder,
        encoder_release=encoder,
        data_root=args.data_root,
        weights=weights,
        out=args.out,
        shard_size=args.shard_size,
        share=parse_share(args.shards),
        limit=args.limit,
        device=args.device,
    )


def _chosen(what: str, name: str, known: Mapping):
    if name not in known:
        raise InputError(f'{what} must be one of {", ".join(known)}, got {name!r}')
    return known[name]
