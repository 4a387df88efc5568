"""Mix a detector's fine-tuned encoder with the one it started from (WiSE-FT)."""

from _cli import run

if __name__ == '__main__':
    run('wise_ft')
