"""The twin of `benches/sequence.rs`: a diagonal state space layer and the selective scan as plain PyTorch has them.

Prints `{"row": NAME, "ms": MEDIAN}` a row.
"""

import json
import math
import statistics
import time

import torch
import torch.nn.functional as F

SECONDS = 2.0


def row(name, work):
    work()
    times, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    print(json.dumps({"row": name, "ms": 1e3 * statistics.median(times)}), flush=True)


def kernel(log_dt, log_a_real, a_imag, c, length):
    """K_l = 2 Re sum_n C_n (e^(dt A_n) - 1) / A_n e^(dt A_n l), zero-order hold."""
    a = torch.complex(-log_a_real.exp(), a_imag)
    step = a * log_dt.exp()[:, None]
    powers = (step[..., None] * torch.arange(length)).exp()
    weights = torch.view_as_complex(c) * (step.exp() - 1.0) / a
    return 2 * torch.einsum("hn,hnl->hl", weights, powers).real


def convolve(u, k, d):
    length = u.shape[-1]
    spectrum = torch.fft.rfft(u, n=2 * length) * torch.fft.rfft(k, n=2 * length)
    return torch.fft.irfft(spectrum, n=2 * length)[..., :length] + u * d[:, None]


def state_space():
    batch, channels, modes, length = 8, 128, 32, 4096
    low, high = math.log(1e-3), math.log(1e-1)
    parameters = [
        torch.rand(channels) * (high - low) + low,
        torch.full((channels, modes), math.log(0.5)),
        math.pi * torch.arange(modes).float().repeat(channels, 1),
        torch.view_as_real(torch.randn(channels, modes, dtype=torch.cfloat)).contiguous(),
    ]
    parameters = [p.requires_grad_() for p in parameters]
    d = torch.randn(channels, requires_grad=True)
    u = torch.randn(batch, channels, length, requires_grad=True)
    g = torch.randn(batch, channels, length)
    k = kernel(*parameters, length).detach().requires_grad_()
    with torch.no_grad():
        row("s4d_kernel_fwd", lambda: kernel(*parameters, length))
    row("s4d_kernel_fwdbwd", lambda: torch.autograd.grad(kernel(*parameters, length), parameters, g[0]))
    row("s4d_conv_fwdbwd", lambda: torch.autograd.grad(convolve(u, k, d), [u, k, d], g))
    layer = lambda: convolve(u, kernel(*parameters, length), d)
    with torch.no_grad():
        row("s4d_layer_fwd", layer)
    row("s4d_layer_fwdbwd", lambda: torch.autograd.grad(layer(), [*parameters, d, u], g))


def scan(u, delta, a, b, c, d):
    decay = torch.exp(delta.unsqueeze(-1) * a)
    drive = (delta * u).unsqueeze(-1) * b.unsqueeze(2)
    h = torch.zeros(u.shape[0], *a.shape)
    ys = []
    # Unbound once: indexing in the loop makes the backward pass quadratic in the length.
    for keep, add, out in zip(decay.unbind(1), drive.unbind(1), c.unbind(1)):
        h = keep * h + add
        ys.append(torch.einsum("bdn,bn->bd", h, out))
    return torch.stack(ys, dim=1) + u * d


def selective():
    batch, length, channels, states = 8, 2048, 256, 16
    inputs = [
        torch.randn(batch, length, channels),
        F.softplus(torch.randn(batch, length, channels) - 4),
        -torch.arange(1, states + 1).float().repeat(channels, 1),
        torch.randn(batch, length, states),
        torch.randn(batch, length, states),
        torch.randn(channels),
    ]
    inputs = [x.requires_grad_() for x in inputs]
    g = torch.randn(batch, length, channels)
    with torch.no_grad():
        row("sscan_l2048_fwd", lambda: scan(*inputs))
    row("sscan_l2048_fwdbwd", lambda: torch.autograd.grad(scan(*inputs), inputs, g))


if __name__ == "__main__":
    state_space()
    selective()
