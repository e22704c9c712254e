"""`openjft taxonomy`: fitting exit statuses, results on standard output, remarks on standard error, nothing obeyed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from openjft.pipelines import cli, cli_tables, cli_taxonomy, cli_taxonomy_text
from openjft.taxonomy import TaxonomyError, UnknownCategoryError, read_taxonomy

OPENJFT = [sys.executable, "-m", "openjft.pipelines"]
MENDED = (
    "2 cycles collapsed: 1 category taken in by others, 3 edges between them removed, "
    "1 edge left out that became double"
)
NODES = """id,name,parents,synonyms,definition,aliases
n1,entity,,,,
n2,animal,n1,beast,moves by itself,
n3,canine,n2,,,
n4,pet,n2,,,
n5,dog,n3|n4,hound,,d5
n6,wolf,n3,hound,,
n7,car,n1,,,
"""
CYCLIC = "child,parent\ndog,canine\ncanine,dog\ncanine,animal\nwolf,canine\nwolf,dog\ncat,cat\ncat,animal\n"


@pytest.fixture
def nodes(tmp_path):
    path = tmp_path / "nodes.csv"
    path.write_text(NODES)
    return str(path)


@pytest.fixture
def cyclic(tmp_path):
    path = tmp_path / "cyclic.csv"
    path.write_text(CYCLIC)
    return str(path)


def run(*arguments, status=0):
    """Standard output of `openjft taxonomy ...`."""
    done = CliRunner().invoke(cli.app, ["taxonomy", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return done.stdout


def run_with_stderr(*arguments):
    done = CliRunner().invoke(cli.app, ["taxonomy", *arguments], catch_exceptions=False)
    return done.stdout, done.stderr


def table(text):
    return [line.split("\t") for line in text.splitlines()]


def test_every_command_has_a_help_with_an_example():
    commands = typer.main.get_command(cli_taxonomy.app).commands
    assert {"check", "stats", "show", "ancestors", "descendants", "diff", "export", "draw"} <= set(commands)
    for name in commands:
        text = run(name, "--help")
        assert f"openjft taxonomy {name}" in text
        assert "Example" in text


def test_the_help_lists_the_formats_with_what_they_are():
    text = run("--help")
    assert "open_images: Open Images" in text
    assert "edges: " in text


def test_check_of_a_sound_file_ends_with_0_and_its_notes(nodes):
    out = run("check", nodes)
    assert out.splitlines() == [
        f"{nodes}: 7 categories, 7 edges: no errors, 1 note",
        "note shared_name (1): a name that does not tell which category is meant",
        f"  {nodes}:6: 'hound' is the name of 2 categories: n5 (line 6), n6 (line 7)",
    ]


def test_check_of_a_bad_file_ends_with_1_and_groups_what_is_wrong(cyclic):
    out = run("check", cyclic, status=1).replace(cyclic, "F")
    assert out.splitlines() == [
        "F: 5 categories, 7 edges: 2 errors, no notes",
        "error cycle (1): a category that is its own ancestor (--collapse-cycles makes each cycle one category)",
        "  F:2: category dog is its own ancestor via dog -> canine -> dog (lines 2, 3). Remove one of these edges",
        "error self_edge (1): an edge from a category to itself (--collapse-cycles removes it)",
        "  F:7: category 'cat' is its own parent. Remove this edge",
    ]


def test_check_shows_some_of_a_kind_and_all_on_request(tmp_path):
    path = tmp_path / "many.csv"
    path.write_text("child,parent\nb,a\n" + "b,a\n" * 30)
    assert "and 20 more (--limit 0 shows all)" in run("check", str(path), status=1)
    assert run("check", str(path), "--limit", "0", status=1).count("stands twice") == 31
    assert len(json.loads(run("check", str(path), "--json", status=1))["findings"]) == 30


def test_check_json_has_every_finding(cyclic):
    value = json.loads(run("check", cyclic, "--json", status=1))
    assert (value["categories"], value["edges"], value["errors"], value["notes"]) == (5, 7, 2, 0)
    assert [(finding["kind"], finding["place"]) for finding in value["findings"]] == [
        ("cycle", f"{cyclic}:2"),
        ("self_edge", f"{cyclic}:7"),
    ]


def test_collapsing_cycles_mends_and_tells(cyclic):
    out = run("check", cyclic, "--collapse-cycles")
    assert out.splitlines()[:4] == [
        MENDED,
        "  dog now stands for canine too; removed dog -> canine (line 2), canine -> dog (line 3)",
        "  cat; removed cat -> cat (line 7)",
        f"{cyclic}: 4 categories, 3 edges: no errors, no notes",
    ]
    value = json.loads(run("check", cyclic, "--collapse-cycles", "--json"))
    assert value["collapsed"][0]["doubled"] == [{"child": "wolf", "parent": "dog", "line": 6}]
    out, err = run_with_stderr("show", cyclic, "canine", "--collapse-cycles", "--json")
    assert json.loads(out)["id"] == "dog"
    assert "2 cycles collapsed" in err
    assert run_with_stderr("show", cyclic, "canine", "--collapse-cycles", "--json", "-q")[1] == ""


def test_collapsing_leaves_other_mistakes_with_the_lines_and_ids_of_the_file(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("child,parent\na,b\nb,a\nc,b\nc,b\n")
    out = run("check", str(path), "--collapse-cycles", status=1)
    assert f"{path}:5: the edge 'c' -> 'b' stands twice (first in line 4)" in out


def test_a_command_on_a_bad_file_stops_with_the_first_mistake_and_the_number_of_others(cyclic):
    with pytest.raises(TaxonomyError) as caught:
        run("stats", cyclic)
    assert str(caught.value).endswith(f"and 1 more mistake; `openjft taxonomy check {cyclic}` lists them")


def test_stats_are_printed_and_given_as_json(nodes):
    rows = dict(row for row in table(run("stats", nodes)) if len(row) == 2)
    assert (rows["categories"], rows["depth"], rows["largest fan-out"]) == ("7", "3", "2, entity (n1)")
    assert rows["categories by level"] == "1 2 2 2"
    value = json.loads(run("stats", nodes, "--json", "--branch", "animal", "--branch", "n3"))
    assert value["categories"] == 7
    assert [(branch["id"], branch["below"]) for branch in value["branches"]] == [("n2", 4), ("n3", 2)]


@pytest.mark.parametrize("text", ["n5", "d5", "DOG"])
def test_show_finds_a_category_by_id_alias_or_name(nodes, text):
    rows = dict(table(run("show", nodes, text)))
    assert (rows["id"], rows["name"], rows["synonyms"], rows["aliases"]) == ("n5", "dog", "hound", "d5")
    assert (rows["parent 1"], rows["parent 2"]) == ("canine (n3)", "pet (n4)")
    assert rows["way up 1"] == "dog -> canine -> animal -> entity"
    assert json.loads(run("show", nodes, text, "--json"))["paths"] == 2


def test_show_of_a_shared_name_lists_the_ids(nodes):
    with pytest.raises(UnknownCategoryError, match=r"(?s)'hound' is the name of 2 categories.*n5 \(dog\)\n  n6"):
        run("show", nodes, "hound")


def test_show_of_many_children_shows_the_first(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text("child,parent\n" + "".join(f"c{i:02d},top\n" for i in range(50)))
    out = run("show", str(path), "top")
    assert "child 20\tc19\n\tand 30 more children\n" in out
    assert len(json.loads(run("show", str(path), "top", "--json"))["children"]) == 50


def test_ancestors_are_listed_the_nearest_first(nodes):
    out = table(run("ancestors", nodes, "dog"))
    assert out == [
        ["id", "name", "distance", "depth"],
        ["n3", "canine", "1", "2"],
        ["n4", "pet", "1", "2"],
        ["n2", "animal", "2", "1"],
        ["n1", "entity", "3", "0"],
    ]
    value = json.loads(run("ancestors", nodes, "dog", "--json"))
    assert value[0] == {"id": "n3", "name": "canine", "distance": 1, "depth": 2}
    assert json.loads(run("ancestors", nodes, "entity", "--json")) == []


def test_descendants_go_down_as_far_as_asked(nodes):
    assert [row["id"] for row in json.loads(run("descendants", nodes, "animal", "--json"))] == ["n3", "n4", "n5", "n6"]
    assert [row[0] for row in table(run("descendants", nodes, "animal", "--depth", "1"))[1:]] == ["n3", "n4"]


def test_only_cuts_down_to_a_list_and_tells_what_it_does_not_have(nodes, tmp_path):
    ids = tmp_path / "ids.txt"
    ids.write_text("# wanted\nn6\nn99\nd5\n")
    out, err = run_with_stderr("descendants", nodes, "n1", "--only", str(ids), "--json")
    assert [row["id"] for row in json.loads(out)] == ["n2", "n3", "n4", "n5", "n6"]
    assert err.replace("\n", "") == f"{ids}: 1 of its ids not in the hierarchy, passed over: n99"


def test_diff_tells_what_changed_and_ends_with_1_on_request(nodes, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(NODES.replace("n7,car,n1,,,\n", "n8,boat,n1,,,\n").replace("n6,wolf,n3", "n6,Wolf,n2"))
    out = run("diff", nodes, str(other))
    assert out.splitlines() == [
        "7 and 7 categories, 5 the same: 1 only in FILE, 1 only in FILE_B, 1 renamed, 1 moved",
        "change\tid\twhat",
        "only in FILE\tn7\tcar",
        "only in FILE_B\tn8\tboat",
        "renamed\tn6\twolf -> Wolf",
        "moved\tn6\t+n2 -n3",
    ]
    run("diff", nodes, str(other), "--exit-code", status=1)
    value = json.loads(run("diff", nodes, str(other), "--json"))
    assert value["moved"] == [{"id": "n6", "name": "Wolf", "added": ["n2"], "removed": ["n3"]}]
    assert run("diff", nodes, nodes, "--exit-code") == "7 and 7 categories, 7 the same: no difference\n"


def test_what_is_exported_reads_the_same(nodes, tmp_path):
    target = tmp_path / "out.json"
    assert run("export", nodes, "-o", str(target)) == f"{target}: 7 categories, 7 edges\n"
    assert read_taxonomy(str(target)) == read_taxonomy(nodes)
    run("export", nodes, "-o", str(tmp_path / "out"), "--to", "dataset", "-q")
    assert read_taxonomy(str(tmp_path / "out")) == read_taxonomy(nodes)


def test_draw_writes_a_page_with_the_images_of_a_data_set(nodes, tmp_path, make_dataset):
    page = tmp_path / "page.html"
    assert str(page) in run("draw", nodes, "-o", str(page))
    assert "boat" not in page.read_text()
    assert "beast" in page.read_text()
    data = make_dataset(tmp_path / "data")
    run("draw", str(data), "-o", str(page), "-q")
    assert "with images" in page.read_text()


def test_draw_maps_a_data_sets_categories_by_id_and_tells_those_that_it_cannot(tmp_path, make_dataset):
    data = make_dataset(tmp_path / "data")
    part = tmp_path / "part.csv"
    part.write_text("child,parent\nc000,root\nc001,root\n")
    out, err = run_with_stderr("draw", str(part), "-o", str(tmp_path / "p.html"), "--dataset", str(data))
    assert "1 of 4 categories are not in" in err.replace("\n", " ")
    assert "3 categories" in out
    part.write_text("child,parent\nb,a\n")
    with pytest.raises(TaxonomyError, match="expected a data set with categories of"):
        run("draw", str(part), "-o", str(tmp_path / "p.html"), "--dataset", str(data))


def test_an_unknown_format_ends_with_2_and_the_closest():
    done = CliRunner().invoke(cli.app, ["taxonomy", "stats", "x.csv", "--format", "edgs"])
    assert done.exit_code == 2
    assert "edges" in done.output


def strange(tmp_path, file="strange"):
    path = tmp_path / file
    name = "\x1b[31mred\x9b2J [bold]not bold[/bold]" + ("" if file == "strange" else "!")
    path.write_text(f'id,name,parents\nn1,"{name}",\nn2,plain,n1\nn3,plain,n1\n')
    return str(path)


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("command", ["check", "stats", "show", "ancestors", "descendants", "diff"])
def test_what_strangers_wrote_is_shown_and_not_obeyed(tmp_path, monkeypatch, command, terminal):
    more = {"show": ["n1"], "ancestors": ["n2"], "descendants": ["n1"], "diff": [strange(tmp_path, "other")]}
    if terminal:
        for module in (cli_taxonomy, cli_taxonomy_text):
            monkeypatch.setattr(module, "out", Console(force_terminal=True, width=200))
    text = run(command, strange(tmp_path), *more.get(command, []))
    assert "\x1b[31mred" not in text
    assert "\x9b" not in text
    if command not in {"check", "descendants"}:
        assert "\\x1b[31mred\\x9b2J [bold]not bold[/bold]" in text


def test_a_terminal_gets_a_table(tmp_path):
    shown = on_a_terminal([*OPENJFT, "taxonomy", "ancestors", strange(tmp_path), "n2"])
    assert "\x1b[31mred" not in shown
    assert "│ n1 │ \\x1b[31mred\\x9b2J [bold]not bold[/bold] │" in shown


def on_a_terminal(command):
    """What the command writes to a terminal of 200 columns."""
    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": "200", "TERM": "xterm"}
    with subprocess.Popen(command, stdout=child, stderr=child, env=environment) as process:
        os.close(child)
        data = b""
        while True:
            try:
                piece = os.read(parent, 1 << 16)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            data += piece
    os.close(parent)
    assert process.returncode == 0
    return data.decode()


def test_a_mistake_is_shown_without_a_traceback(cyclic):
    done = subprocess.run([*OPENJFT, "taxonomy", "stats", cyclic], capture_output=True, text=True)
    assert done.returncode == 1
    assert "is its own ancestor via dog -> canine -> dog (lines 2, 3)" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_commands_load_neither_torch_nor_beam(nodes):
    code = (
        "import sys; from openjft.pipelines.cli import app\n"
        f"app(['taxonomy', 'stats', {nodes!r}], standalone_mode=False)\n"
        "assert not {'torch', 'apache_beam', 'numba', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_spinner_is_only_for_terminals_and_for_long_work(monkeypatch):
    monkeypatch.setattr(cli_tables, "PATIENCE_S", 0.0)
    for terminal, quiet in ((False, False), (True, True), (True, False)):
        console = Console(force_terminal=terminal, record=True, width=80)
        with cli_tables.waiting(console, "reading [bold]x", quiet=quiet):
            pass
    assert not console._live_stack
