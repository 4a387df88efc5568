#!/usr/bin/env bash
# torch 2.13.0: torch.optim.Muon computes its step in bfloat16, whatever the type of the parameters.
#
# The orthogonal factor of the momentum is found by five Newton-Schulz iterations, for which the matrix is cast to bfloat16 without
# an option or a word in the documentation. A step of float64 parameters then has eight significant bits: here it differs from the
# same iterations in float64 by 1.5 %, where AdamW's step keeps all digits. On a CPU that does not multiply bfloat16 (AVX2 only)
# the products ran 66 times slower than in float32: of a model with 2 M parameters a step took more than half of the time of its
# forward and backward passes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.2.6
"$folder/env/bin/python" - <<'PYTHON'
import torch


def reference(matrix: torch.Tensor) -> torch.Tensor:
    x = matrix / matrix.norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


print('torch', torch.__version__)
generator = torch.Generator().manual_seed(0)
start = torch.randn(64, 256, generator=generator, dtype=torch.float64)
grad = torch.randn(64, 256, generator=generator, dtype=torch.float64)
parameter = torch.nn.Parameter(start.clone())
parameter.grad = grad.clone()
torch.optim.Muon([parameter], lr=1.0, weight_decay=0.0, momentum=0.0, nesterov=False).step()
step = start - parameter.detach()
error = float((step - reference(grad)).norm() / reference(grad).norm())
rounded = float((step - step.bfloat16().double()).abs().max())
print(f'step of float64 parameters: relative error {error:.4f}, distance from bfloat16 numbers {rounded:.1e}')
assert 1e-3 < error < 5e-2, 'Muon no longer iterates in bfloat16'
assert rounded < 1e-12, 'its step has more digits than bfloat16'
other = torch.nn.Parameter(start.clone())
other.grad = grad.clone()
torch.optim.AdamW([other], lr=1.0, weight_decay=0.0).step()
exact = grad / (grad.abs() + 1e-8)
error = float((start - other.detach() - exact).norm() / exact.norm())
print(f"AdamW's: {error:.1e}")
assert error < 1e-12
PYTHON
