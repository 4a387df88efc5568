"""Make annotation files for training and evaluation, and check what is there."""

from _cli import run

if __name__ == '__main__':
    run('prepare_data')
