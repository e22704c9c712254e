"""How an epoch ends: dropped, interrupted, in another process, by an error in a thread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from openjft.loaders import Dataset, Loader

PATIENCE_S = 60


@pytest.fixture(scope="module")
def folder(make_dataset, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), 40, 3, 32, 0, shards=2)


def our_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("openjft-")]


class Wrapped:
    """A dataset that reads by a function of (call number, shard, offset, size)."""

    def __init__(self, dataset, read):
        self._dataset, self._read, self._calls = dataset, read, 0

    def __getattr__(self, name):
        return getattr(self._dataset, name)

    def read_bytes(self, shard, offset, size):
        self._calls += 1
        return self._read(self._calls, shard, offset, size)


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_an_epoch_that_is_dropped_and_not_closed_ends_its_threads(folder, taken):
    epoch = Loader(Dataset.open(folder), batch_size=4, seed=0, num_threads=3).epoch(0)
    for _ in range(taken):
        next(epoch)
    assert bool(our_threads()) == bool(taken)
    del epoch
    end = time.monotonic() + PATIENCE_S
    while our_threads() and time.monotonic() < end:
        time.sleep(0.01)
    assert not our_threads()


def test_without_threads_none_is_started(folder, monkeypatch):
    loader = Loader(Dataset.open(folder), batch_size=8, seed=0, num_threads=0)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: pytest.fail(f"started {thread}"))
    assert sum(len(batch) for batch in loader.epoch(0)) == 40


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_the_first_bad_sample_of_the_batch_is_the_error_whatever_thread_meets_it(folder, threads):
    dataset = Dataset.open(folder)
    told = Loader(dataset, batch_size=40, seed=0)
    shards, rows = dataset.locate(told.sample_numbers(told.order(0), 0))
    place = {
        (shard, int(dataset.index(shard).offsets[row])): at
        for at, (shard, row) in enumerate(zip(shards.tolist(), rows.tolist(), strict=True))
    }
    meet = threading.Barrier(2) if threads > 1 else None

    def read(_call, shard, offset, size):
        at = place[shard, offset]
        if at in {7, 20}:  # in different tasks, the later one first
            if meet is not None:
                meet.wait(PATIENCE_S)
            raise RuntimeError(f"sample {at}")
        return dataset.read_bytes(shard, offset, size)

    epoch = Loader(Wrapped(dataset, read), batch_size=40, seed=0, num_threads=threads).epoch(0)
    with pytest.raises(RuntimeError, match="sample 7"):
        next(epoch)
    assert not our_threads()
    assert list(epoch) == []
    assert epoch.account.remaining == 40


@pytest.mark.parametrize("threads", [0, 2])
def test_a_keyboard_interrupt_in_a_read_closes_the_epoch_and_loses_nothing_unsaid(folder, threads):
    dataset = Dataset.open(folder)

    def read(call, shard, offset, size):
        if call == 20:
            raise KeyboardInterrupt
        return dataset.read_bytes(shard, offset, size)

    epoch = Loader(Wrapped(dataset, read), batch_size=8, seed=0, num_threads=threads).epoch(0)
    batches = []
    with pytest.raises(KeyboardInterrupt):
        batches.extend(iter(epoch))
    seen = sum(map(len, batches))
    assert not our_threads()
    assert list(epoch) == []
    assert epoch.account.seen == seen
    assert epoch.account.remaining == 40 - seen > 0


CTRL_C = """
import signal, sys, time
from openjft.loaders import Dataset, Loader
signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background, it came ignored
dataset = Dataset.open(sys.argv[1])
class Slow:
    def __getattr__(self, name):
        return getattr(dataset, name)
    def read_bytes(self, *place):
        print("reading", flush=True)
        time.sleep(0.2)
        return dataset.read_bytes(*place)
for epoch in range(10_000):
    for batch in Loader(Slow(), batch_size=8, seed=0, num_threads=int(sys.argv[2])).epoch(epoch):
        pass
"""


@pytest.mark.parametrize("threads", [0, 2])
def test_ctrl_c_ends_the_process(folder, threads):
    command = [sys.executable, "-c", CTRL_C, str(folder), str(threads)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "reading\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")


FORK = """
import os, sys
from openjft.loaders import Dataset, Loader, LoaderError
loader = Loader(Dataset.open(sys.argv[1]), batch_size=8, seed=0, num_threads=int(sys.argv[2]))
epoch = loader.epoch(0)
next(epoch)
expected = [batch.keys.tolist() for batch in loader.epoch(0, 1)]
child = os.fork()
if child == 0:
    try:
        rest = epoch
        try:
            first = next(epoch)
        except LoaderError as error:
            assert "begin an epoch after the fork" in str(error)
            epoch.close()
            rest, first = loader.epoch(0, 2), None
        keys = [batch.keys.tolist() for batch in rest]
        assert keys == expected[1:], len(keys)
        os._exit(10 if first is None else 20)
    finally:
        os._exit(1)
_, status = os.waitpid(child, 0)
assert [batch.keys.tolist() for batch in epoch] == expected
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(("threads", "status"), [(0, "20"), (2, "10")])
def test_a_forked_process_begins_its_own_epoch_and_one_without_threads_goes_on(folder, threads, status):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, str(folder), str(threads)],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == (status, "")
