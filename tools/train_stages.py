"""Run several training configs in sequence, each from the previous one's model."""

from _cli import run

if __name__ == '__main__':
    run('train_stages')
