"""`openjft visual` on a small build of drawn pictures, and a second build that reads what it wrote."""

from __future__ import annotations

import json
import tomllib

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer.testing

from openjft.loaders.decoding import encode_jpeg
from openjft.pipelines import cli_visual
from openjft.pipelines.build import build
from openjft.pipelines.config import load_config
from openjft.pipelines.errors import StaleError
from openjft.pipelines.visual import input_toml, score_visually

KINDS = ("circle", "cross", "stripe")


def picture(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Bright shapes on dark ground, moved and noisy."""
    y, x = np.mgrid[:64, :64] - 32 + rng.integers(-4, 5, (2, 1, 1))
    inside = {
        "circle": x * x + y * y < 300,
        "cross": (abs(x) < 6) | (abs(y) < 6),
        "stripe": (x + y) % 32 < 16,
    }[kind]
    return np.clip(np.where(inside, 190, 60)[..., None] + rng.normal(0, 12, (64, 64, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A build that has come to `embed`: every sixth label is of another kind than the picture."""
    folder = tmp_path_factory.mktemp("build")
    rng = np.random.default_rng(0)
    lines, shown = ["uri,label,source,score"], {}
    for i in range(90):
        kind = KINDS[i % 3]
        (folder / f"{i}.jpg").write_bytes(encode_jpeg(picture(kind, rng), quality=90))
        uri = f"file://{folder}/{i}.jpg"
        label = KINDS[(i + 1) % 3] if i % 6 == 0 else kind
        shown[uri] = kind
        lines += [f"{uri},{label},alt,", f"{uri},{label},model,{rng.normal(label == kind, 1):.3f}"]
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    (folder / "tree.csv").write_text("child,parent\n" + "".join(f"{kind},shape\n" for kind in KINDS))
    config = f"""
[build]
output = "out"
buckets = 3
[[inputs]]
path = "pairs.csv"
columns = {{ source = "source", score = "score" }}
[[sources]]
name = "alt"
[[sources]]
name = "model"
kind = "score"
[taxonomy]
path = "tree.csv"
[ingest]
allowed_schemes = ["file"]
[precision]
target = 0.3
[fetch]
allow_paths = ["{folder}"]
size = 64
[runner]
workers = 1
"""
    path = folder / "openjft.toml"
    path.write_text(config)
    return path, shown


@pytest.fixture(scope="module")
def scored(finished):
    path, _ = finished
    config = load_config(path)
    with pytest.raises(StaleError, match=r"visual: expected finished evidence/.*openjft ingest CONFIG"):
        score_visually(config)
    build(config, commands=("ingest", "precision"))
    with pytest.raises(StaleError, match=r"visual: expected finished embeddings/.*openjft embed CONFIG"):
        score_visually(config)
    build(config, commands=("expand", "fetch", "embed"))
    return score_visually(config)


def test_wrong_labels_have_the_low_scores(finished, scored):
    rows = pq.read_table(scored.path).to_pylist()
    assert len(rows) == scored.stages[1].account.counters["scores"] == 180
    _, shown = finished
    margins = [(row["score"], shown[row["uri"]] == row["label"]) for row in rows if row["source"] == "visual_margin"]
    wrong = [score for score, right in margins if not right]
    assert np.mean([score > np.max(wrong) for score, right in margins if right]) > 0.8


def test_a_second_run_does_nothing_and_other_scores_make_it_stale(finished, scored):
    path, _ = finished
    again = score_visually(load_config(path))
    assert [stage.units_run for stage in again.stages] == [0, 0]
    assert again.fit == scored.fit
    text = path.read_text()
    other = path.with_name("other.toml")
    other.write_text(text.replace("target = 0.3", "target = 0.2"))
    with pytest.raises(StaleError, match=r"visual: expected finished scores/.*openjft precision CONFIG"):
        score_visually(load_config(other))


def test_another_build_reads_the_scores_by_the_lines_that_are_printed(finished, scored):
    path, _ = finished
    second = path.with_name("second.toml")
    second.write_text(path.read_text().replace('output = "out"', 'output = "second"') + "\n" + scored.toml)
    config = load_config(second)
    [summary, *_] = build(config, commands=("ingest",)).stages
    assert dict(summary.account.rejects) == {}
    table = pq.read_table(path.parent / "second" / "evidence", columns=["visual_margin.score", "visual_mode.score"])
    assert table.num_rows == 90
    assert [column.null_count for column in table.columns] == [0, 0]


def test_the_lines_are_toml_wherever_the_folder_lies():
    value = tomllib.loads(input_toml('/data/my "best"\\build/visual'))
    assert value["inputs"][0]["path"] == '/data/my "best"\\build/visual'
    assert [source["name"] for source in value["sources"]] == ["visual_margin", "visual_mode"]


def command(*arguments):
    app = typer.Typer()
    cli_visual.register(app)
    app.callback()(lambda: None)
    return typer.testing.CliRunner().invoke(app, ["visual", *map(str, arguments)])


def test_the_command_prints_the_account_and_the_lines_to_add(finished, scored):
    result = command(finished[0])
    assert result.exit_code == 0, result.output
    assert "visual_sums" in result.output
    assert scored.toml in result.output
    assert tomllib.loads(result.output[result.output.index("[[inputs]]") :])["inputs"][0]["path"] == scored.path


def test_quiet_prints_the_lines_alone_and_json_all_of_it(finished, scored):
    assert command(finished[0], "--quiet").output == scored.toml
    value = json.loads(command(finished[0], "--json", "--quiet").output)
    assert value["toml"] == scored.toml
    assert [stage["stage"] for stage in value["stages"]] == ["visual_sums", "visual"]
    assert value["fit"]["classes"] == 3
