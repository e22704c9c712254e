"""The configuration: one TOML file, validated whole before anything starts.

In: a TOML file (`openjft config` prints one with every default). Out: a frozen `Config`. Every mistake is
reported at once with its key's path. Relative paths are resolved against the folder of the file. Secrets never
stand in it: object stores read their credentials from the environment, as pyarrow documents.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from openjft.taxonomy import READERS
from openjft.taxonomy.roles import WORDNET_ROLES

from .config_base import Name, PathOrUri, Positive, Section, Share
from .config_duplicates import Duplicates
from .config_errors import describe_errors
from .config_filter import Audit, Precision, Source
from .config_images import Decontaminate, Embed, EvalSet
from .errors import ConfigError
from .keys import MAX_BUCKETS

MAX_SOURCES = 64  # evidence carries the sources as bits of a uint64


def _taxonomy_format(value: str) -> str:
    known = ("auto", *READERS)
    if value not in known:
        close = difflib.get_close_matches(value, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"expected one of {', '.join(known)}, found {value!r}.{hint}")
    return value


TaxonomyFormat = Annotated[str, pydantic.AfterValidator(_taxonomy_format)]


class Build(Section):
    """What is built, and where."""

    name: Name = Field("dataset", description="prefix of the shards: NAME-000012.tar")
    output: PathOrUri = Field("out", description="folder or URI (s3://, gs://, hdfs://) of everything the build writes")
    buckets: Annotated[int, Field(ge=1, le=MAX_BUCKETS)] = Field(
        16, description="equal ranges of the hash space: unit of work, storage, retry; one shard each"
    )
    seed: int = Field(17, description="seed of every draw")


class Columns(Section):
    """Names of the input's columns; a column that is not named here is not read."""

    uri: str = Field("uri", description="the image's address")
    label: str = Field("label", description="category: external id or name, or text (see `labels`)")
    source: str | None = Field(None, description="which signal says so; else the input's constant `source`")
    score: str | None = Field(None, description="the signal's strength, higher is surer")
    page: str | None = Field(None, description="the page that shows the image")
    clicks: str | None = Field(None, description="clicks on the image for this label")
    impressions: str | None = Field(None, description="how often it was shown for this label")
    position: str | None = Field(None, description="mean place at which it was shown, 1 the first; none told: 1")
    text: str | None = Field(
        None,
        description="text that the row was read from, where labels are no text themselves: repeated ones count less",
    )
    negative: str | None = Field(
        None, description="1: a person saw the image and says that the label is wrong; 0 or empty: evidence for it"
    )


class Input(Section):
    """Raw pairs: files of one format and one mapping of column names."""

    path: PathOrUri = Field(description="file, folder, glob or URI")
    format: Literal["auto", "parquet", "csv", "tsv", "jsonl", "open_images", "tencent_ml_images", "webdataset"] = Field(
        "auto", description="auto goes by the ending, also behind .gz and .zst"
    )
    header: tuple[str, ...] | None = Field(
        None, description="names of the columns, for CSV and TSV without a line that names them"
    )
    columns: Columns = Columns()
    labels: Literal["id", "name", "text"] | None = Field(
        None,
        description="what the label column holds: 'text' is free text (alt text, captions, queries), in which names of "
        "categories are looked for; none: as taxonomy.labels",
    )
    source: Name | None = Field(None, description="the source of all rows, where no column tells it")
    uri_template: str | None = Field(
        None, description="builds the URI from the uri column: 'https://example.org/{}.jpg' (Open Images ids)"
    )
    empty_label: Literal["reject", "opportunity"] = Field(
        "reject",
        description="'opportunity': a row without a label, or a text in which no name occurs, says that its source "
        "looked and found nothing",
    )
    webdataset_label: str = Field(
        "json:label", description="where a tar's sample keeps its label: 'cls', 'txt', or 'json:FIELD'"
    )

    @pydantic.model_validator(mode="after")
    def _source_known(self) -> Self:
        if self.format == "open_images":
            return self
        if self.format == "tencent_ml_images" and self.source is None:
            raise ValueError("expected `source`: the lines of format 'tencent_ml_images' tell none")
        if (self.source is None) == (self.columns.source is None):
            raise ValueError("expected exactly one of `source` and `columns.source`")
        return self

    @pydantic.model_validator(mode="after")
    def _labels_fit(self) -> Self:
        if self.format == "tencent_ml_images" and self.labels not in {None, "id"}:
            raise ValueError(f"expected the labels 'id' for format 'tencent_ml_images', found {self.labels!r}")
        if self.labels == "text" and self.format == "open_images":
            raise ValueError("expected the labels 'id' or 'name' for format 'open_images', found 'text'")
        if self.labels == "text" and self.columns.negative is not None:
            raise ValueError("expected no `columns.negative` where labels are 'text': words are no verdict on a label")
        return self

    @pydantic.field_validator("header")
    @classmethod
    def _header_names(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (not value or not all(value) or len(set(value)) < len(value)):
            raise ValueError(f"expected the name of every column, each once, found {list(value)!r}")
        return value

    @pydantic.field_validator("uri_template")
    @classmethod
    def _template(cls, value: str | None) -> str | None:
        if value is not None and value.count("{}") != 1:
            raise ValueError(f"expected one '{{}}' in the template, found {value!r}")
        return value


class Taxonomy(Section):
    """The category hierarchy."""

    path: PathOrUri
    format: TaxonomyFormat = Field("auto", description=f"auto goes by the content; {', '.join(READERS)}")
    labels: Literal["id", "name"] = Field(
        "id", description="what the label column of the gold, and of inputs that do not tell it, holds"
    )
    names: PathOrUri | None = Field(
        None, description="file of id -> name where it is not beside the hierarchy (class descriptions, words)"
    )
    only: PathOrUri | None = Field(
        None, description="file of ids, one a line: these categories and their ancestors, the rest is left out"
    )
    parts: bool = Field(False, description="'is a part of' counts as 'is a kind of' (Open Images)")
    collapse_cycles: bool = Field(False, description="make one category of each cycle; else a cycle is an error")
    background: PathOrUri | None = Field(
        None,
        description="a second, larger hierarchy, for texts: its names are matched and not kept, so that 'tortoise "
        "shell' hides 'tortoise' also where it is no category (Open English WordNet)",
    )
    background_format: TaxonomyFormat = "auto"


class Lexicon(Section):
    """Words to categories, for inputs whose labels are text."""

    language: Literal["en", "none"] = Field("en", description="whose plurals are known; none: words as they stand")
    min_probability: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="of a match; less is no match")
    exclude: tuple[str, ...] = Field((), description="names that never match, such as 'person'")
    learn_priors: bool = Field(
        False,
        description="learn from the first rows which branches each source speaks of, and prefer those senses: for "
        "sources of one subject (a shop); on mixed captions it finds more and errs more",
    )


class Ingest(Section):
    """Reading raw pairs."""

    max_reject_share: Share = Field(0.5, description="fail when a larger share of the rows is rejected")
    batch_rows: Positive = Field(131_072, description="rows of a batch")
    spill_rows: Positive = Field(1_500_000, description="rows held in memory before a run is written")
    allowed_schemes: tuple[str, ...] = Field(
        ("http", "https"),
        description="further ones: file, s3, gs, hdfs; 'tar' for members of WebDataset tars",
    )


class Expand(Section):
    """Ancestors through the hierarchy."""

    min_information_bits: Annotated[float, Field(ge=0)] = Field(
        0.0, description="drop inferred ancestors below this information content, -log2(N_a / N); 0 keeps all"
    )
    roles: tuple[str, ...] = Field(
        (), description="categories that are never inferred ('pet', 'commodity'): ids, aliases or unambiguous names"
    )
    roles_file: PathOrUri | None = Field(
        None, description="file of further ones, one a line; 'wordnet': the list that comes with OpenJFT"
    )
    contradictions: bool = Field(
        True,
        description="learn which categories exclude each other, and flag labels that do; labels that a person denied "
        "are flagged in any case",
    )
    max_lift: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="two categories are disjoint when they surely stand together less than this often, by chance 1"
    )
    min_images: Positive = Field(
        100, description="categories with fewer images, among those of several labels, are not compared"
    )
    negative_error_rate: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.05, description="share of the verified negatives that are wrong"
    )


class Fetch(Section):
    """Getting, checking and resizing the images."""

    size: Annotated[int, Field(ge=8, le=4096)] = Field(340, description="stored size, pixels")
    resize: Literal["squash", "shorter_side", "center_crop"] = Field(
        "squash",
        description="squash: size x size whatever the shape (the paper); shorter_side keeps the shape",
    )
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    max_bytes: Positive = Field(20_000_000, description="of one download")
    max_pixels: Positive = Field(100_000_000, description="declared in the header; more is never decoded")
    min_side: Positive = Field(8, description="smaller originals are rejected")
    timeout_s: Annotated[float, Field(gt=0)] = Field(20.0, description="of one attempt, connect to last byte")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(2, description="further attempts on 429, 5xx, time-outs")
    backoff_s: Annotated[float, Field(ge=0)] = Field(0.5, description="first wait; doubles, with jitter")
    max_redirects: Annotated[int, Field(ge=0, le=20)] = 5
    concurrency: Positive = Field(32, description="requests under way in a worker")
    per_host: Positive = Field(16, description="of them to one host")
    user_agent: str = Field("openjft/0.1 (dataset builder)", description="honest, with your contact")
    respect_noai: bool = Field(True, description="obey X-Robots-Tag: noai, noimageai, noindex, noimageindex")
    allow_private: bool = Field(False, description="allow loopback and private addresses (tests, intranets)")
    allow_paths: tuple[str, ...] = Field((), description="folders that file: URIs may read")
    max_reject_share: Share = Field(0.9, description="fail when a larger share of the images is lost")


class Shard(Section):
    """Writing WebDataset tars."""

    max_reject_share: Share = Field(1.0, description="fail when a larger share of the images is left out")


class Report(Section):
    """The page."""

    examples: Annotated[int, Field(ge=0, le=200)] = Field(12, description="pictures of each kind")
    max_pairs: Annotated[int, Field(ge=0, le=100_000)] = Field(
        10_000, description="pairs with pictures on the overlap page, about 25 kB each; the counts are of all"
    )


class Runner(Section):
    """How Beam runs."""

    runner: str = Field(
        "local",
        description="local, or a Beam runner: FlinkRunner, DataflowRunner, SparkRunner, PortableRunner",
    )
    workers: Annotated[int, Field(ge=1, le=1024)] = Field(2, description="processes of the local runner")
    small_bytes: Annotated[int, Field(ge=0)] = Field(
        32_000_000,
        description="a metadata stage that reads less runs in one process: starting workers takes longer",
    )
    options: tuple[str, ...] = Field((), description="further Beam options, as on its command line")


class Config(Section):
    """The whole file."""

    build: Build = Build()
    inputs: Annotated[tuple[Input, ...], Field(min_length=1)]
    sources: Annotated[tuple[Source, ...], Field(min_length=1, max_length=MAX_SOURCES)]
    taxonomy: Taxonomy
    lexicon: Lexicon = Lexicon()
    ingest: Ingest = Ingest()
    precision: Precision = Precision()
    audit: Audit = Audit()
    expand: Expand = Expand()
    fetch: Fetch = Fetch()
    embed: Embed = Embed()
    duplicates: Duplicates = Duplicates()
    eval_sets: tuple[EvalSet, ...] = ()
    decontaminate: Decontaminate = Decontaminate()
    shard: Shard = Shard()
    report: Report = Report()
    runner: Runner = Runner()

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [
            f"{key}: name {name!r} stands twice; expected each once"
            for key, names in (
                ("sources", [s.name for s in self.sources]),
                ("eval_sets", [e.name for e in self.eval_sets]),
            )
            for name in sorted({n for n in names if names.count(n) > 1})
        ]
        known = {s.name for s in self.sources}
        for i, item in enumerate(self.inputs):
            if item.source is not None and item.source not in known:
                problems.append(f"inputs.{i}.source: {item.source!r} is not among sources ({', '.join(sorted(known))})")
        if any("multi_threading" in option for option in self.runner.options):
            problems.append("runner.options: multi_threading corrupts data in Beam's local runner; use workers instead")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def labels_of(self, item: Input) -> Literal["id", "name", "text"]:
        """What an input's label column holds."""
        if item.format == "tencent_ml_images":
            return "id"
        return item.labels or self.taxonomy.labels

    @property
    def has_text(self) -> bool:
        """Whether an input's labels are free text."""
        return any(self.labels_of(item) == "text" for item in self.inputs)

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the sources, in the order of their bits."""
        return tuple(s.name for s in self.sources)


def parse_config(data: dict[str, Any], *, base: Path, origin: str = "configuration") -> Config:
    """A validated `Config` with local paths made absolute against `base`.

    Raises:
        ConfigError: with every mistake, one a line.
    """
    try:
        config = Config.model_validate(data)
    except pydantic.ValidationError as error:
        lines = describe_errors(error, Config)
        noun = "mistake" if len(lines) == 1 else "mistakes"
        raise ConfigError(f"{origin}: {len(lines)} {noun}\n" + "\n".join(f"  {line}" for line in lines)) from None
    return _absolute(config, base.resolve())


def load_config(path: str | Path) -> Config:
    """Reads and validates a TOML file.

    Raises:
        ConfigError: the file is missing, is not TOML, or holds mistakes (all of them are listed).
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; `openjft config` prints one to start from") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected TOML, found {error}") from None
    return parse_config(data, base=path.parent, origin=str(path))


def _absolute(config: Config, base: Path) -> Config:
    def fix(value: str | None) -> str | None:
        if value is None or "://" in value:
            return value
        return str(base / Path(value).expanduser())

    return config.model_copy(
        update={
            "build": config.build.model_copy(update={"output": fix(config.build.output)}),
            "inputs": tuple(i.model_copy(update={"path": fix(i.path)}) for i in config.inputs),
            "taxonomy": config.taxonomy.model_copy(
                update={key: fix(getattr(config.taxonomy, key)) for key in ("path", "names", "only", "background")}
            ),
            "precision": config.precision.model_copy(update={"gold": fix(config.precision.gold)}),
            "expand": config.expand.model_copy(
                update={
                    "roles_file": config.expand.roles_file
                    if config.expand.roles_file == WORDNET_ROLES
                    else fix(config.expand.roles_file)
                }
            ),
            "embed": config.embed.model_copy(update={"weights": fix(config.embed.weights)}),
            "decontaminate": config.decontaminate.model_copy(
                update={
                    "background": fix(config.decontaminate.background),
                    "decisions": tuple(str(fix(path)) for path in config.decontaminate.decisions),
                }
            ),
            "eval_sets": tuple(e.model_copy(update={"root": fix(e.root), "ids": fix(e.ids)}) for e in config.eval_sets),
            "fetch": config.fetch.model_copy(
                update={"allow_paths": tuple(str(fix(p)) for p in config.fetch.allow_paths)}
            ),
        }
    )


# The sections, wherever they are defined, are named here by whoever reads a configuration.
__all__ = [
    "Audit", "Build", "Columns", "Config", "Decontaminate", "Duplicates", "Embed", "EvalSet", "Expand", "Fetch",
    "Ingest", "Input", "Lexicon", "Precision", "Report", "Runner", "Section", "Shard", "Source", "Taxonomy",
    "load_config", "parse_config",
]  # fmt: skip
