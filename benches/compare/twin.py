"""PyTorch's side of the comparison: the rows of `ops.rs` and `train.rs` as one would write them in PyTorch.

Speaks what `main.rs` speaks: `list`, `make ROW`, `run ROW TIMES`, `drop ROW`, `quit`, a line each.
"""

import math
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
torch.manual_seed(0)

ROWS = {}


def row(name):
    """Names a function that makes inputs and gives the work of one call, or of so many calls."""
    return lambda make: ROWS.setdefault(name, make)


def plain(name, size, function):
    """A row without a history over three inputs of `size` elements; the third is positive."""
    def make():
        shape = (size // 1024, 1024)
        a, b = torch.randn(shape), torch.randn(shape)
        c = torch.randn(shape).abs() + 1e-3

        def work():
            with torch.no_grad():
                function(a, b, c)
        return work
    ROWS[name] = make


SIZES = {"1M": 1 << 20, "16M": 1 << 24}
FUNCTIONS = {
    "exp": lambda a, b, c: torch.exp(a),
    "ln": lambda a, b, c: torch.log(c),
    "sin": lambda a, b, c: torch.sin(a),
    "cos": lambda a, b, c: torch.cos(a),
    "tanh": lambda a, b, c: torch.tanh(a),
    "sigmoid": lambda a, b, c: torch.sigmoid(a),
    "silu": lambda a, b, c: F.silu(a),
    "gelu": lambda a, b, c: F.gelu(a),
    "erf": lambda a, b, c: torch.erf(a),
    "softplus": lambda a, b, c: F.softplus(a),
    "sqrt": lambda a, b, c: torch.sqrt(c),
    "add": lambda a, b, c: a + b,
    "mul": lambda a, b, c: a * b,
    "a*b+c": lambda a, b, c: a * b + c,
    "2x+1": lambda a, b, c: a * 2.0 + 1.0,
    "softmax": lambda a, b, c: torch.softmax(a, -1),
    "log_softmax": lambda a, b, c: torch.log_softmax(a, -1),
    "sum of all": lambda a, b, c: a.sum(),
    "sum over last": lambda a, b, c: a.sum(-1),
    "sum over first": lambda a, b, c: a.sum(0),
    "mean over last": lambda a, b, c: a.mean(-1),
    "max over last": lambda a, b, c: a.amax(-1),
    "max over first": lambda a, b, c: a.amax(0),
    "transpose copy": lambda a, b, c: a.t().contiguous(),
    "add a row": lambda a, b, c: a + b[:1],
    "add a column": lambda a, b, c: a + b[:, :1],
}
for function_name, function in FUNCTIONS.items():
    for size_name, size in SIZES.items():
        plain(f"{function_name} {size_name}", size, function)


def randn(size):
    return lambda: lambda: torch.randn(size)


for size_name, size in SIZES.items():
    ROWS[f"randn {size_name}"] = randn(size)


def silent(work):
    def inner():
        with torch.no_grad():
            work()
    return inner


def gradients(leaves, loss):
    """Value and gradients, as `loss.backward()` gives them."""
    def work():
        for leaf in leaves:
            leaf.grad = None
        loss().backward()
    return work


@row("layer norm 1M")
def _():
    x, w, b = torch.randn(1024, 1024), torch.randn(1024), torch.randn(1024)
    return silent(lambda: F.layer_norm(x, (1024,), w, b))


@row("layer norm and back 1M")
def _():
    x, w, b = (torch.randn(*s).requires_grad_() for s in [(1024, 1024), (1024,), (1024,)])
    return gradients([x, w, b], lambda: F.layer_norm(x, (1024,), w, b).square().sum())


@row("rms norm 1M")
def _():
    x, w = torch.randn(1024, 1024), torch.randn(1024)
    return silent(lambda: F.rms_norm(x, (1024,), w, 1e-5))


@row("group norm 1M")
def _():
    x, w = torch.randn(16, 64, 32, 32), torch.randn(64)
    return silent(lambda: F.group_norm(x, 8, w, w))


@row("group norm and back 1M")
def _():
    x, w = torch.randn(16, 64, 32, 32).requires_grad_(), torch.randn(64).requires_grad_()
    return gradients([x, w], lambda: F.group_norm(x, 8, w, w).square().sum())


@row("cross entropy and back 1M")
def _():
    x, labels = torch.randn(1024, 1024).requires_grad_(), torch.randint(0, 1024, (1024,))
    return gradients([x], lambda: F.cross_entropy(x, labels))


@row("mean squared error and back 1M")
def _():
    x, y = torch.randn(1024, 1024).requires_grad_(), torch.randn(1024, 1024)
    return gradients([x], lambda: F.mse_loss(x, y))


def chain(x):
    for _ in range(100):
        x = x * 1.5
    return x


@row("tape: 100 nodes")
def _():
    x = torch.zeros(4, requires_grad=True)
    return lambda: chain(x)


@row("tape: 100 nodes and back")
def _():
    x = torch.zeros(4, requires_grad=True)
    return gradients([x], lambda: chain(x).sum())


def square(n):
    def make():
        a, b = torch.randn(n, n), torch.randn(n, n)
        return silent(lambda: a @ b)
    return make


for n in (64, 128, 256, 512, 1024, 2048):
    ROWS[f"matmul {n}"] = square(n)


@row("matmul a b^T 512")
def _():
    a, b = torch.randn(512, 512), torch.randn(512, 512)
    return silent(lambda: a @ b.t())


@row("matmul batched 64 x 256x64x256")
def _():
    a, b = torch.randn(64, 256, 64), torch.randn(64, 64, 256)
    return silent(lambda: a @ b)


@row("conv2d 3x3, 64 to 64, 16x28x28")
def _():
    x, w = torch.randn(16, 64, 28, 28), torch.randn(64, 64, 3, 3)
    return silent(lambda: F.conv2d(x, w, padding=1))


@row("conv2d and back 3x3, 64 to 64, 16x28x28")
def _():
    x, w = torch.randn(16, 64, 28, 28).requires_grad_(), torch.randn(64, 64, 3, 3).requires_grad_()
    return gradients([x, w], lambda: F.conv2d(x, w, padding=1).square().sum())


def large():
    """25.2 million parameters with gradients."""
    ps = [torch.randn(*s).requires_grad_() for s in [(1024, 1024)] * 24 + [(1024,)] * 24]
    for p in ps:
        p.grad = torch.randn_like(p) * 1e-2
    return ps


@row("AdamW 25M")
def _():
    return torch.optim.AdamW(large(), lr=1e-3, fused=True).step


@row("AdamW 25M, a NaN refused")
def _():
    ps = large()
    optimizer = torch.optim.AdamW(ps, lr=1e-3, fused=True)

    def work():
        torch.nn.utils.get_total_norm([p.grad for p in ps], error_if_nonfinite=True)
        optimizer.step()
    return work


@row("AdamW 25M, clip, EMA")
def _():
    ps = large()
    optimizer = torch.optim.AdamW(ps, lr=1e-3, fused=True)
    means = [p.detach().clone() for p in ps]
    # Clipping scales the gradients in place: without these they would shrink from call to call.
    first = [p.grad.clone() for p in ps]

    def work():
        for p, g in zip(ps, first):
            p.grad = g
        torch.nn.utils.clip_grad_norm_(ps, 1e9)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(means, [p.detach() for p in ps], 1e-3)
    return work


class Velocity(nn.Module):
    """The MLP 3-256-256-256-2."""

    def __init__(self, width=256):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
                                 nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))

    def forward(self, x, t):
        return self.net(torch.cat([x, t[:, None]], dim=-1))


class Block(nn.Module):
    """A residual block of the U-Net with the embedding of time."""

    def __init__(self, inputs, outputs, embedding):
        super().__init__()
        def groups(c):
            return next((g for g in (8, 4, 2) if c % g == 0 and c // g >= 4), 1)
        self.norm1, self.norm2 = nn.GroupNorm(groups(inputs), inputs), nn.GroupNorm(groups(outputs), outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.time = nn.Linear(embedding, outputs)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x, e):
        h = self.conv1(F.silu(self.norm1(x))) + self.time(e)[:, :, None, None]
        return self.conv2(F.silu(self.norm2(h))) + self.skip(x)


class Unet(nn.Module):
    """`nn::unet(#{ channels: 1 })`: two levels of 32 and 64 channels."""

    def __init__(self, b=32):
        super().__init__()
        e = 4 * b
        self.frequencies = 1000.0 / 10000 ** (torch.arange(b // 2) / (b // 2))
        self.stem, self.head = nn.Conv2d(1, b, 3, padding=1), nn.Conv2d(b, 1, 3, padding=1)
        self.time = nn.Sequential(nn.Linear(b, e), nn.SiLU(), nn.Linear(e, e))
        self.down0, self.halve, self.down1 = Block(b, b, e), nn.Conv2d(b, b, 3, 2, 1), Block(b, 2 * b, e)
        self.mid1, self.mid2 = Block(2 * b, 2 * b, e), Block(2 * b, 2 * b, e)
        self.up1, self.up0 = Block(4 * b, 2 * b, e), Block(3 * b, b, e)
        self.norm = nn.GroupNorm(8, b)

    def forward(self, x, t):
        angles = t[:, None] * self.frequencies
        e = F.silu(self.time(torch.cat([angles.sin(), angles.cos()], 1)))
        a = self.down0(self.stem(x), e)
        b = self.down1(self.halve(a), e)
        h = self.up1(torch.cat([self.mid2(self.mid1(b, e), e), b], 1), e)
        h = self.up0(torch.cat([F.interpolate(h, scale_factor=2), a], 1), e)
        return self.head(F.silu(self.norm(h)))


def stepping(nets, batch_loss):
    """A step of a training: Adam (fused) and a moving average of the weights, as ours keeps one."""
    ps = [p for net in nets for p in net.parameters()]
    optimizer = torch.optim.Adam(ps, lr=1e-3, fused=True)
    means = [p.detach().clone() for p in ps]

    def step():
        loss = batch_loss()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(means, [p.detach() for p in ps], 1e-3)
        loss.item()
    return step


def training(net, data, batch):
    """A step of a rectified flow."""
    def loss():
        x1 = data[torch.randint(0, data.shape[0], (batch,))]
        x0 = torch.randn_like(x1)
        t = torch.rand(batch)
        s = t.reshape(-1, *[1] * (x1.dim() - 1))
        return F.mse_loss(net((1 - s) * x0 + s * x1, t), x1 - x0)
    return stepping([net], loss)


def mlp_step(batch):
    return lambda: training(Velocity(), torch.randn(50_000, 2), batch)


for batch in (256, 4096):
    ROWS[f"MLP step {batch}"] = mlp_step(batch)


def interpolant_step(batch):
    """Velocity and denoiser of x_t = (1 - t) x0 + t x1 + sqrt(t (1 - t)) z, each latent with both signs."""
    def make():
        base, data = torch.randn(50_000, 2) + 3.0, torch.randn(50_000, 2)
        velocity, denoiser = Velocity(), Velocity()

        def loss():
            x0, x1 = (x[torch.randint(0, 50_000, (batch,))] for x in (base, data))
            z = torch.randn_like(x0)
            t = torch.rand(batch) * (1 - 2e-3) + 1e-3
            s = t[:, None]
            gamma = (s * (1 - s)).sqrt()
            position, latent, slope = (1 - s) * x0 + s * x1, gamma * z, (1 - 2 * s) / (2 * gamma) * z
            xt, tt = torch.cat([position + latent, position - latent]), torch.cat([t, t])
            target = torch.cat([x1 - x0 + slope, x1 - x0 - slope])
            return F.mse_loss(velocity(xt, tt), target) + F.mse_loss(denoiser(xt, tt), torch.cat([z, -z]))
        return stepping([velocity, denoiser], loss)
    return make


def reflow_step(batch):
    """Pseudo-Huber over pairs, times from the u-shaped density by its quantile."""
    def make():
        noise, data, net, c = torch.randn(50_000, 2), torch.randn(50_000, 2), Velocity(), 0.00054 * 2

        def loss():
            rows = torch.randint(0, 50_000, (batch,))
            x0, x1 = noise[rows], data[rows]
            q = torch.rand(batch)
            t = (0.5 + torch.asinh((2 * q - 1) * math.sinh(2.0)) / 4.0) * (1 - 2e-5) + 1e-5
            s = t[:, None]
            e = net((1 - s) * x0 + s * x1, t) - (x1 - x0)
            return (((e * e).sum(1) + c * c).sqrt() - c).mean() / 2
        return stepping([net], loss)
    return make


for batch in (256, 4096):
    ROWS[f"interpolant step {batch}"] = interpolant_step(batch)
    ROWS[f"reflow step {batch}"] = reflow_step(batch)


@row("interpolant SDE 10000, 100 steps")
def _():
    velocity, denoiser = Velocity(), Velocity()
    base, epsilon, h = torch.randn(50_000, 2) + 3.0, 0.5, 0.01

    @torch.no_grad()
    def sample():
        x = base[torch.randint(0, 50_000, (10_000,))]
        for i in range(100):
            s = min(max(i * h, 1e-3), 1 - 1e-3)
            t = torch.full((10_000,), s)
            score = denoiser(x, t) * (-1 / math.sqrt(s * (1 - s)))
            x = x + h * (velocity(x, t) + epsilon * score) + math.sqrt(2 * epsilon * h) * torch.randn_like(x)
        return x
    return sample


@row("steer 1000, 50 steps")
def _():
    net, x0, h = Velocity(), torch.randn(1000, 2), 0.02

    def steer():
        x = x0
        for i in range(50):
            with torch.no_grad():
                v = net(x, torch.full((1000,), i * h))
            data = (x + (1 - i * h) * v).requires_grad_()
            cost = ((data - 1.0) ** 2).sum(1).sum()
            slope, = torch.autograd.grad(cost, data)
            with torch.no_grad():
                x = x - 0.5 * slope + h * v
        return x
    return steer


@row("search of 64, 200 evaluations")
def _():
    """SVDD: two chains a search, eleven children at each of nine steps, all searches in one batch."""
    net, n, k = Velocity(), 64 * 2, 11
    grid = [math.sqrt(1 - (i / 10) ** 2) for i in range(11)]

    @torch.no_grad()
    def look(x, s):
        """Value, predicted data and drift of states on the VP interpolant."""
        total, rate = s * s * 19.9 / 2 + 0.1 * s, 19.9 * s + 0.1
        alpha, sigma = math.exp(-total / 2), math.sqrt(-math.expm1(-total))
        y, t = x / (alpha + sigma), sigma / (alpha + sigma)
        v = net(y, torch.full((len(x),), 1 - t))
        data, noise = y + t * v, y - (1 - t) * v
        u = -0.5 * rate * alpha * data + 0.5 * rate * alpha**2 / sigma * noise
        return -(data**2).sum(1), data, u + (3 * s * s) ** 2 / 2 / sigma * noise

    @torch.no_grad()
    def search():
        x = torch.randn(n, 2)
        values, data, drift = look(x, 1.0)
        for s, after in zip(grid[:9], grid[1:10]):
            ds = s - after
            x, drift = x.repeat_interleave(k, 0), drift.repeat_interleave(k, 0)
            x = x - ds * drift + 3 * s * s * math.sqrt(ds) * torch.randn_like(x)
            values, data, drift = look(x, after)
            kept = values.reshape(n, k).argmax(1) + torch.arange(n) * k
            x, values, data, drift = x[kept], values[kept], data[kept], drift[kept]
        best = values.reshape(64, 2).argmax(1) + torch.arange(64) * 2
        return data[best]
    return search


@row("U-Net step 64")
def _():
    return training(Unet(), torch.randn(2_000, 1, 8, 8), 64)


@row("sample 10000, 100 steps")
def _():
    net = Velocity()

    @torch.no_grad()
    def sample():
        x = torch.randn(10_000, 2)
        for i in range(100):
            x = x + 0.01 * net(x, torch.full((10_000,), i * 0.01))
        return x
    return sample


def answer(words, ready):
    match words:
        case ["list"]:
            return "\t".join(ROWS)
        case ["make", name]:
            ready[name] = ROWS[name]()
            return "ok"
        case ["run", name, times]:
            work, times = ready[name], int(times)
            start = time.perf_counter()
            for _ in range(times):
                work()
            return str((time.perf_counter() - start) / times)
        case ["drop", name]:
            ready.pop(name, None)
            return "ok"
    raise ValueError(f"no such request: {words}")


def main():
    ready = {}
    for line in sys.stdin:
        words = line.rstrip("\n").split("\t")
        if words == ["quit"]:
            break
        try:
            print(answer(words, ready), flush=True)
        except Exception as error:  # told to the other end, which goes on with the next row
            print(f"error: {type(error).__name__}: {error}".replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
