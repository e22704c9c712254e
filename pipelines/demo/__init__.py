"""A small web with known truth: drawn, served, built, and compared with what was claimed.

`draw_web` draws it, `serve` serves it, `compare_with_truth` judges a finished build and `render` shows that; `run_demo`
does all of it and trains a network for a moment.
"""

from .run import DemoOutcome, run_demo
from .server import free_port, serve
from .truth import DemoTruth, compare_with_truth, render
from .web import DemoWeb, draw_web

__all__ = [
    "DemoOutcome",
    "DemoTruth",
    "DemoWeb",
    "compare_with_truth",
    "draw_web",
    "free_port",
    "render",
    "run_demo",
    "serve",
]
