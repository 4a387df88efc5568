"""Evaluate a checkpoint on the test data of a config."""

from _cli import run

if __name__ == '__main__':
    run('test')
