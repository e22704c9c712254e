"""The dataset's format, writer and reader side by side, and the loader that feeds batches to a training loop.

`Dataset` opens a finished dataset, `Loader` gives its batches (uint8 images, CSR labels) in an order that is a pure
function of seed, epoch and step, `verify_dataset` names the first thing wrong. No torch here; the trainer is
`openjft.loaders.training`, its scores `openjft.loaders.evaluation`.
"""

from .account import EpochAccount, SkippedSample
from .batch import Batch
from .dataset import Dataset, Sample
from .epoch import EpochBatches
from .errors import CheckpointError, DatasetError, LoaderError, ShortReadError, SkippedTooManyError
from .ledger import Ledger
from .loader import Loader, RankSamples
from .manifest import Manifest
from .order import SampleOrder, step_of
from .shard_index import ShardIndex
from .source import SampleSet, Source
from .state import LoaderState
from .times import StageTimes
from .verify import VerifyProgress, VerifySummary, verify_dataset
from .writer import NewSample, ShardWriter

__all__ = [
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
