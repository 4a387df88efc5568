"""Add hard negatives, phrases with one changed attribute, to annotations."""

from _cli import run

if __name__ == '__main__':
    run('make_hard_negatives')
