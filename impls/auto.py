"""Build a Loss for production, in the variant that the user names or measurements recommend.

``lossbench.build("arcface", batch=256, num_classes=1000, embedding_dim=512)`` chooses the variant
that ``lossbench choose`` chooses, from the records in ``recommended.json`` and by the same rules;
``module.choice`` names the variant, the reason, and what a wider choice would bring.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from lossbench.impls.admission import AUTO
from lossbench.impls.choice import Choice, Wish, recommend
from lossbench.impls.registry import implementation, implementations


def build(
    loss: str,
    variant: str = AUTO,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    batch: int | None = None,
    validate: bool = True,
    needs: Sequence[str] = (),
    auto: Literal["eager", "compiled"] = "eager",
    sparse: bool = False,
    **arguments: Any,
) -> nn.Module:
    """Return the module of a Loss on a device, with a ``choice`` that explains its variant.

    ``auto`` needs torch alone, and by default an eager variant with dense gradients, as ``lossbench
    choose`` does. At a size without a measurement it uses a fitted model; without any measurement
    of a loss, its reference. ``choice.reason`` says so, and ``choice.passed_over`` names the faster
    variants that were not chosen, what they would bring, and what admits them.

    The module of a classification loss has ``logits(embeddings)``, ``[B, C]``, in every variant:
    what the loss takes the softmax of, its scale included, but without labels and so without a
    margin. It moves no state, and is for inference; the ``logits`` of a call have the margin.

    Args:
        loss: the name of the Loss.
        variant: the name of the variant; ``auto`` uses the recommended one.
        device: the device that it will run on.
        dtype: the dtype of its parameters; float32 if autocast lowers it during training.
        batch: the number of samples per step, B, for ``auto``; optional.
        validate: whether to refuse inputs that the Loss does not define; it costs a few
            microseconds per call.
        needs: the outputs that the caller reads, such as ``("logits",)``; ``auto`` skips a variant
            that returns ``None`` for one of them, and such a variant is refused by its name.
        auto: ``compiled`` to let ``auto`` choose a variant that needs torch.compile.
        sparse: whether ``auto`` may choose a variant with sparse gradients, which only SGD and
            SparseAdam take.
        **arguments: the Loss's arguments, and of a cross-entropy the options of
            ``F.cross_entropy``, with its meaning: ``ignore_index``, by default ``None``, which
            leaves out no sample; ``label_smoothing``, under which the fused variants make all
            logits at once; ``class_weights``, its ``weight``; and ``reduction``. Those left out
            take the document's values.

    Raises:
        ValueError: if there is no such Loss, variant or output, the variant cannot run here or
            does not compute what is needed, an argument is wrong, or nothing is recommended for
            this device and dtype.
    """
    kind = torch.device(device).type
    if batch is not None and batch < 1:
        raise ValueError(f"batch must be 1 or more, got {batch}")
    _check_outputs(loss, needs)
    _check_auto(variant, auto, sparse=sparse)
    if variant == AUTO:
        wish = Wish(kind, dtype, tuple(needs), auto == "compiled", sparse)
        choice = recommend(loss, wish, _wanted(batch, arguments))
    else:
        choice = Choice(loss, variant, "as asked for")
        _check_variant(loss, variant, Wish(kind, dtype, tuple(needs)))
    module = implementation(loss, choice.variant).build(validate=validate, **arguments)
    module.choice = choice  # type: ignore[assignment]
    return module.to(device, dtype)


def _check_outputs(loss: str, needs: Sequence[str]) -> None:
    # This reports an unknown Loss.
    known = implementations(loss)[0].loss.outputs
    if isinstance(needs, str):
        raise ValueError(f"{loss}: needs must be a tuple of {', '.join(known)}, got {needs!r}")
    for name in needs:
        if name not in known:
            raise ValueError(f"{loss} has no output {name!r}; it has: {', '.join(known)}")


def _check_auto(variant: str, auto: str, *, sparse: bool) -> None:
    if auto not in ("eager", "compiled"):
        raise ValueError(f"auto must be 'eager' or 'compiled', got {auto!r}")
    if variant != AUTO and (auto != "eager" or sparse):
        raise ValueError(f"auto and sparse are for variant={AUTO!r}, got variant={variant!r}")


def _check_variant(loss: str, variant: str, wish: Wish) -> None:
    candidate = implementation(loss, variant)
    reason = wish.refusal(candidate)
    if reason is None:
        return
    if wish.missing(candidate):
        able = [each.variant for each in implementations(loss) if not wish.refusal(each)]
        reason += f"; take one that does: {', '.join(able)}"
    raise ValueError(f"{loss}: {variant} {reason}")


def _wanted(batch: int | None, arguments: Mapping[str, Any]) -> dict[str, int]:
    """Return the known sizes of the module; others check the arguments and refuse wrong ones."""
    sizes = {
        "batch": batch,
        "dim": arguments.get("embedding_dim"),
        "classes": arguments.get("num_classes"),
    }
    return {axis: n for axis, n in sizes.items() if isinstance(n, int) and n > 0}
