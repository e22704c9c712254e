"""Every sample of an epoch comes once, whatever the ranks, threads, kills and places: against sets and lists."""

from __future__ import annotations

import collections
import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.loaders import Dataset, Loader, LoaderError, LoaderState, SampleOrder, step_of
from openjft.loaders.order import BLOCK, WINDOW, rank_slice

WORLDS, THREADS = (1, 2, 3, 8), (0, 1, 4)
GOLDEN = [2, 11, 14, 34, 41, 42, 47, 50]  # of 53 samples, seed 17: epoch 2, step 3 of 8 images


@pytest.fixture(scope="module")
def folder(make_dataset, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), 53, 3, 8, 0, shards=3)


@settings(deadline=None, max_examples=80)
@given(
    n=st.integers(1, 3_000),
    seed=st.integers(0, 2**62),
    epoch=st.integers(0, 5),
    batch=st.integers(8, 300),
    unit=st.integers(1, 9),
    world=st.sampled_from(WORLDS),
)
def test_the_slices_of_all_ranks_are_the_epoch_once_and_ranks_cut_no_unit(n, seed, epoch, batch, unit, world):
    order = SampleOrder(n, seed=seed, epoch=epoch, block=16, window=4)
    seen = []
    for step in range(-(-n // batch)):
        slices = [
            rank_slice(step, batch_size=batch, num_samples=n, rank=r, world_size=world, unit=unit) for r in range(world)
        ]
        assert [start for start, _ in slices[1:]] == [end for _, end in slices[:-1]]  # neighbours, nothing between
        assert all((start - step * batch) % unit == 0 or start == min((step + 1) * batch, n) for start, _ in slices)
        lengths = [-(-(end - start) // unit) for start, end in slices]
        assert max(lengths) - min(lengths) <= 1
        for start, end in slices:
            seen += order.at(np.arange(start, end)).tolist()
    assert sorted(seen) == list(range(n))


KILLS = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(WORLDS), st.sampled_from(THREADS)), max_size=4)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), batch=st.sampled_from([8, 11, 16]), kills=KILLS, drop_last=st.booleans())
def test_kills_and_changes_of_ranks_and_threads_lose_no_sample_and_repeat_none(folder, seed, batch, kills, drop_last):
    dataset = Dataset.open(folder)
    options = {"batch_size": batch, "seed": seed, "drop_last": drop_last}
    state, seen = Loader(dataset, **options).state(0, 0), []
    for most, world, threads in [*kills, (99, 1, 1)]:
        state = LoaderState.from_json(json.loads(json.dumps(state.to_json())))
        loaders = [Loader(dataset, **options, rank=r, world_size=world, num_threads=threads) for r in range(world)]
        steps = min(most, loaders[0].steps_per_epoch - state.step)
        for loader in loaders:
            with loader.epoch_from(state) as epoch:
                for _ in range(steps):
                    seen += [key.tobytes() for key in next(epoch).keys]
                account = epoch.account
                assert account.planned == account.seen + account.remaining  # none skipped here
        state = loaders[0].state(0, state.step + steps)
    expected = 53 - 53 % batch if drop_last else 53
    assert collections.Counter(seen).most_common(1)[0][1] == 1
    assert len(seen) == expected


def test_the_order_of_a_step_is_pinned_for_every_number_of_ranks(folder):
    """Raise no version, change no release: a training of last year must go on with the same sample."""
    dataset = Dataset.open(folder)
    for world in WORLDS:
        loaders = [Loader(dataset, batch_size=8, seed=17, rank=r, world_size=world) for r in range(world)]
        told = [n for loader in loaders for n in loader.sample_numbers(loader.order(2), 3).tolist()]
        assert told == GOLDEN


def test_slots_are_places_in_the_global_batch(folder):
    loaders = [Loader(Dataset.open(folder), batch_size=11, seed=1, rank=r, world_size=3, unit=2) for r in range(3)]
    batches = [next(loader.epoch(0)) for loader in loaders]
    assert [batch.slots.tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


def test_a_rank_reads_its_own_part_of_storage():
    """Of a window's 64 blocks a rank of four reads about 16: what the others read is not fetched by it."""
    order, batch = SampleOrder(BLOCK * WINDOW, seed=1, epoch=0), 4_096

    class Numbers:
        num_samples, image_size, stored, uniform, fingerprint, root = BLOCK * WINDOW, 8, True, True, "", ""

        def subset(self, _low, _high):
            return self

        def numbers(self, places):
            return places

    loader = Loader(Numbers(), batch_size=batch, seed=1, rank=1, world_size=4)
    blocks = [set((loader.sample_numbers(order, step) // BLOCK).tolist()) for step in range(loader.steps_per_epoch)]
    touched = set().union(*blocks)
    assert len(touched) <= WINDOW // 4 + 2
    assert all(len(part) >= WINDOW // 4 - 2 for part in blocks)


def test_a_moved_dataset_goes_on_and_another_is_refused(folder, make_dataset, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    state = Loader(Dataset.open(folder), batch_size=8, seed=3).state(1, 2)
    there = [batch.keys.tolist() for batch in Loader(Dataset.open(moved), batch_size=8, seed=3).epoch_from(state)]
    here = [batch.keys.tolist() for batch in Loader(Dataset.open(folder), batch_size=8, seed=3).epoch(1, 2)]
    assert there == here
    other = Dataset.open(make_dataset(tmp_path / "other", 53, 3, 8, 1, shards=3))
    with pytest.raises(LoaderError) as caught:
        Loader(other, batch_size=4, seed=4).check_state(state)
    for line in ("seed: state 3, now 4", "batch_size: state 8, now 4", "fingerprint: state"):
        assert line in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"epoch": "1"}, {"step": True}, {"fingerprint": 3}, {"extra": 1}, {"shuffle": 1}, {"low": None}]
)
def test_a_damaged_state_is_refused(folder, change):
    value = {**Loader(Dataset.open(folder), batch_size=8, seed=3).state(1, 2).to_json(), **change}
    with pytest.raises(LoaderError, match="loader state"):
        LoaderState.from_json(value)


@pytest.mark.parametrize(("step", "expected"), [(0, (0, 0)), (6, (0, 6)), (7, (1, 0)), (20, (2, 6))])
def test_steps_are_counted_over_epochs(step, expected):
    assert step_of(step, 7) == expected


READER = """
import json, sys
from openjft.loaders import Dataset, Loader, LoaderState
folder, state_file, threads = sys.argv[1:]
state = LoaderState.from_json(json.load(open(state_file)))
loader = Loader(Dataset.open(folder), batch_size=8, seed=5, num_threads=int(threads), drop_last=False)
for batch in loader.epoch_from(state):
    print(json.dumps([batch.step, [key.tobytes().hex() for key in batch.keys]]), flush=True)
"""


def test_a_process_killed_in_the_middle_is_gone_on_with_elsewhere(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    loader, state_file, seen = Loader(Dataset.open(folder), batch_size=8, seed=5, drop_last=False), tmp_path / "s", {}
    step = 0
    for place, threads, stop in ((folder, 2, 2), (moved, 0, 5), (folder, 4, 99)):
        state_file.write_text(json.dumps(loader.state(0, step).to_json()))
        command = [sys.executable, "-c", READER, str(place), str(state_file), str(threads)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                at, keys = json.loads(line)
                assert at == step
                seen[at], step = keys, step + 1
                if step == stop:
                    process.send_signal(signal.SIGKILL)
                    break
    keys = [key for step_keys in seen.values() for key in step_keys]
    assert len(keys) == len(set(keys)) == 53
