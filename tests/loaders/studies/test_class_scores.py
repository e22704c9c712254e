"""Networks that know different classes are scored on those that both know, and on nothing else."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from openjft.loaders import Dataset
from openjft.loaders.errors import CheckpointError
from openjft.loaders.studies import class_study, study
from openjft.loaders.studies.class_scores import score_classes
from openjft.loaders.studies.scoring import score
from openjft.loaders.training import load_checkpoint, train
from openjft.loaders.training.checkpoint import save_checkpoint


def silent(*_):
    pass


@pytest.fixture
def wider(train_options, tiny_networks, tmp_path):
    """A trained network, and one with its four outputs in another order and two more that are sure of themselves."""
    path = train(train_options(steps=9, holdout=0.25)).checkpoint
    content = load_checkpoint(path)
    order = [2, 0, 3, 1]
    model = dict(content.model)
    for name in ("fc.weight", "fc.bias"):
        tensor = content.model[name]
        sure = torch.full_like(tensor[:1], 100.0 if name == "fc.bias" else 0.0)
        model[name] = torch.cat([sure, tensor[order], sure])
    changed = dataclasses.replace(content, model=model, optimizer={}, num_categories=6, vocabulary_sha256="0" * 64)
    known = ["x", *(f"c{i}" for i in order), "y"]
    return path, save_checkpoint(tmp_path / "wider", changed), known


def test_what_a_network_believes_of_other_classes_does_not_count(wider, study_options, dataset_folder):
    path, other, known = wider
    options = study_options(k=2)
    plain = score(options, path, silent)
    assert score_classes(options, other, known, Dataset.open(dataset_folder), silent) == plain
    assert score_classes(options, path, ["c0", "c1", "c2", "c3"], Dataset.open(dataset_folder), silent) == plain
    assert 0.3 < plain.map_at_k < 1


def test_progress_tells_all_held_out_images(wider, study_options, dataset_folder):
    told = []
    found = score_classes(
        study_options(eval_batch_size=8), wider[1], wider[2], Dataset.open(dataset_folder), lambda *at: told.append(at)
    )
    assert told[-1] == (found.num_images, found.num_images)
    assert len(told) == -(-found.num_images // 8)


def test_a_network_that_lacks_a_class_is_refused(wider, study_options, dataset_folder):
    with pytest.raises(CheckpointError, match="knows the subset's 4 classes, found none of 1 of them, the first 'c2'"):
        score_classes(study_options(), wider[1], ["c0", "c1", "z", "c3"], Dataset.open(dataset_folder), silent)


@pytest.mark.parametrize("matched", [True, False])
def test_a_subset_of_the_classes_is_compared_with_all_on_the_subsets_images(
    tiny_networks, study_options, tmp_path, dataset_folder, matched
):
    (tmp_path / "two.txt").write_text("c1\nc3\n")
    plan = class_study(study_options(), classes=tmp_path / "two.txt", matched=matched)
    subset, everything = plan.runs[0], plan.runs[-1]
    assert subset.steps == everything.steps
    results = study(plan, silent)
    assert {row.score.num_classes for row in results.rows} == {2}
    assert len({(row.score.num_images, row.score.class_weights_sha256) for row in results.rows}) == 1
    assert results.rows[0].score.num_images < 24
    assert abs(everything.images - subset.images) <= 8 if matched else everything.images > subset.images
    first = (plan.options.output / "study.json").read_bytes()
    study(plan, silent)
    assert (plan.options.output / "study.json").read_bytes() == first
    assert json.loads(first)["kind"] == "classes"


def test_another_dataset_is_scored_by_the_subsets_classes(tiny_networks, study_options, tmp_path, other_dataset):
    (tmp_path / "two.txt").write_text("c1\nc3\n")
    options = study_options(seeds=(0,), eval=str(other_dataset))
    results = study(class_study(options, classes=tmp_path / "two.txt"), silent)
    other = Dataset.open(other_dataset)
    with_one = sum(other.class_counts[other.category_ids.index(name)] for name in ("c1", "c3"))
    assert {row.score.num_images for row in results.rows} == {with_one}
