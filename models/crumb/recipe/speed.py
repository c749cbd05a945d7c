"""How fast PyTorch's matrix products are at the shapes of the training step: beside it,
`cargo bench -p hardtack-converter --bench graph` (set RAYON_NUM_THREADS to the same number of threads).
"""

import statistics
import sys
import time

import torch

TOKENS, SHAPES, RUNS = 4096, [(256, 256), (256, 512), (512, 256)], 15

torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
for dtype in (torch.float32, torch.bfloat16):
    seconds = []
    for _ in range(RUNS):
        own = 0.0
        for columns, rows in SHAPES:
            x = torch.randn(TOKENS, columns, dtype=dtype, requires_grad=True)
            w = torch.randn(rows, columns, dtype=dtype, requires_grad=True)
            began = time.monotonic()
            (x @ w.t()).sum().backward()
            own += time.monotonic() - began
        seconds.append(own)
    operations = sum(3 * 2 * TOKENS * rows * columns for columns, rows in SHAPES)
    print(f"PyTorch {dtype}: {operations / statistics.median(seconds) / 1e9:.1f} GFLOP/s")
