"""Write hard negatives, phrases with one attribute changed, into annotations."""

from _cli import run

if __name__ == '__main__':
    run('make_hard_negatives')
