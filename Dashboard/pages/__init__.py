"""The pages, each a module: what NiceGUI makes once; what moves comes over `/stream`."""

from Dashboard.desk import Desk
from Dashboard.pages import lab, live, run_slider, runs, system


def add_pages(desk: Desk) -> None:
    """Register every page."""
    live.add(desk)
    lab.add(desk)
    runs.add(desk)
    run_slider.add(desk)
    system.add(desk)
