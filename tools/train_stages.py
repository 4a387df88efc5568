"""Run several training configs in a row, each from the model that the last one made."""

from _cli import run

if __name__ == '__main__':
    run('train_stages')
