"""Train a small network on scikit-learn's digits: ArcFace, mixed precision, two processes.

Run it with `python docs/examples/train_digits.py`. It takes some seconds on two cores.
"""

import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import lossbench

PROCESSES, EPOCHS, BATCH, FEATURES, DIGITS = 2, 2, 32, 16, 10


class Model(nn.Module):
    """A network and its loss in one module, so that DDP reduces the gradients of both."""

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, FEATURES))
        self.head = lossbench.build(
            "arcface", "fused", num_classes=DIGITS, embedding_dim=FEATURES, scale=16, margin=0.2
        )

    def forward(self, images, labels):
        """Return the loss."""
        return self.head(self.network(images), labels).loss


def load():
    """Return training images and labels, then test images and labels."""
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    return images[:1500], labels[:1500], images[1500:], labels[1500:]


def train(model, images, labels, rank):
    """Train this process's share of each batch, under autocast and a scaler."""
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    scaler = torch.amp.GradScaler("cpu")
    for epoch in range(EPOCHS):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(PROCESSES * BATCH):
            mine = batch[rank::PROCESSES]
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model(images[mine], labels[mine])
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()


@torch.inference_mode()
def accuracy(model, images, labels):
    """Return the share of images whose nearest class weight is that of their digit."""
    rows = nn.functional.normalize(model.network(images))
    weights = nn.functional.normalize(model.head.weight, dim=0)
    return ((rows @ weights).argmax(1) == labels).float().mean().item()


def work(rank, folder):
    """Train as one process of several, and have the first write the accuracy down."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/group", rank=rank, world_size=PROCESSES
    )
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, labels, test_images, test_labels = load()
    model = Model()
    train(DistributedDataParallel(model), images, labels, rank)
    if rank == 0:
        share = accuracy(model.eval(), test_images, test_labels)
        Path(folder, "accuracy").write_text(f"{share:.3f}")
    dist.destroy_process_group()


def main():
    """Train, and print the accuracy on the test images."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (folder,), nprocs=PROCESSES)
        print(f"accuracy after {EPOCHS} epochs: {Path(folder, 'accuracy').read_text()}")


if __name__ == "__main__":
    main()
