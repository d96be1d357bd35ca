"""What is wanted of each row, and what limits it.

`Want(ratio, flops, bytes)`: the ratio PyTorch's time / our time to reach; operations or bytes of memory that one call
cannot do without, for the share of the machine's limit. Without an entry nothing under 1 is good enough.
"""

from dataclasses import dataclass

M = 1 << 20
NET = 3 * 256 + 2 * 65536 + 512
PARAMETERS = 24 * (1024 * 1024 + 1024)


@dataclass(frozen=True)
class Want:
    ratio: float = 1.0
    flops: float = 0.0
    bytes: float = 0.0


def conv(times):
    return times * 2.0 * 16 * 28 * 28 * 64 * 64 * 9


WANTS = {
    "MLP step 256": Want(1.8, flops=6.0 * 256 * NET),
    "MLP step 4096": Want(1.3, flops=6.0 * 4096 * NET),
    "sample 10000, 100 steps": Want(1.7, flops=2.0 * 10_000 * 100 * NET),
    # Two networks, each on both signs of the latent; the reflow is that of one network.
    "interpolant step 256": Want(1.8, flops=6.0 * 256 * NET * 4),
    "interpolant step 4096": Want(1.3, flops=6.0 * 4096 * NET * 4),
    "reflow step 256": Want(1.8, flops=6.0 * 256 * NET),
    "reflow step 4096": Want(1.3, flops=6.0 * 4096 * NET),
    "interpolant SDE 10000, 100 steps": Want(1.7, flops=2.0 * 10_000 * 100 * NET * 2),
    "steer 1000, 50 steps": Want(1.7, flops=2.0 * 1000 * 50 * NET),
    "search of 64, 200 evaluations": Want(1.7, flops=2.0 * 64 * 200 * NET),
    # Read: gradient, parameter, two moments; written: the last three.
    "AdamW 25M": Want(1.0, bytes=28.0 * PARAMETERS),
    # Ours is the step of the row above, which looks for a NaN before it changes anything; here PyTorch looks too.
    "AdamW 25M, a NaN refused": Want(1.0, bytes=32.0 * PARAMETERS),
    # The average is read and written too, and the gradient is read before for its norm.
    "AdamW 25M, clip, EMA": Want(1.5, bytes=40.0 * PARAMETERS),
    "s4d_layer_fwd": Want(30.0),
    "s4d_layer_fwdbwd": Want(20.0),
    "sscan_l2048_fwd": Want(15.0),
    "sscan_l2048_fwdbwd": Want(15.0),
    # With AVX2 alone 5 is enough.
    "adamw of 8 bits, 25M": Want(10.0),
    "lion of 8 bits, 25M": Want(10.0),
    "momentum of 8 bits, 25M": Want(10.0),
    "quick start": Want(2.0),
    "start to first result": Want(20.0),
    "conv2d 3x3, 64 to 64, 16x28x28": Want(flops=conv(1)),
    "conv2d and back 3x3, 64 to 64, 16x28x28": Want(flops=conv(3)),
    "matmul a b^T 512": Want(flops=2.0 * 512**3),
    "matmul batched 64 x 256x64x256": Want(flops=2.0 * 64 * 256 * 64 * 256),
}
WANTS |= {f"matmul {n}": Want(flops=2.0 * n**3) for n in (64, 128, 256, 512, 1024, 2048)}
# At 16 M elements memory decides: one stream read for each operand, one written.
WANTS |= {
    f"{name} 16M": Want(bytes=4.0 * 16 * M * streams)
    for streams, names in {
        1: ("sum of all", "sum over last", "sum over first", "mean over last", "max over last", "max over first", "randn"),
        2: ("exp", "ln", "sin", "cos", "tanh", "sigmoid", "silu", "gelu", "erf", "softplus", "sqrt", "2x+1", "softmax",
            "log_softmax", "transpose copy", "add a row", "add a column"),
        3: ("add", "mul"),
        4: ("a*b+c",),
    }.items()
    for name in names
}


def want(name):
    return WANTS.get(name, Want())
