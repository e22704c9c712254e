"""Small files of every format, as text or bytes."""

from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path) -> Write:
    """write(content, name="t.txt") -> path; content is text or bytes."""

    def write_file(content: str | bytes, name: str = "t.txt") -> str:
        path = Path(tmp_path) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write_file
