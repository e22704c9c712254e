"""The whole build on a small drawn web over real HTTP: same bytes for any workers, killed or whole; nothing lost."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tomlkit

from openjft.pipelines.accounts import ROWS
from openjft.pipelines.build import COMMANDS, build
from openjft.pipelines.config import Config, load_config
from openjft.pipelines.demo import compare_with_truth, draw_web, free_port, serve
from openjft.pipelines.storage import Store

IMAGES = 160
OPENJFT = [sys.executable, "-m", "openjft.pipelines"]


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    drawn = draw_web(folder, seed=5, images=IMAGES, port=free_port())
    plant_few(drawn.config_path)
    with serve(folder, drawn.port):
        yield drawn


def plant_few(config: Path) -> None:
    """Fewer planted copies: a build here is run a dozen times."""
    document = tomlkit.parse(config.read_text(encoding="utf-8"))
    document.setdefault("decontaminate", tomlkit.table())["planted_per_transform"] = 3
    config.write_text(tomlkit.dumps(document), encoding="utf-8")


@pytest.fixture(scope="module")
def reference(web, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("reference")
    summary = build(configured(web, output, workers=1))
    assert summary.report
    return output


def configured(web, output: Path, *, workers: int) -> Config:
    config = load_config(web.config_path)
    return config.model_copy(
        update={
            "build": config.build.model_copy(update={"output": str(output)}),
            # small_bytes: with two workers every stage has two, also those of little metadata
            "runner": config.runner.model_copy(update={"workers": workers, "small_bytes": 0}),
        }
    )


def dataset_bytes(output: Path) -> dict[str, str]:
    folder = output / "dataset"
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_two_workers_write_the_same_bytes_as_one(web, reference, tmp_path):
    build(configured(web, tmp_path, workers=2), report=False)
    assert dataset_bytes(tmp_path) == dataset_bytes(reference)
    assert len(dataset_bytes(reference)) > 16


@pytest.mark.parametrize("moment", ["evidence", "images", "overlaps", "shards"])
def test_a_build_killed_and_resumed_writes_the_same_bytes(web, reference, tmp_path, moment):
    command = [*OPENJFT, "build", str(web.config_path), "--output", str(tmp_path), "--workers", "1", "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(lambda: list((tmp_path / moment / "_done").glob("*.json")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "dataset/manifest.json").exists(), "killed too late to show anything"
    done = len(list((tmp_path / moment / "_done").glob("*.json")))
    result = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    stages = {s["stage"]: s for s in json.loads(result.stdout)["stages"]}
    assert stages[moment]["units_run"] <= stages[moment]["units"] - done  # what was done stayed done
    assert dataset_bytes(tmp_path) == dataset_bytes(reference)


def wait_for(condition, process, timeout_s: float = 120.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, "the build ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.01)


def test_workers_end_with_a_killed_driver(web, tmp_path):
    command = [*OPENJFT, "build", str(web.config_path), "--output", str(tmp_path), "--workers", "2", "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(lambda: list((tmp_path / "images" / "_done").glob("*.json")), process)
    workers = children_of(process.pid)
    assert workers
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 20
    while any(is_alive(pid) for pid in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [pid for pid in workers if is_alive(pid)]


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found + [grandchild for child in found for grandchild in children_of(child)]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_second_build_runs_nothing(web, reference):
    summary = build(configured(web, reference, workers=1), report=False)
    assert [s.units_run for s in summary.stages] == [0] * len(summary.stages)


def test_a_changed_setting_runs_its_stage_and_what_follows_only(web, reference, tmp_path):
    import shutil

    output = tmp_path / "copy"
    shutil.copytree(reference, output)
    config = configured(web, output, workers=1)
    changed = config.model_copy(update={"decontaminate": config.decontaminate.model_copy(update={"verify_ssim": 0.9})})
    ran = {s.name for s in build(changed, report=False).stages if s.units_run}
    assert ran == {"overlaps", "verdicts", "shards"}


def test_every_stage_accounts_for_every_row(web, reference):
    summary = build(configured(web, reference, workers=1), report=False)
    assert {s.name for s in summary.stages} == {name for names in COMMANDS.values() for name in names}
    assert {s.name: s.noun for s in summary.stages} == ROWS
    accounts = {s.name: s.account for s in summary.stages}
    for account in accounts.values():
        assert account.rows_in == account.rows_out + sum(account.rejects.values())
        assert account.rows_in > 0
    assert accounts["evidence"].rows_in == accounts["spill"].rows_out
    assert accounts["precision"].rows_in == accounts["evidence"].counters["evidence"]
    assert accounts["labels"].rows_in == accounts["evidence"].counters["evidence"]
    assert accounts["expanded"].rows_in == accounts["labels"].rows_out
    assert accounts["images"].rows_in == accounts["labels"].counters["images"]
    assert accounts["embeddings"].rows_in == accounts["images"].rows_out
    assert accounts["overlaps"].rows_in == accounts["embeddings"].rows_out
    assert accounts["shards"].rows_in == accounts["images"].rows_out
    report = json.loads((reference / "report/report.json").read_text())
    told = {row["stage"]: (row["rows_in"], row["rows_out"]) for row in report["account"]}
    assert told == {name: (a.rows_in, a.rows_out) for name, a in accounts.items()}


def test_text_and_ids_in_one_build_come_to_what_the_web_meant(web, reference):
    truth = compare_with_truth(web, Store(str(reference)))
    by_kind = {kind.kind: kind for kind in truth.texts.kinds}
    nothing = by_kind["nothing"]
    assert nothing.unmatched == nothing.texts > 0
    assert by_kind["name"].meant > 0.9 * by_kind["name"].texts
    assert truth.texts.right > 0.9 * truth.texts.matches > 0
    assert abs(truth.texts.claimed - truth.texts.right / truth.texts.matches) < 0.1
    assert all(count.expected == count.found for count in (*truth.rejects, *truth.fetches))
    ambiguous = json.loads((reference / "report/report.json").read_text())["texts"]["rejects"]["ambiguous_text"]
    assert ambiguous >= sum(kind.ambiguous for kind in truth.texts.kinds) > 0


def test_the_finished_dataset_verifies_and_the_report_is_one_file(web, reference):
    done = subprocess.run([*OPENJFT, "verify", str(reference / "dataset"), "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    html = (reference / "report/index.html").read_text()
    assert "http-equiv" in html
    assert "<script" not in html
    assert 'src="http' not in html


def test_a_stage_whose_inputs_are_missing_says_what_to_run_first(web, tmp_path):
    done = subprocess.run(
        [*OPENJFT, "shard", str(web.config_path), "--output", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Run `openjft expand CONFIG` first" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_builds_in_one_folder_are_refused(web, tmp_path):
    import fcntl

    with (tmp_path / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        done = subprocess.run(
            [*OPENJFT, "build", str(web.config_path), "--output", str(tmp_path)], capture_output=True, text=True
        )
    assert done.returncode == 1
    assert "another build is running" in done.stderr
