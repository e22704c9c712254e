from __future__ import annotations

import gc

import numpy as np
import torch

from openjft.loaders.buffers import Buffers


def address(array) -> int:
    return array.__array_interface__["data"][0]


def test_memory_comes_back_when_the_array_is_gone_and_not_before():
    buffers = Buffers(120, keep=2)
    first = buffers.empty((2, 5, 4, 3))
    place = address(first)
    first[:] = 7
    assert address(buffers.empty((120,))) != place
    del first
    gc.collect()
    assert place in {address(a) for a in [buffers.empty((1, 5, 4, 3)), buffers.empty((2, 5, 4, 3))]}


def test_views_and_tensors_hold_the_memory():
    for view_of in (
        lambda a: a[1:],
        lambda a: a[1:][:, 0],
        lambda a: a.reshape(-1)[5:],
        torch.from_numpy,
        lambda a: torch.from_numpy(a)[1],
        lambda a: torch.from_numpy(a).numpy(),
        memoryview,
    ):
        buffers = Buffers(24, keep=2)
        array = buffers.empty((2, 3, 4))
        array[:] = 1
        place, view = address(array), view_of(array)
        del array
        gc.collect()
        others = [buffers.empty((2, 3, 4)) for _ in range(3)]
        for other in others:
            other[:] = 9
        assert place not in {address(other) for other in others}
        assert np.asarray(view).ravel().max() == 1


def test_arrays_are_writable_contiguous_and_of_the_shape_asked_for():
    array = Buffers(24, keep=1).empty((1, 3, 4))
    assert array.shape == (1, 3, 4)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.dtype == np.uint8


def test_nothing_and_too_much_are_plain_arrays():
    buffers = Buffers(24, keep=1)
    assert buffers.empty((0, 3, 4)).shape == (0, 3, 4)
    assert buffers.empty((100,)).shape == (100,)


def test_no_more_than_so_many_free_pieces_are_held():
    buffers = Buffers(24, keep=2)
    arrays = [buffers.empty((24,)) for _ in range(5)]
    del arrays
    gc.collect()
    assert len(buffers._free) == 2
