"""The processes of a training: who this one is, what they tell each other, and how all end when one does.

Started by `torchrun --nproc-per-node N -m openjft.pipelines train ...`, which sets RANK, WORLD_SIZE and LOCAL_RANK;
without them there is one process and nothing here touches torch.distributed. Small integers and texts travel by gloo
in host memory, gradients by NCCL on CUDA and by gloo on the CPU. A rank that fails leaves its message in the store of
the rendezvous and ends; the others lose the connection, find the message and end with it. Nothing waits at a barrier.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from openjft.loaders.checks import Device
from openjft.loaders.errors import LoaderError

from .device_choice import choose_device

TIMEOUT_S: Final = 600.0  # for a rank that stands still: the first read of a cold bucket may take minutes
_FAILURE: Final = "openjft/failure"
_LEAVING: Final = "openjft/leaving"
_GRACE_S: Final = 5.0  # to find the message of a rank that has just ended
_LINGER_S: Final = 2.0  # of the process that keeps the store, for those that have not read it yet
_LOST: Final = ("connection", "timed out", "timeout", "nccl", "gloo", "broken pipe", "socket", "peer")


class PeerError(LoaderError):
    """Another rank failed, and raises the error itself; this message quotes it."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """This process among those that train together.

    Attributes:
        rank: of this process, in [0, size).
        size: processes.
        device: that this one computes on.
    """

    rank: int
    size: int
    device: torch.device

    @classmethod
    def alone(cls, device: torch.device) -> World:
        """One process."""
        return cls(rank=0, size=1, device=device)

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and logs."""
        return self.rank == 0

    def gather(self, values: Sequence[int]) -> list[list[int]]:
        """The integers of every rank, by rank; each gives as many."""
        if self.size == 1:
            return [list(values)]
        own = torch.tensor(values, dtype=torch.int64)
        parts = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(parts, own)
        return [part.tolist() for part in parts]

    def gather_text(self, text: str) -> list[str]:
        """The text of every rank, by rank."""
        if self.size == 1:
            return [text]
        data = torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)
        sizes = [size for (size,) in self.gather([len(data)])]
        return [bytes(part.tolist()).decode().strip() for part in self.gather_rows(data, sizes)]

    def gather_rows(self, rows: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """The rows of every rank, by rank, on the device where this rank's lie.

        Args:
            rows: (sizes[rank], ...), of one type and width on all ranks.
            sizes: rows of each rank, known to all.
        """
        if self.size == 1:
            return [rows]
        most = max(sizes)
        padded = rows.new_zeros((most, *rows.shape[1:]))  # all_gather wants equal shapes
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return [part[:size] for part, size in zip(parts, sizes, strict=True)]

    def sum_(self, tensor: Tensor) -> Tensor:
        """Adds the tensors of all ranks, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor


def environment_ranks(environment: Mapping[str, str] = os.environ) -> tuple[int, int, int]:
    """(rank, world size, local rank) as torchrun says them; (0, 1, 0) if it does not.

    Raises:
        LoaderError: they are not numbers, or do not fit each other.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return 0, 1, 0
    found = [environment.get(name, "0") for name in names]
    if not all(text.isdecimal() for text in found) or not int(found[0]) < int(found[1]):
        told = ", ".join(f"{name} {text!r}" for name, text in zip(names, found, strict=True))
        raise LoaderError(f"expected numbers with RANK below WORLD_SIZE, as torchrun sets them, found {told}")
    rank, size, local = (int(text) for text in found)
    return rank, size, local


def _device_of(kind: Device, local_rank: int, size: int) -> torch.device:
    device = choose_device(kind)
    if device.type != "cuda" or size == 1:
        return device
    if local_rank >= torch.cuda.device_count():
        raise LoaderError(
            f"LOCAL_RANK {local_rank}: expected a CUDA device for each process, found {torch.cuda.device_count()} on "
            "this machine; lower --nproc-per-node, or say device 'cpu'"
        )
    return torch.device("cuda", local_rank)


@contextlib.contextmanager
def joined(kind: Device, *, timeout_s: float = TIMEOUT_S) -> Iterator[World]:
    """Joins the other processes, if there are any, and leaves them in the end.

    Raises:
        PeerError: another rank failed.
        LoaderError: torchrun's variables are wrong, there are too few devices, or the others cannot be reached.
    """
    rank, size, local_rank = environment_ranks()
    device = _device_of(kind, local_rank, size)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    world = World(rank=rank, size=size, device=device)
    if size == 1:
        yield world
        return
    store = _meet(world, timeout_s)
    try:
        yield world
    except Exception as error:
        told = _reason(store, world, error)
        if isinstance(told, PeerError):
            _leave(store, world, wait=world.first and not _store_outlives())
        if told is error:
            raise
        raise told from error
    else:
        _leave(store, world, wait=True)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _meet(world: World, timeout_s: float) -> Store:
    timeout = dt.timedelta(seconds=timeout_s)
    backend = "cpu:gloo,cuda:nccl" if world.device.type == "cuda" else "gloo"
    try:
        store: Store
        store, _, _ = next(rendezvous("env://", world.rank, world.size, timeout=timeout))
        dist.init_process_group(
            backend, store=PrefixStore("openjft", store), rank=world.rank, world_size=world.size, timeout=timeout
        )
    except (RuntimeError, ValueError) as error:
        raise LoaderError(
            f"rank {world.rank}: expected to meet {world.size} processes at MASTER_ADDR "
            f"{os.environ.get('MASTER_ADDR')!r}: {str(error).partition(chr(10))[0]}. Start them with torchrun"
        ) from error
    return store


def _reason(store: Store, world: World, error: Exception) -> Exception:
    """The error that this rank ends with: that of the first rank to fail, which the store keeps for all."""
    lost = not isinstance(error, LoaderError) and any(word in str(error).lower() for word in _LOST)
    told = _told(store, wait_s=_GRACE_S if lost else 0.0)
    if told is None:
        message = _lost(error) if lost else str(error) if isinstance(error, LoaderError) else repr(error)
        own = f"rank {world.rank} of {world.size}: {message}"
        try:
            told = store.compare_set(_FAILURE, "", own).decode()
        except RuntimeError:
            told = own  # the store went with the process that kept it
        if told == own:
            return LoaderError(own) if lost else type(error)(own) if isinstance(error, LoaderError) else error
    return PeerError(told)


def _told(store: Store, *, wait_s: float) -> str | None:
    """What a rank left in the store, if one did."""
    until = time.monotonic() + wait_s
    with contextlib.suppress(RuntimeError):
        while not store.check([_FAILURE]):
            if time.monotonic() >= until:
                return None
            time.sleep(0.1)
        return str(store.get(_FAILURE).decode())
    return None


def _lost(error: Exception) -> str:
    return (
        f"lost the others ({str(error).strip().partition(chr(10))[0][:200]}): one ended without a word, or stood still "
        "for too long. Run the same command again, it goes on from the last checkpoint"
    )


def _store_outlives() -> bool:
    """Whether torchrun keeps the store, and not the first process."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _leave(store: Store, world: World, *, wait: bool) -> None:
    """Waits a little for the others, since the store, and what was sent last, may go with this process."""
    until = time.monotonic() + _LINGER_S
    with contextlib.suppress(RuntimeError):
        left = store.add(_LEAVING, 1)
        while wait and left < world.size and time.monotonic() < until:
            time.sleep(0.02)
            left = store.add(_LEAVING, 0)
