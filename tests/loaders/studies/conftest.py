from __future__ import annotations

import importlib

import pytest
import torch

from openjft.loaders.studies import StudyOptions


@pytest.fixture
def tiny_networks(tiny_network, monkeypatch):
    """Every architecture is a `TinyNet`, also where the scores of some classes are taken."""
    build = importlib.import_module("openjft.loaders.training.run").build_model
    monkeypatch.setattr(importlib.import_module("openjft.loaders.studies.class_scores"), "build_model", build)
    return build


@pytest.fixture
def study_options(dataset_folder, tmp_path):
    """Makes options of a tiny study; keywords replace its settings."""

    def make(**changes) -> StudyOptions:
        tiny = {
            "data": dataset_folder,
            "output": tmp_path / "study",
            "seeds": (0, 1),
            "epochs": 1,
            "arch": "resnet18",
            "batch_size": 8,
            "crop_size": 32,
            "lr": 0.001,
            "holdout": 0.25,
            "device": "cpu",
            "num_threads": 1,
            "log_every": 1,
        }
        return StudyOptions(**(tiny | changes))

    return make


@pytest.fixture
def count_steps(monkeypatch):
    """A list that grows by one with every training step."""
    steps = []
    optimizer = importlib.import_module("openjft.loaders.training").RMSProp
    original = optimizer.step

    def step(self, closure=None):
        steps.append(1)
        return original(self, closure)

    monkeypatch.setattr(optimizer, "step", torch.no_grad()(step))
    return steps
