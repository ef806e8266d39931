"""The algorithms of the cost models in plain torch, which count their own operations.

Each returns the loss and its gradients, which shows that the counted operations are enough. The
cost models leave out operations on scores and lengths, so autograd does these, uncounted.
"""

import math

import torch
import torch.nn.functional as F


def column(vector):
    return vector.unsqueeze(1)


def linear(tally, inputs, state, entropy, *, rows=False, columns=False):
    """Compute a cross-entropy over ``x W``, with the lengths of rows and columns if needed."""
    x, labels, weight = inputs["embeddings"], inputs["labels"], state["weight"]
    lengths = [tally.squares(x)] if rows else []
    lengths += [tally.squares(weight, 0)] if columns else []
    product = tally.product(x, weight)
    value, (pull, *stretch) = tally.scores(
        lambda s, *q: entropy(s, labels, *(length.sqrt() for length in q)), product, *lengths
    )
    grad_x, grad_weight = tally.product(pull, weight.t()), tally.product(x.t(), pull)
    if rows:
        grad_x = tally.multiply_add(grad_x, 2 * column(stretch[0]), x)
    if columns:
        grad_weight = tally.multiply_add(grad_weight, 2 * stretch[-1], weight)
    return value, {"embeddings": grad_x, "weight": grad_weight}


def cosine_entropy(product, labels, rows, columns, *, scale, target=lambda cosine: cosine):
    cosine = product / (column(rows) * columns)
    chosen = column(labels)
    return F.cross_entropy(
        scale * cosine.scatter(1, chosen, target(cosine.gather(1, chosen))), labels
    )


def with_margin(cosine):
    return torch.cos(cosine.acos() + 0.5)


def with_guarded_margin(cosine):
    within = cosine > math.cos(math.pi - 0.5)
    return torch.where(within, with_margin(cosine), cosine - 0.5 * math.sin(0.5))


def sphere_entropy(product, labels, rows, columns):
    cosine, chosen = product / (column(rows) * columns), column(labels)
    theta, blend = cosine.gather(1, chosen).acos(), 30000 / 1.2
    k = (4 * theta / math.pi).floor().detach()
    psi = (-1) ** k * torch.cos(4 * theta) - 2 * k
    target = (blend * theta.cos() + psi) / (1 + blend)
    return F.cross_entropy(column(rows) * cosine.scatter(1, chosen, target), labels)


def own_centers(tally, inputs, state, function):
    """Compute a function of the squared distances ``[B]`` of samples to their own centres."""
    distinct, places = inputs["labels"].unique(return_inverse=True)
    diff = tally.plus(inputs["embeddings"], state["centers"][inputs["labels"]], -1)
    value, (pull,) = tally.scores(function, tally.squares(diff))
    grad_x = tally.times(2 * column(pull), diff)
    grad_centers = torch.zeros_like(state["centers"])
    grad_centers[distinct] = tally.times(-1, tally.sums(grad_x, distinct, places))
    return value, {"embeddings": grad_x, "centers": grad_centers}


def linear_and_centers(tally, inputs, state, function):
    """Compute both; the products add to the gradient of the squared distances ``[B]``."""
    x, labels, weight = inputs["embeddings"], inputs["labels"], state["weight"]
    distinct, places = labels.unique(return_inverse=True)
    diff = tally.plus(x, state["centers"][labels], -1)
    leaves = tally.product(x, weight), tally.squares(diff)
    value, (pull, draw) = tally.scores(lambda s, q: function(s, labels, q), *leaves)
    grad_x = tally.times(2 * column(draw), diff)
    grad_centers = torch.zeros_like(state["centers"])
    grad_centers[distinct] = tally.times(-1, tally.sums(grad_x, distinct, places))
    return value, {
        "embeddings": tally.product(pull, weight.t(), onto=grad_x),
        "weight": tally.product(x.t(), pull),
        "centers": grad_centers,
    }


def center_all_pairs(tally, inputs, state):
    x, centers = inputs["embeddings"], state["centers"]
    distinct, places, counts = inputs["labels"].unique(return_inverse=True, return_counts=True)
    chosen = centers[distinct]
    share = column(0.1 / counts)
    moved = tally.times(0.9, centers)
    moved[distinct] = tally.multiply_add(moved[distinct], share, tally.sums(x, distinct, places))

    def mean_distance(product, rows, columns):
        squared = column(rows) + columns - 2 * product
        return ((squared + 1e-8).sqrt() * counts).sum() / (2 * len(x))

    leaves = tally.product(x, chosen.t()), tally.squares(x), tally.squares(chosen)
    value, (pull, of_rows, of_columns) = tally.scores(mean_distance, *leaves)
    grad_centers = torch.zeros_like(centers)
    grad_centers[distinct] = tally.multiply_add(
        tally.product(pull.t(), x), 2 * column(of_columns), chosen
    )
    grad_x = tally.multiply_add(tally.product(pull, chosen), 2 * column(of_rows), x)
    return value, {"embeddings": grad_x, "centers": grad_centers, "after.centers": moved}


def island(tally, inputs, state):
    x, labels, centers = inputs["embeddings"], inputs["labels"], state["centers"]
    count = len(centers)

    def both(squared, unit_sum):
        pairs = (unit_sum.square().sum() - count) / 2 + count * (count - 1) / 2
        return squared.sum() / (2 * len(x)) + 0.01 * pairs

    diff = tally.plus(x, centers[labels], -1)
    inverse = column(tally.squares(centers).rsqrt())
    unit_sum = tally.product(inverse.t(), centers)
    value, (pull, spread) = tally.scores(both, tally.squares(diff), unit_sum)
    grad_x = tally.times(2 * column(pull), diff)
    along = tally.product(centers, spread.t())
    grad = tally.multiply_add(tally.times(inverse, spread), -(inverse**3) * along, centers)
    return value, {"embeddings": grad_x, "centers": tally.scatter(grad, labels, -grad_x)}


def distances_of(gram):
    squares = gram.diagonal()
    return (column(squares) + squares - 2 * gram).clamp(min=1e-12).sqrt()


def batch_hard(tally, inputs, _state):
    x, labels = inputs["embeddings"], inputs["labels"]
    distances, same = distances_of(tally.gram(x)), column(labels) == labels
    furthest, far = distances.masked_fill(~same, -math.inf).max(1)
    closest, near = distances.masked_fill(same, math.inf).min(1)
    value, (pull, push) = tally.scores(lambda p, n: F.relu(p - n + 0.3).mean(), furthest, closest)
    # The derivative of a distance is the difference over it; for an anchor to itself it is 0.
    to_far = tally.times(column(pull / furthest), tally.plus(x, x[far], -1))
    to_near = tally.times(column(push / closest), tally.plus(x, x[near], -1))
    grad = tally.plus(to_far, to_near)
    grad = tally.scatter(tally.scatter(grad, far, -to_far), near, -to_near)
    return value, {"embeddings": grad}


def weighted(tally, inputs, _state, means):
    x, same = inputs["embeddings"], column(inputs["labels"]) == inputs["labels"]

    def soft_margin(gram):
        furthest, closest = means(distances_of(gram), same)
        return F.softplus(furthest - closest, threshold=50).mean()

    value, (pull,) = tally.scores(soft_margin, tally.gram(x))
    return value, {"embeddings": tally.product(pull + pull.t(), x)}


def shifted_means(distances, same):
    positive = distances.masked_fill(~same, -math.inf).softmax(1)
    negative = (-distances).masked_fill(same, -math.inf).softmax(1)
    return (positive * distances).sum(1), (negative * distances).sum(1)


def unshifted_means(distances, same):
    highest = distances.masked_fill(~same, 0).amax(1, keepdim=True)
    positive = (distances - highest).exp() * same
    negative = (-distances).exp() * ~same
    return tuple((w * distances).sum(1) / (w.sum(1) + 1e-6) for w in (positive, negative))


def differences(tally, inputs, _state, function, **upstream):
    """Compute a function of the squared distances ``[B]`` of pairs."""
    (first, a), (second, b) = list(inputs.items())[:2]
    diff = tally.plus(a, b, -1)
    value, (pull,) = tally.scores(function(inputs, **upstream), tally.squares(diff))
    grad = tally.times(2 * column(pull), diff)
    return value, {first: grad, second: tally.times(-1, grad)}


def all_pairs(tally, inputs, _state, upstream, root):
    a, b = inputs["a"], inputs["b"]

    def total(product, of_a, of_b):
        squared = column(of_a) + of_b - 2 * product
        return ((squared.clamp(min=1e-12).sqrt() if root else squared) * upstream).sum()

    leaves = tally.product(a, b.t()), tally.squares(a), tally.squares(b)
    value, (pull, of_a, of_b) = tally.scores(total, *leaves)
    grad_a = tally.multiply_add(tally.product(pull, b), 2 * column(of_a), a)
    return value, {
        "a": grad_a,
        "b": tally.multiply_add(tally.product(pull.t(), a), 2 * column(of_b), b),
    }
