"""The first half of the quick start with a fifth of its steps in PyTorch: what `quickstart.rhai` does."""
import math

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
# A checkerboard of 20,000 points in [-4, 4]^2.
x = torch.rand(20_000) * 4 - 2
y = torch.rand(20_000) - torch.randint(0, 2, (20_000,)) * 2
board = torch.stack([x, y + torch.floor(x) % 2], 1) * 2


class Velocity(nn.Module):
    def __init__(self, width=128, frequencies=8):
        super().__init__()
        self.k = torch.arange(1, frequencies + 1) * math.pi
        self.net = nn.Sequential(nn.Linear(3 + 2 * frequencies, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
                                 nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))

    def forward(self, x, t):
        angles = t[:, None] * self.k
        return self.net(torch.cat([x, t[:, None], angles.sin(), angles.cos()], 1))


net = Velocity()
ps = list(net.parameters())
optimizer = torch.optim.Adam(ps, lr=1e-3, fused=True)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
means = [p.detach().clone() for p in ps]
losses = []
for step in range(600):
    x1 = board[torch.randint(0, len(board), (512,))]
    x0, t = torch.randn_like(x1), torch.rand(512)
    loss = F.mse_loss(net(x0 + t[:, None] * (x1 - x0), t), x1 - x0)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    schedule.step()
    with torch.no_grad():
        torch._foreach_lerp_(means, [p.detach() for p in ps], 1e-3)
    losses.append(loss.item())

with torch.no_grad():
    for p, mean in zip(ps, means):
        p.copy_(mean)
    x, h = torch.randn(4_000, 2), 1 / 50
    for i in range(50):
        v = lambda x, t: net(x, torch.full((4_000,), t))
        a = v(x, i * h)
        b = v(x + 0.5 * h * a, (i + 0.5) * h)
        c = v(x + 0.5 * h * b, (i + 0.5) * h)
        d = v(x + h * c, (i + 1) * h)
        x = x + h / 6 * (a + 2 * b + 2 * c + d)
print(len(losses))
print(x.mean().item())
