"""Evaluation sets as their authors lay them out: reading them, and writing lists of their clean images.

One module a format, reader and writer side by side: `coco`, `voc`, `imagenet`, `folder`, `webdataset`; `registry`
names them all. A further format is a module with a `LAYOUT`, an entry there and its name in `spec.EvalFormat`.
"""

from .clean import write_clean_list
from .images import EvalSet
from .registry import read_eval_set
from .spec import IMAGE_ENDINGS, MAX_ANNOTATION_BYTES, EvalFormat, EvalSetSpec, Span

__all__ = [
    "IMAGE_ENDINGS",
    "MAX_ANNOTATION_BYTES",
    "EvalFormat",
    "EvalSet",
    "EvalSetSpec",
    "Span",
    "read_eval_set",
    "write_clean_list",
]
