"""`openjft taxonomy match` and `confusions`: matches on standard output, counts on standard error."""

from __future__ import annotations

import gzip
import json

import pytest
import typer
from typer.testing import CliRunner

from openjft.pipelines import cli_lexicon
from openjft.pipelines.errors import PipelineError
from openjft.taxonomy.lexicon import SensePriors

NODES = """id,name,parents,synonyms,definition
n1,thing,,,
n2,animal,n1,,
n3,tortoise,n2,,reptile with a shell
n4,glasses,n1,spectacles,
n5,tortoise shell,n1,,
n6,crane,n2,,wading bird
n7,crane,n1,,machine that lifts
n8,heron,n2,,
"""


@pytest.fixture
def nodes(tmp_path):
    path = tmp_path / "nodes.csv"
    path.write_text(NODES)
    return str(path)


def run(*arguments, status=0, given=None):
    app = typer.Typer()
    cli_lexicon.register(app)
    done = CliRunner().invoke(app, arguments, input=given)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return done.stdout, done.stderr


def test_matches_stand_below_their_text_and_counts_on_standard_error(nodes):
    out, err = run("match", nodes, "--text", "Tortoise shell glasses", "--text", "nothing here", "--text", "a crane")
    assert out.splitlines() == [
        "Tortoise shell glasses",
        "\tn4\tglasses\t1.00\tglasses",
        "nothing here\t(no match)",
        "a crane\t(ambiguous)",
    ]
    assert err.strip() == "3 texts: 1 matched (1 matches), 1 no match, 1 ambiguous, 0 empty"


def test_json_is_one_object_a_line(nodes):
    out, _ = run("match", nodes, "--json", "--explain", given="a tortoise\n\na tortoise shell\n")
    first, second, third = map(json.loads, out.splitlines())
    assert first["matches"] == [
        {"id": "n3", "name": "tortoise", "probability": 1.0, "surface": "tortoise", "start": 2, "end": 10}
    ]
    assert (first["outcome"], second["outcome"], third["outcome"]) == ("matched", "empty", "matched")
    assert first["explained"][0]["status"] == "matched"
    assert third["matches"][0]["id"] == "n5"


def test_explanations_say_why(nodes):
    out, _ = run("match", nodes, "--explain", "--text", "tortoise shell glasses", "--text", "a statue of a tortoise")
    assert "# tortoise shell: dropped, says what kind of 'glasses' it is; n5 tortoise shell 1.00" in out
    assert "# tortoise: dropped, 'statue' makes it an imitation or an idea" in out


@pytest.mark.parametrize("name", ["texts.csv", "texts.tsv", "texts.tsv.gz"])
@pytest.mark.parametrize("column", ["caption", "2"])
def test_a_column_of_a_table_is_read(nodes, tmp_path, name, column):
    separator = "," if name.endswith(".csv") else "\t"
    content = "".join(separator.join(row) + "\n" for row in (("url", "caption"), ("u1", "a heron"), ("u2",)))
    path = tmp_path / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    _, err = run("match", nodes, str(path), "--text-column", column)
    assert "1 matched (1 matches)" in err
    assert "1 empty" in err


def test_an_unknown_column_is_named(nodes, tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("url,caption\n")
    with pytest.raises(PipelineError, match="expected a column 'alt' in the header, found url, caption"):
        run("match", nodes, str(path), "--text-column", "alt")
    with pytest.raises(PipelineError, match="expected a file of texts"):
        run("match", nodes, str(tmp_path / "none.txt"))


def test_a_background_and_excluded_names_take_part(nodes, tmp_path):
    few = tmp_path / "few.csv"
    few.write_text("id,name,parents\nn3,tortoise,\n")
    out, _ = run("match", str(few), "--text", "a tortoise shell", "--background", nodes, "--json")
    assert json.loads(out)["matches"] == []
    out, _ = run("match", nodes, "--text", "a heron", "--exclude", "heron", "--json")
    assert json.loads(out)["matches"] == []


def test_priors_are_learned_added_and_used(nodes, tmp_path):
    path = tmp_path / "priors.json"
    for total in (3, 6):
        _, err = run("match", nodes, "--source", "birds", "--learn-priors", str(path), given="a heron\n" * 3)
        assert f"birds now has {total} mentions" in err
    assert SensePriors.from_json(path.read_text()).counts.counts == {"birds": {"n8": 6}}
    run("match", nodes, "--source", "birds", "--priors", str(path), "--text", "a crane")
    path.write_text("{}")
    with pytest.raises(PipelineError, match="expected sense priors as JSON"):
        run("match", nodes, "--priors", str(path), "--text", "a crane")


def test_mistyped_options_end_with_2(nodes):
    _, err = run("match", nodes, "texts.txt", "--text", "x", status=2)
    assert "expected TEXTS or --text, found both" in err
    _, err = run("match", nodes, "--learn-priors", "x.json", status=2)
    assert "--learn-priors expects --source" in err
    _, err = run("match", nodes, "--language", "fr", status=2)
    assert "expected one of en, none, found 'fr'" in err


def test_control_characters_are_shown_not_obeyed(nodes):
    out, _ = run("match", nodes, "--text", "a \x1b[31mheron", "--explain")
    assert "\x1b" not in out


def test_confusions_are_listed(nodes):
    out, _ = run("confusions", nodes)
    assert out.splitlines() == ["id\tname\tinside_id\tinside_name", "n3\ttortoise\tn5\ttortoise shell"]
    out, _ = run("confusions", nodes, "--json")
    assert json.loads(out)["confusions"] == 1
