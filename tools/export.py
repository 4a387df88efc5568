"""Export a detector or an encoder as ONNX, for a runtime without PyTorch."""

from _cli import run

if __name__ == '__main__':
    run('export')
