"""The engine: what is done stays done, what is stale starts anew, no row is lost."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from openjft.pipelines.config import Runner
from openjft.pipelines.engine import (
    Records,
    Stage,
    UnitResult,
    check_rejects,
    decode_error,
    encode_error,
    fingerprint,
    is_current,
    run_unit,
    start_stage,
)
from openjft.pipelines.errors import PipelineError, StorageError, TooManyRejects
from openjft.pipelines.storage import Store


@dataclasses.dataclass(frozen=True)
class Squares(Stage):
    name: ClassVar[str] = "squares"
    noun: ClassVar[str] = "numbers"
    units: int = 3
    power: int = 2
    share: float = 1.0

    def num_units(self) -> int:
        return self.units

    def settings(self) -> Mapping[str, Any]:
        return {"power": self.power}

    def run(self, unit: int, store: Store) -> UnitResult:
        store.write_bytes(f"squares/{unit}.txt", str(unit**self.power).encode())
        return UnitResult(rows_in=4, rows_out=3, rejects={"odd": 1}, counters={"bytes": unit})

    def max_reject_share(self) -> float:
        return self.share


def test_only_units_without_a_record_are_missing(tmp_path):
    store, stage = Store(str(tmp_path)), Squares()
    records = start_stage(stage, store, "fp")
    assert records.missing() == [0, 1, 2]
    run_unit(stage, 1, store, "fp")
    assert not is_current(stage, store, "fp")
    assert start_stage(stage, store, "fp").missing() == [0, 2]
    for unit in (0, 2):
        run_unit(stage, unit, store, "fp")
    assert is_current(stage, store, "fp")
    total = Records(stage, store, "fp")
    total.refresh()
    assert total.total() == UnitResult(rows_in=12, rows_out=9, rejects={"odd": 3}, counters={"bytes": 3})


def test_another_fingerprint_removes_what_was_made(tmp_path):
    store = Store(str(tmp_path))
    start_stage(Squares(), store, "old")
    run_unit(Squares(), 0, store, "old")
    assert start_stage(Squares(power=3), store, "new").missing() == [0, 1, 2]
    assert not store.exists("squares/0.txt")


def test_a_record_of_a_worker_that_outlived_its_build_does_not_count(tmp_path):
    store, stage = Store(str(tmp_path)), Squares()
    start_stage(stage, store, "new")
    run_unit(stage, 0, store, "old")
    assert start_stage(stage, store, "new").missing() == [0, 1, 2]


def test_the_fingerprint_covers_settings_and_upstream_and_nothing_else():
    base = fingerprint(Squares(), ["a"])
    assert base == fingerprint(Squares(share=0.1), ["a"])
    assert base != fingerprint(Squares(power=3), ["a"])
    assert base != fingerprint(Squares(), ["b"])


def test_an_account_that_does_not_add_up_is_a_bug():
    with pytest.raises(AssertionError, match="2 rows lost"):
        UnitResult(rows_in=5, rows_out=2, rejects={"a": 1})


def test_too_many_rejects_fail_with_the_reasons():
    account = UnitResult(rows_in=10, rows_out=4, rejects={"a": 1, "b": 5})
    check_rejects(Squares(share=0.6), account)
    with pytest.raises(TooManyRejects, match=r"6 of 10 numbers rejected \(60.0%\).*: 5 b, 1 a"):
        check_rejects(Squares(share=0.59), account)


def test_our_errors_survive_a_runner_that_keeps_only_text():
    worker = RuntimeError(
        f"Traceback ...\n{encode_error(StorageError('a: no space, 100% full {x}'))} [while running x]"
    )
    found = decode_error(worker)
    assert isinstance(found, StorageError)
    assert str(found) == "a: no space, 100% full {x}"
    assert decode_error(RuntimeError("something else")) is None


PORTABLE = Runner(runner="PortableRunner", options=("--job_endpoint=embed", "--environment_type=LOOPBACK"))


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("runner", [Runner(workers=1), PORTABLE], ids=["local", "portable"])
def test_units_run_on_beam_and_failures_come_back_as_ours(tmp_path, runner):
    from openjft.pipelines.beam import run_units

    store, stage = Store(str(tmp_path)), Squares()
    start_stage(stage, store, "fp")
    run_units(stage, store, "fp", [0, 2], runner)
    assert Records(stage, store, "fp").missing() == [0, 1, 2]
    assert start_stage(stage, store, "fp").missing() == [1]

    class Failing(Squares):
        def run(self, unit: int, store: Store) -> UnitResult:
            raise PipelineError("expected a, found b")

    with pytest.raises(RuntimeError) as caught:
        run_units(Failing(), store, "fp", [1], runner)
    found = decode_error(caught.value)
    assert isinstance(found, PipelineError)
    assert str(found) == "expected a, found b"


@pytest.mark.parametrize("kind", ["local", "object store"])
def test_a_file_appears_whole_or_not_at_all(tmp_path, kind):
    # Arrow's in-memory file system stands for the object stores: like theirs, its files are there at their close.
    store = Store(str(tmp_path) if kind == "local" else "mock:///build")
    assert store.is_local == (kind == "local")

    def write_half():
        with store.writing("a/b.bin") as sink:
            sink.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert store.list_files("", recursive=True) == []
    assert not list(tmp_path.rglob("*.bin*"))
    store.write_bytes("a/b.bin", b"whole")
    assert store.read_bytes("a/b.bin") == b"whole"


def test_a_full_disk_is_an_error_that_says_so_and_leaves_nothing(tmp_path):
    import os
    import resource

    store = Store(str(tmp_path))
    child = os.fork()
    if child == 0:  # the limit would hold for the whole test run otherwise
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            store.write_bytes("big.bin", b"x" * 100_000)
        except StorageError as error:
            os._exit(0 if "size limit" in str(error) else 3)
        os._exit(4)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert list(tmp_path.iterdir()) == []


def test_equal_tables_give_equal_bytes_however_they_are_chunked(tmp_path):
    import pyarrow as pa

    store = Store(str(tmp_path))
    whole = pa.table({"a": list(range(1000))})
    store.write_table("one.parquet", whole)
    store.write_table("two.parquet", pa.concat_tables([whole.slice(0, 300), whole.slice(300)]))
    assert store.read_bytes("one.parquet") == store.read_bytes("two.parquet")


def test_records_are_plain_json(tmp_path):
    store = Store(str(tmp_path))
    run_unit(Squares(), 0, store, "fp")
    record = json.loads((tmp_path / "squares/_done/00000.json").read_text())
    assert record["rejects"] == {"odd": 1}
    assert record["fingerprint"] == "fp"
