"""``dashboard``: publish asv's results of all machines as a local website."""

from pathlib import Path

import click

from lossbench.bench.dashboard import open_server, publish
from lossbench.bench.dashboard.screenshot import take_screenshot
from lossbench.bench.dashboard.serving import address


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("asv.conf.json"),
    show_default=True,
    help="asv's configuration file, which names the folder of results.",
)
@click.option(
    "--out", type=click.Path(path_type=Path),
    help="Folder to write the site to; by default asv's html_dir.",
)  # fmt: skip
@click.option("--serve", is_flag=True, help="Serve the site on 127.0.0.1 until Ctrl-C.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port for --serve; 0 takes a free one.",
)
@click.option(
    "--screenshot", type=click.Path(path_type=Path),
    help="PNG file to write a picture of a page to; needs Chromium.",
)  # fmt: skip
@click.option(
    "--page", default="",
    help="Page for --screenshot: the part of its address after #; by default the front page.",
)  # fmt: skip
def dashboard(
    config: Path, out: Path | None, serve: bool, port: int, screenshot: Path | None, page: str
) -> None:
    """Publish asv's results of all machines as one website that needs no network.

    Browsers do not load these pages as files, so they must be served: use --serve.
    """
    site = publish(config, out)
    click.echo(
        f"{site.folder}: machines: {', '.join(site.machines)}; commits: {site.commits}; "
        f"benchmarks: {site.benchmarks}; regressions: {site.regressions}"
    )
    if site.left_out:
        commits = ", ".join(site.left_out)
        click.echo(f"warning: left out commits that git does not have here: {commits}", err=True)
    if screenshot is not None:
        take_screenshot(site.folder, page, screenshot)
        click.echo(screenshot)
    if serve:
        _serve(site.folder, port)


def _serve(folder: Path, port: int) -> None:
    with open_server(folder, port) as server:
        click.echo(f"{address(server)} until Ctrl-C")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
