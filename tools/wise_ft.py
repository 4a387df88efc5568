"""Interpolate a fine-tuned encoder with its initial weights (WiSE-FT)."""

from _cli import run

if __name__ == '__main__':
    run('wise_ft')
