"""Dump FG-CLIP 2's cosines for a detector's results, for tools/tune_fusion.py."""

from _cli import run

if __name__ == '__main__':
    run('dump_scores')
