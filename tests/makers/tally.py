"""Count the operations of an algorithm while it runs, by the rules of ``lossbench.impls.cost``."""

import torch


class Tally:
    """Counts the operations on elements of embeddings, parameters and gradients."""

    def __init__(self):
        self.flops = self.forward_flops = 0

    def product(self, a, b, onto=0):
        self.flops += 2 * sum(len(row) for row in a) * b.size(1)
        return onto + a @ b

    def gram(self, x):
        """Return ``x xᵀ``; only the entries up to the diagonal count."""
        self.flops += sum(2 * x.size(1) * (i + 1) for i in range(len(x)))
        return x @ x.t()

    def squares(self, x, dim=1):
        self.flops += 2 * x.numel()
        return x.square().sum(dim)

    def plus(self, a, b, sign=1):
        self.flops += b.numel()
        return a + sign * b

    def times(self, factor, a):
        out = factor * a
        self.flops += out.numel()
        return out

    def multiply_add(self, a, factor, b):
        self.flops += 2 * b.numel()
        return a + factor * b

    def scatter(self, onto, places, rows):
        """Add rows, or subtract rows given with changed signs."""
        self.flops += rows.numel()
        return onto.index_add(0, places, rows)

    def sums(self, x, distinct, places):
        """Return the sum of each class; the first row of a class takes no addition."""
        seen = set()
        for row, place in zip(x, places.tolist(), strict=True):
            self.flops += len(row) if place in seen else 0
            seen.add(place)
        return x.new_zeros(len(distinct), x.size(1)).index_add(0, places, x)

    def scores(self, function, *leaves):
        """End the forward: return a function of scores and lengths, and its derivatives by them."""
        self.forward_flops = self.flops
        leaves = [leaf.detach().requires_grad_() for leaf in leaves]
        value = function(*leaves)
        return value.detach(), torch.autograd.grad(value, leaves)
