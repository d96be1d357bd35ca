"""The twin of `benches/optimizers.rs`: a step over 25 M parameters, 32 bits by PyTorch (fused where it has that), 8 bits by bitsandbytes.

Prints `{"row": NAME, "ms": MEDIAN}` a row.
"""

import json
import statistics
import time

import bitsandbytes
import torch

SHAPES = [shape for _ in range(24) for shape in ((1024, 1024), (1024,))]
STEPS = 7
ROWS = {
    "adamw of 32 bits, 25M": lambda p: torch.optim.AdamW(p, lr=1e-3, fused=True),
    "adamw of 8 bits, 25M": lambda p: bitsandbytes.optim.AdamW8bit(p, lr=1e-3),
    "lion of 8 bits, 25M": lambda p: bitsandbytes.optim.Lion8bit(p, lr=1e-4),
    "momentum of 32 bits, 25M": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, fused=True),
    "momentum of 8 bits, 25M": lambda p: bitsandbytes.optim.SGD8bit(p, lr=1e-3, momentum=0.9),
}

for name, make in ROWS.items():
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter) * 0.01
    optimizer = make(parameters)
    times = []
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        optimizer.step()
        times.append(time.perf_counter() - start)
    print(json.dumps({"row": name, "ms": 1e3 * statistics.median(times[1:])}), flush=True)
