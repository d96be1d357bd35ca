"""The first result of a program: what `first.rhai` does."""
import torch

print(torch.tensor([1.0, 2.0, 3.0]).sum().item())
