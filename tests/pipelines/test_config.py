"""The configuration: every mistake at once, no surprise in what is valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from openjft.pipelines.config import Config, load_config, parse_config
from openjft.pipelines.config_text import config_template, config_text
from openjft.pipelines.errors import ConfigError

MINIMAL = {
    "inputs": [{"path": "pairs.csv", "source": "alt"}],
    "sources": [{"name": "alt"}],
    "taxonomy": {"path": "tree.csv"},
}


def mistakes(data, tmp_path) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(data, base=tmp_path)
    return str(caught.value)


def test_three_mistakes_are_all_reported_with_their_paths(tmp_path):
    text = mistakes(
        MINIMAL | {"build": {"buckets": 0}, "fetch": {"jpeg_quality": "high"}, "precision": {"targt": 0.9}}, tmp_path
    )
    assert "3 mistakes" in text
    assert "build.buckets: Input should be greater than or equal to 1, found 0" in text
    assert "fetch.jpeg_quality: " in text
    assert "found 'high'" in text
    assert "precision.targt: unknown key. Did you mean 'target'?" in text


def test_a_wrong_item_is_not_also_reported_as_missing(tmp_path):
    text = mistakes(MINIMAL | {"sources": [{"name": "a b"}]}, tmp_path)
    assert "1 mistake\n" in text
    assert "sources.0.name: expected 1 to 64 letters" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": []}, "inputs: "),
        ({"taxonomy": {}}, "taxonomy.path: required, and not given"),
        ({"inputs": [{"path": "p", "source": "caption"}]}, "'caption' is not among sources (alt)"),
        ({"inputs": [{"path": "p"}]}, "exactly one of `source` and `columns.source`"),
        ({"sources": [{"name": "alt"}, {"name": "alt"}]}, "name 'alt' stands twice"),
        ({"embed": {"model": "onnx"}}, "needs `weights`"),
        ({"embed": {"model": "torchvision", "weights": "w.pth"}}, "needs `arch`"),
        ({"embed": {"model": "checkpoint"}}, "needs `weights`"),
        (
            {"embed": {"model": "checkpoint", "weights": "w.pt", "input_size": 299, "arch": "resnet50"}},
            "expected no arch, input_size for model 'checkpoint'",
        ),
        ({"embed": {"model": "pdq", "pooling": "gem"}}, "no `pooling` for model 'pdq'"),
        ({"embed": {"gem_p": 0.5}}, "embed.gem_p"),
        ({"precision": {"target": float("nan")}}, "precision.target"),
        ({"runner": {"options": ["--direct_running_mode=multi_threading"]}}, "multi_threading corrupts data"),
        ({"inputs": [{"path": "p", "source": "alt", "uri_template": "https://x/"}]}, "one '{}' in the template"),
    ],
)
def test_each_mistake_says_what_is_expected(tmp_path, change, message):
    assert message in mistakes(MINIMAL | change, tmp_path)


def test_a_missing_file_says_how_to_get_one(tmp_path):
    with pytest.raises(ConfigError, match="no such file; `openjft config` prints one"):
        load_config(tmp_path / "none.toml")


def test_a_file_that_is_not_toml_is_named(tmp_path):
    (tmp_path / "x.toml").write_text("build = [")
    with pytest.raises(ConfigError, match=r"x\.toml: expected TOML, found "):
        load_config(tmp_path / "x.toml")


def test_relative_paths_are_relative_to_the_file_and_uris_stay(tmp_path):
    config = parse_config(MINIMAL | {"build": {"output": "s3://b/out"}}, base=tmp_path)
    assert config.inputs[0].path == str(tmp_path / "pairs.csv")
    assert config.taxonomy.path == str(tmp_path / "tree.csv")
    assert config.build.output == "s3://b/out"


def test_the_template_is_valid_and_names_every_key(tmp_path):
    path = tmp_path / "openjft.toml"
    path.write_text(config_template())
    config = load_config(path)
    for section in Config.model_fields:
        assert f"[{section}]" in path.read_text() or f"[[{section}]]" in path.read_text()
    for key in type(config.fetch).model_fields:
        assert f"\n{key} = " in path.read_text()


def test_printing_and_reading_gives_the_same_configuration(tmp_path):
    config = parse_config(
        MINIMAL
        | {
            "inputs": [{"path": "p", "columns": {"source": "s", "uri": 'a "quoted" name'}}],
            "fetch": {"size": 96, "allow_paths": ["photos"]},
        },
        base=tmp_path,
    )
    path = tmp_path / "again.toml"
    path.write_text(config_text(config))
    assert load_config(path) == config


def test_importing_the_configuration_and_command_line_loads_no_heavy_library():
    import subprocess
    import sys

    code = (
        "import sys, openjft.pipelines.cli; print([m for m in ('apache_beam', 'torch', 'faiss') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path("/"))
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"taxonomy": {"path": "t", "format": "open_image"}}, "found 'open_image'. Did you mean 'open_images'?"),
        (
            {"taxonomy": {"path": "t", "background_format": "wordnet"}},
            "taxonomy.background_format: expected one of auto",
        ),
        ({"inputs": [{"path": "p", "source": "alt", "header": ["uri", "uri"]}]}, "name of every column, each once"),
        ({"inputs": [{"path": "p", "format": "tencent_ml_images"}]}, "expected `source`"),
        (
            {"inputs": [{"path": "p", "source": "alt", "format": "tencent_ml_images", "labels": "name"}]},
            "expected the labels 'id' for format 'tencent_ml_images', found 'name'",
        ),
        ({"inputs": [{"path": "p", "format": "open_images", "labels": "text"}]}, "found 'text'"),
        (
            {"inputs": [{"path": "p", "source": "alt", "labels": "text", "columns": {"negative": "no"}}]},
            "words are no verdict",
        ),
        ({"lexicon": {"language": "eng"}}, "lexicon.language: "),
    ],
)
def test_mistakes_about_hierarchies_and_text_say_what_is_expected(tmp_path, change, message):
    assert message in mistakes(MINIMAL | change, tmp_path)


def test_the_hierarchys_further_files_are_relative_to_the_configuration(tmp_path):
    taxonomy = {"path": "t", "names": "n.csv", "only": "ids.txt", "background": "s3://b/wordnet.tsv"}
    found = parse_config(MINIMAL | {"taxonomy": taxonomy}, base=tmp_path).taxonomy
    expected = (str(tmp_path / "n.csv"), str(tmp_path / "ids.txt"), "s3://b/wordnet.tsv")
    assert (found.names, found.only, found.background) == expected


def test_an_input_may_differ_from_the_rest_in_what_its_labels_are(tmp_path):
    inputs = [{"path": "p", "source": "alt", **more} for more in ({}, {"labels": "text"}, {"labels": "id"})]
    config = parse_config(MINIMAL | {"inputs": inputs, "taxonomy": {"path": "t", "labels": "name"}}, base=tmp_path)
    assert [config.labels_of(item) for item in config.inputs] == ["name", "text", "id"]
    assert config.has_text
