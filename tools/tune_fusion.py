"""Compare fusion settings on a dump of tools/dump_scores.py, without a forward pass."""

from _cli import run

if __name__ == '__main__':
    run('tune_fusion')
