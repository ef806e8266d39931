"""``dashboard``: asv's results of all machines as a site for this machine."""

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
    help="asv's configuration: where the results are.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The site's folder. [default: asv's html_dir]"
)
@click.option("--serve", is_flag=True, help="Serve the site on 127.0.0.1 until Ctrl-C.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Where to serve it; 0 takes a free port.",
)
@click.option(
    "--screenshot", type=click.Path(path_type=Path), help="A PNG of a page to write, by Chromium."
)
@click.option("--page", default="", help="Which page: what follows the # in its address.")
def dashboard(
    config: Path, out: Path | None, serve: bool, port: int, screenshot: Path | None, page: str
) -> None:
    """Publish asv's results of all machines as one site that needs no network.

    It must be served, for browsers refuse such pages as files: --serve does it.
    """
    site = publish(config, out)
    click.echo(
        f"{site.folder}: machines: {', '.join(site.machines)}; commits: {site.commits}; "
        f"benchmarks: {site.benchmarks}; regressions: {site.regressions}"
    )
    if site.left_out:
        commits = ", ".join(site.left_out)
        click.echo(f"warning: left out, as they are not in this history: {commits}", err=True)
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
