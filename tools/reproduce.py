"""Reproduce a published result: a detector on a benchmark, alone and re-scored."""

from _cli import run

if __name__ == '__main__':
    run('reproduce')
