"""The state of a run and its way to and from checkpoints."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openjft.loaders import Loader, LoaderState
from openjft.loaders.errors import CheckpointError, LoaderError
from openjft.loaders.labels import images_fingerprint
from openjft.loaders.source import Source

from .checkpoint import Checkpoint, CheckpointWriter, check_same_run, checkpoint_folders, load_checkpoint, step_of
from .checkpoint.layout import former_files
from .ema import Ema
from .export import initialise
from .models import build_model, class_log_odds
from .network import Network
from .optimizer import RMSProp, load_optimizer, optimizer_tensors, parameter_groups
from .options import TrainOptions
from .parallel import World
from .split import training_loader, vocabulary_sha256


@dataclasses.dataclass(kw_only=True, eq=False)
class RunState:
    """A network in training, and where it stands.

    Attributes:
        window: losses since the last line of the log.
        saved: step and folder of the last checkpoint that is whole.
        begun: step of the last checkpoint that was begun.
        resumed_from: step that this process began with, if it took over a checkpoint.
    """

    options: TrainOptions
    source: Source
    world: World
    loader: Loader
    network: Network
    optimizer: RMSProp
    ema: Ema | None
    writer: CheckpointWriter
    step: int = 0
    window: list[float] = dataclasses.field(default_factory=list)
    saved: tuple[int, Path] | None = None
    begun: int | None = None
    resumed_from: int | None = None

    @classmethod
    def begin(cls, options: TrainOptions, source: Source, world: World) -> RunState:
        """A new run, or the one that the output folder holds.

        Raises:
            CheckpointError: the folder holds another run's checkpoint, or a damaged one; or `init` does not fit.
            LoaderError: there are too few images, groups or classes, or resume is off and there is a checkpoint.
        """
        loader = training_loader(source, options, rank=world.rank, world_size=world.size)
        network = Network(
            _initial_model(options, source), world, split_head=options.split_head, compiled=options.compile
        )
        optimizer = RMSProp(
            parameter_groups(network.model, options.weight_decay),
            lr=options.lr,
            rho=options.rho,
            momentum=options.momentum,
            epsilon=options.epsilon,
        )
        state = cls(
            options=options,
            source=source,
            world=world,
            loader=loader,
            network=network,
            optimizer=optimizer,
            ema=None if options.ema is None else Ema(network.tensors(), options.ema),
            writer=CheckpointWriter(options.output, world),
        )
        state._resume()
        return state

    def _resume(self) -> None:
        """Takes over the last checkpoint, if there is one."""
        output = self.options.output
        folders = checkpoint_folders(output)
        steps = [found for (found,) in self.world.gather([step_of(folders[-1]) if folders else -1])]
        if len(set(steps)) > 1:
            raise LoaderError(
                f"{output}: expected a folder that all {self.world.size} processes share, found the last checkpoint at "
                f"steps {steps} of the ranks (-1: none)"
            )
        if not folders:
            if former_files(output):
                load_checkpoint(output)  # says why not
            return
        if not self.options.resume:
            raise LoaderError(
                f"{output}: expected no checkpoints, since resume is off, found {folders[-1].name}; "
                "give another output folder, or let it resume"
            )
        self._take_over(load_checkpoint(folders[-1]), folders[-1])

    def _take_over(self, checkpoint: Checkpoint, where: Path) -> None:
        check_same_run(
            checkpoint,
            recipe=self.options.recipe(),
            fingerprint=self.source.fingerprint,
            vocabulary_sha256=vocabulary_sha256(self.source),
            output=self.options.output,
        )
        self.loader.check_state(LoaderState.from_json(checkpoint.loader))
        own = self.network.own_rows
        try:
            self.network.model.load_state_dict(own(checkpoint.model))
            load_optimizer(self.network.model, self.optimizer, own(checkpoint.optimizer))
            if self.ema is not None:
                self.ema.load(own(checkpoint.ema or {}))
        except (RuntimeError, KeyError) as error:
            raise CheckpointError(
                f"{where}: expected the tensors of a {self.options.arch} with {checkpoint.num_categories:,} classes, "
                f"found others: {' '.join(str(error).split())[:300]}. Another program changed it; remove it"
            ) from error
        self.step, self.window, self.saved = checkpoint.step, list(checkpoint.window), (checkpoint.step, where)
        self.resumed_from = self.begun = checkpoint.step

    def save(self) -> None:
        """Begins a checkpoint of this step, unless it was; waits for the one before. Called by all ranks.

        Raises:
            CheckpointError: the one before could not be written.
        """
        self.note_saved(self.writer.finish())
        self.begun = self.step
        network, optimizer, ema = self.network, optimizer_tensors(self.network.model, self.optimizer), self.ema
        means = {} if ema is None else ema.tensors
        network.average_buffers(means)
        sections = {"model": network.tensors(), "optimizer": optimizer, "ema": means}
        rows = {
            name: found
            for tensors in sections.values()
            for name in tensors
            if (found := network.rows_of(name)) is not None
        }
        self.writer.start(self.step, sections, rows, self._facts())

    def note_saved(self, folder: Path | None) -> None:
        """Notes a checkpoint that has become whole."""
        if folder is not None:
            self.saved = (step_of(folder), folder)

    def finite(self) -> bool:
        """Whether all weights of all ranks are finite; waits for the device."""
        flags = torch.stack([tensor.isfinite().all() for tensor in self.network.tensors().values()])
        return all(ok for (ok,) in self.world.gather([int(flags.all())]))

    def _facts(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "recipe": self.options.recipe(),
            "num_categories": self.source.num_categories,
            "fingerprint": self.source.fingerprint,
            "images_fingerprint": images_fingerprint(self.source),
            "vocabulary_sha256": vocabulary_sha256(self.source),
            "window": list(self.window),
            "loader": self.loader_state().to_json(),
        }

    def loader_state(self) -> LoaderState:
        """The next batch."""
        return self.loader.state(*divmod(self.step, self.loader.steps_per_epoch))


def _initial_model(options: TrainOptions, source: Source) -> nn.Module:
    odds = class_log_odds(source.class_counts, source.num_samples)
    model = build_model(options.arch, source.num_categories, seed=options.seed, class_log_odds=odds)
    if options.init is not None:
        initialise(model, options.init, arch=options.arch, vocabulary_sha256=vocabulary_sha256(source))
    return model
