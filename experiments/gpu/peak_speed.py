"""The speed that a device reaches at most: by its data sheet, and measured on a large matrix product."""

import statistics
import time

import torch
from session import Session

PEAKS = {
    "NVIDIA H200": 989e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
}
"""Dense bfloat16 FLOP/s by NVIDIA's data sheets of the H200, the H100 SXM and the A100."""


def matrix_flops(session: Session) -> float:
    """The FLOP/s of a product of two large square matrices in bfloat16."""
    side = 128 if session.smoke else 8192
    left, right = (torch.randn(side, side, device=session.device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(3 if session.smoke else 23):
        session.synchronize()
        start = time.perf_counter()
        torch.matmul(left, right)
        session.synchronize()
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / statistics.median(seconds[2:])
