from __future__ import annotations

import pytest

from openjft.pipelines.demo import draw_web
from openjft.pipelines.demo.server import free_port


@pytest.fixture(scope="session")
def small_web(tmp_path_factory):
    """A web of 60 addresses, drawn once."""
    return draw_web(tmp_path_factory.mktemp("demo_web"), seed=3, images=60, port=free_port())
