"""The dataset's format, writer and reader side by side, and the loader that feeds batches to a training loop.

`Dataset` opens a finished dataset, `Loader` gives its batches (uint8 images, CSR labels) in an order that is a pure
function of seed, epoch and step, `verify_dataset` names the first thing wrong. No torch here; the trainer is
`openjft.loaders.training`, its scores `openjft.loaders.evaluation`.
"""

from .dataset import Dataset, Sample, ShardIndex
from .errors import CheckpointError, DatasetError, LoaderError
from .loader import Batch, EpochAccount, EpochBatches, Loader
from .manifest import Manifest
from .order import SampleOrder
from .verify import VerifyProgress, VerifySummary, verify_dataset
from .writer import NewSample, ShardWriter

__all__ = [
    "Batch",
    "CheckpointError",
    "Dataset",
    "DatasetError",
    "EpochAccount",
    "EpochBatches",
    "Loader",
    "LoaderError",
    "Manifest",
    "NewSample",
    "Sample",
    "SampleOrder",
    "ShardIndex",
    "ShardWriter",
    "VerifyProgress",
    "VerifySummary",
    "verify_dataset",
]
