"""The MLflow UI over the same store, on the loopback interface, with links that land on charts."""

from __future__ import annotations

import sys
import webbrowser

from pipeline.config import Config
from pipeline.console import say
from pipeline.tracking.addresses import without_password
from pipeline.tracking.links import charts
from pipeline.tracking.server import serving, ui_service, wait_for_end
from pipeline.tracking.store import TrackingStore, open_store, store_uri


def run(config: Config) -> None:
    """Serve until interrupted. A store that is a server already has its UI: then only the links are printed."""
    store = open_store(config.run)
    if store_uri(config.run).startswith("http"):
        show_links(store, without_password(store.uri).rstrip("/"), config.ui.open_browser)
        return
    service = ui_service(store, config.run, config.ui.port)
    with serving(service, "the MLflow UI") as process:
        show_links(store, service.here, config.ui.open_browser)
        say("Ctrl-C stops the UI.")
        wait_for_end(process, service.log)


def show_links(store: TrackingStore, server: str, open_browser: bool) -> None:
    """Print the link of every experiment's charts, the last used first, and open that if there is a browser."""
    experiments = sorted(store.experiments(), key=lambda one: store.last_used(one[0]), reverse=True)
    if not experiments:
        say(f"{server} has no runs yet; make demo, make classify or make sweep makes some")
        return
    links = [charts(server, experiment_id, store.has_charts(experiment_id)) for experiment_id, _ in experiments]
    say("Charts of each experiment:")
    for (_, name), link in zip(experiments, links, strict=True):
        say(f"  {name:28} {link}")
    if open_browser and sys.stdout.isatty():
        webbrowser.open(links[0])
