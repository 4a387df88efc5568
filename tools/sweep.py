"""Train several configs with several seeds, and compare them in one table."""

from _cli import run

if __name__ == '__main__':
    run('sweep')
