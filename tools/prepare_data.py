"""Convert annotations for training and evaluation, and check data sets."""

from _cli import run

if __name__ == '__main__':
    run('prepare_data')
