"""The situations of a training loop that an Implementation may not be fit for."""

from collections.abc import Mapping
from types import MappingProxyType

SITUATIONS: Mapping[str, str] = MappingProxyType(
    {
        "arguments": "all values of the arguments that the loss takes",
        "autocast": "torch.autocast around the model, with a GradScaler",
        "checkpointing": "torch.utils.checkpoint around the loss",
        "ddp": "DistributedDataParallel, the loss within the model",
        "fsdp": "fully_shard of a model with the loss in it",
        "compile": "torch.compile(fullgraph=True) of a model with the loss in it",
        "export": "torch.export of the loss",
        "functional": "torch.func.grad of the loss",
        "retain-graph": "two backward passes of one graph, by retain_graph=True",
        "double-backward": "the gradient of a gradient, as a gradient penalty takes it",
        "forward-mode": "torch.autograd.forward_ad, or torch.func.jvp, through the loss",
        "optimizers": "every optimizer of torch, weight decay, and gradient clipping",
    }
)
"""What a test tries in each situation, by the situation's name."""


def check_limits(title: str, limits: Mapping[str, str]) -> None:
    """Refuse a limit in an unknown situation.

    Args:
        title: the loss and the variant, for the start of the message.
        limits: the reasons why the implementation is not fit, by situation.

    Raises:
        ValueError: if a situation is unknown.
    """
    for situation in limits:
        if situation not in SITUATIONS:
            known = ", ".join(SITUATIONS)
            raise ValueError(f"{title}: unknown limit {situation!r}; the situations are: {known}")
