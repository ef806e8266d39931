"""Train a small network on scikit-learn's digits in two processes, with ArcFace in two shards.

Run it with `torchrun --nproc-per-node 2 docs/examples/train_sharded.py`. It takes some seconds.
"""

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import lossbench
from lossbench.impls.sharded import over

EPOCHS, BATCH, FEATURES, DIGITS = 2, 32, 16, 10


def main():
    """Train as one process of several, and have the first print the accuracy."""
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, FEATURES))
    # DistributedDataParallel averages gradients; the head stays outside of it.
    network = DistributedDataParallel(network)
    with over(row_gradient="mean"):
        sizes = {"num_classes": DIGITS, "embedding_dim": FEATURES}
        head = lossbench.build("arcface", "sharded", **sizes, scale=16, margin=0.2)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], 0.01)
    for epoch in range(EPOCHS):
        order = torch.randperm(1500, generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(dist.get_world_size() * BATCH):
            mine = batch[dist.get_rank() :: dist.get_world_size()]
            optimizer.zero_grad()
            head(network(images[mine]), labels[mine]).loss.backward()
            optimizer.step()
    with torch.no_grad():
        found = head.logits(network(images[1500:])).argmax(1)
    if dist.get_rank() == 0:
        accuracy = (found == labels[1500:]).float().mean()
        print(f"accuracy after {EPOCHS} epochs: {accuracy:.3f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
