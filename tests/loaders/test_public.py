from __future__ import annotations

import subprocess
import sys

import openjft.loaders


def test_the_public_names_are_these():
    assert sorted(openjft.loaders.__all__) == [
        "Batch",
        "CheckpointError",
        "Dataset",
        "DatasetError",
        "EpochAccount",
        "EpochBatches",
        "Ledger",
        "Loader",
        "LoaderError",
        "LoaderState",
        "Manifest",
        "NewSample",
        "RankSamples",
        "Sample",
        "SampleOrder",
        "SampleSet",
        "ShardIndex",
        "ShardWriter",
        "ShortReadError",
        "SkippedSample",
        "SkippedTooManyError",
        "Source",
        "StageTimes",
        "VerifyProgress",
        "VerifySummary",
        "step_of",
        "verify_dataset",
    ]
    assert all(hasattr(openjft.loaders, name) for name in openjft.loaders.__all__)


def test_importing_the_loaders_imports_neither_torch_nor_beam():
    code = "import sys, openjft.loaders; print([m for m in ('torch', 'apache_beam', 'faiss') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "[]"
