"""What a page with everything inside needs to be safe: data that cannot end its element, and a policy for the rest.

In: texts of strangers, and our own scripts and styles. Out: what goes into the page's elements and into its
Content-Security-Policy. Whoever writes a page takes these, so that there is one escape to be right about.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
from collections.abc import Sequence
from typing import Any, Final

ELEMENTS: Final = "elements.js"  # new elements and numbers in words, for the scripts of every page

# Within <script> only the first three can end the element or open a comment in it; the last two end a line in old
# scripts.
_ESCAPES: Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def script_json(value: Any) -> str:
    """JSON that stays inside its `<script type="application/json">`, whatever the texts in it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)


def joined_scripts(package: str, names: Sequence[str]) -> str:
    """Scripts that lie beside a module, one after the other in a scope of their own, behind those of every page."""
    files = importlib.resources.files(package)
    places = [importlib.resources.files(__package__) / ELEMENTS, *(files / name for name in names)]
    script = "".join(place.read_text(encoding="utf-8") for place in places)
    return f'(() => {{\n"use strict";\n{script}}})();\n'


def page_policy(script: str, style: str) -> str:
    """A Content-Security-Policy that allows just this script, this style and pictures inside the page."""
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"script-src '{_digest(script)}'; style-src '{_digest(style)}'"
    )


def filled_page(
    package: str,
    scripts: Sequence[str],
    data: Any,
    *,
    template: str = "page.html",
    style: str = "page.css",
    indented: bool = True,
    **values: Any,
) -> str:
    """A template beside a module, filled in: with its scripts, its style, its data and a policy that allows just these.

    Args:
        package: of the module.
        scripts: files, in their order.
        data: for the scripts, as JSON.
        template: file, for Jinja; it gets `policy`, `style`, `script`, `data` and the values.
        style: file.
        indented: whether blanks before the template's own blocks are left out.
        values: what else the template names.
    """
    import jinja2

    files = importlib.resources.files(package)
    script, css = joined_scripts(package, scripts), (files / style).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=indented
    )
    filled = environment.from_string((files / template).read_text(encoding="utf-8")).render(
        policy=page_policy(script, css), style=css, script=script, data=script_json(data), **values
    )
    return writable(filled)


def writable(text: str) -> str:
    """The text with a question mark for each lone surrogate, which UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()


def _digest(text: str) -> str:
    """The source expression that allows just this text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
