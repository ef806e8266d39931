"""What several commands take, and the values that it may have."""

import click

import impls

LOSSES = [loss.name for loss in impls.losses()]
VARIANTS = sorted({i.variant for name in LOSSES for i in impls.implementations(name)})

device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
