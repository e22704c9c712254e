"""Free text to categories: `Lexicon.build` once, `match` for batches of texts.

In: a `Taxonomy`, and better also a background (all of WordNet behind a vocabulary of 11k), then texts. Out: `Matches`.

How: both sides are normalised alike (`normalise`); the longest surfaces are found (`automaton`); in English, words are
tagged and a name that only modifies the next noun, owns it, is a verb here, or stands on a statue's label is dropped
(`kernels.judge`); the senses of the rest are weighed (`surfaces`, `priors`, `kernels.weigh_senses`), and the most
telling category that is likely enough is taken, a sense or an ancestor of several (`kernels.choose`).

It reads no image, translates nothing, and does not resolve pronouns or negation: "no dogs allowed" speaks of dogs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..csr import Csr, Int32s, Int64s
from ..hierarchy import Taxonomy
from .automaton import Automaton
from .matches import AMBIGUOUS_TEXT, EMPTY, MATCHED, NO_MATCH, Explanation, Matches, SenseProbability, Status
from .priors import SenseCounts, SensePriors
from .senses import MIN_BITS, Inventory, signatures, take_inventory
from .stream import Stream, Streamer, telling_capitals
from .surfaces import Surfaces, compile_surfaces, weigh_usage, words_of_nodes
from .tagging import Tagger

Language = Literal["en", "none"]
Texts: TypeAlias = Any  # Sequence[str | None], or pyarrow's Array or ChunkedArray of strings, which have no types
BATCH_TEXTS: Final = 8_192


class Candidates(NamedTuple):
    """Every name found in a batch, taken or not.

    Attributes:
        pattern: (c,) int32 number of the surface.
        first: (c,) int32 first token.
        behind: (c,) int32 token behind the last.
        status: (c,) int8 `Status`.
        because: (c,) int64 token that decided, or -1.
        label: (c,) int32, or -1.
        probability: (c,) float32.
        offsets: (c + 1,) int64 into `senses`.
        senses: (s,) float32 probability of each sense of the surface, in the order of its entries.
    """

    pattern: Int32s
    first: Int32s
    behind: Int32s
    status: npt.NDArray[np.int8]
    because: Int64s
    label: Int32s
    probability: npt.NDArray[np.float32]
    offsets: Int64s
    senses: npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Lexicon:
    """The surfaces and senses of a taxonomy; make it with `build`. Can be pickled; not for several threads at once.

    Attributes:
        inventory: the senses.
        surfaces: how they are written.
        language: "en", or "none" for the longest match and the senses alone, without plurals and grammar.
        priors: what sources speak of.
        words: words that speak for each sense.
        weights: (nnz,) float32 beside `words.values`.
    """

    inventory: Inventory
    surfaces: Surfaces
    language: Language
    priors: SensePriors
    words: Csr
    weights: npt.NDArray[np.float32]

    @classmethod
    def build(
        cls,
        taxonomy: Taxonomy,
        *,
        background: Taxonomy | None = None,
        language: Language = "en",
        exclude: Iterable[str] = (),
        priors: SensePriors | None = None,
    ) -> Self:
        """The lexicon of a taxonomy.

        Args:
            taxonomy: whose labels are given.
            background: further categories: their names absorb text, their senses compete, and those below a category
                of the taxonomy count as it. Categories are the same by id or alias.
            language: "en" or "none".
            exclude: names that shall match nothing.
            priors: from `SensePriors.fit`.

        Raises:
            ValueError: an unknown language.
        """
        if language not in ("en", "none"):
            raise ValueError(f"expected the language 'en' or 'none', found {language!r}")
        inventory = take_inventory(taxonomy, background)
        surfaces = compile_surfaces(inventory, english=language == "en", exclude=exclude)
        surfaces, own = words_of_nodes(inventory, surfaces)
        surfaces = weigh_usage(surfaces, inventory, own)
        words, weights = signatures(inventory.graph, own, len(surfaces.base))
        return cls(inventory, surfaces, language, priors or SensePriors(SenseCounts()), words, weights)

    def with_priors(self, priors: SensePriors) -> Self:
        """The same lexicon with other priors."""
        return dataclasses.replace(self, priors=priors)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @functools.cached_property
    def _automaton(self) -> Automaton:
        return Automaton(self.surfaces.patterns)

    @functools.cached_property
    def _streamer(self) -> Streamer:
        surfaces = self.surfaces
        tagger = Tagger(english=self.language == "en", nouns=surfaces.nouns, plurals=surfaces.plurals)
        return Streamer(surfaces.words, surfaces.base, tagger)

    @functools.cached_property
    def _node_keys(self) -> dict[str, int]:
        """Id of each node, as `SenseCounts` has it."""
        n = self.inventory.num_labels
        return {
            (node_id if i < n else f"background:{node_id}"): i for i, node_id in enumerate(self.inventory.graph.ids)
        }

    @functools.cached_property
    def _bonuses(self) -> dict[str | None, npt.NDArray[np.float32]]:
        return {}

    def _bonus(self, source: str | None) -> npt.NDArray[np.float32]:
        if source not in self._bonuses:
            self._bonuses[source] = self.priors.bonus(source, self.inventory.graph, self._node_keys)
        return self._bonuses[source]

    def match(self, texts: Texts, *, source: str | None = None, min_probability: float = 0.5) -> Matches:
        """The categories that texts speak of.

        Args:
            texts: (n,) str; None is empty. Only the first `MAX_TEXT_CHARS` characters of each are read.
            source: which source they come from, for the priors.
            min_probability: in (0, 1].

        Raises:
            ValueError: the probability is not in (0, 1].
        """
        parts = [
            _matches_of(stream, found, base)
            for base, stream, found in self._batches(texts, source=source, min_probability=min_probability)
        ]
        if not parts:
            parts = [_matches_of(*self._look(()), base=0)]
        return Matches(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def explain(self, text: str, *, source: str | None = None, min_probability: float = 0.5) -> list[Explanation]:
        """Every name found in a text, in order, and why it was taken or dropped."""
        stream, found = self._look((text,), source=source, min_probability=min_probability)
        return [self._explain(text, stream, found, k) for k in range(len(found.pattern))]

    def count_sources(self, texts: Texts, source: str) -> SenseCounts:
        """How often the texts of a source name each category with a name that has one sense only.

        Counts of parts of a corpus add up: `counts + counts`. Each batch's repeated texts count each time.
        """
        graph, n = self.inventory.graph, self.inventory.num_labels
        counted = np.zeros(self.inventory.num_nodes, np.int64)
        single = np.diff(self.surfaces.offsets) == 1
        for _, _, found in self._batches(texts):
            said = np.isin(found.status, (Status.MATCHED, Status.OTHER_SENSE)) & single[found.pattern]
            nodes = self.surfaces.node[self.surfaces.offsets[found.pattern[said]]]
            counted += np.bincount(nodes, minlength=len(counted))
        named = np.flatnonzero(counted).tolist()
        keys = [graph.ids[node] if node < n else f"background:{graph.ids[node]}" for node in named]
        return SenseCounts({source: dict(zip(keys, counted[named].tolist(), strict=True))})

    def _batches(
        self, texts: Texts, *, source: str | None = None, min_probability: float = 0.5
    ) -> Iterator[tuple[int, Stream, Candidates]]:
        if not 0 < min_probability <= 1:
            raise ValueError(f"expected min_probability in (0, 1], found {min_probability}")
        for base in range(0, len(texts), BATCH_TEXTS):
            batch = texts[base : base + BATCH_TEXTS]
            given = batch.to_pylist() if isinstance(batch, pa.Array | pa.ChunkedArray) else batch
            yield base, *self._look(given, source=source, min_probability=min_probability)

    def _look(
        self, texts: Iterable[str | None], *, source: str | None = None, min_probability: float = 0.5
    ) -> tuple[Stream, Candidates]:
        """All candidates of a batch."""
        from . import kernels

        surfaces, inventory = self.surfaces, self.inventory
        stream = self._streamer(texts)
        pattern, first, behind = self._automaton.find(stream.word)
        telling = telling_capitals(stream)
        if self.language == "en":
            kernels.mend_tags(stream.tag)
            kernels.silence(stream.tag, first, behind, surfaces.idle[pattern])
            length = np.zeros(len(stream.word), np.int32)
            length[first] = (behind - first) * (surfaces.offsets[pattern + 1] > surfaces.offsets[pattern])
            status, factor, because = kernels.judge(
                stream.tag, stream.role, stream.case, telling, first, behind, length
            )
        else:
            status = np.zeros(len(pattern), np.int8)
            factor, because = np.ones(len(pattern), np.float32), np.full(len(pattern), -1, np.int64)
        status[surfaces.offsets[pattern + 1] == surfaces.offsets[pattern]] = Status.FUNCTION_WORD
        text = stream.text[first]
        offsets, senses = kernels.weigh_senses(
            pattern, first, behind, status, stream.offsets[text], stream.offsets[text + 1], stream.base, stream.case,
            telling, surfaces.offsets, surfaces.node, surfaces.score, surfaces.case, self._bonus(source),
            self.words.offsets, self.words.values, self.weights, inventory.closure.with_self.values,
            inventory.closure.with_self.offsets, inventory.bits,
        )  # fmt: skip
        above = inventory.label_closure.with_self
        label, probability = kernels.choose(
            pattern, status, factor, offsets, senses, surfaces.offsets, surfaces.node, inventory.label, above.values,
            above.offsets, inventory.label_bits, MIN_BITS, min_probability,
        )  # fmt: skip
        return stream, Candidates(pattern, first, behind, status, because, label, probability, offsets, senses)

    def _explain(self, text: str, stream: Stream, found: Candidates, k: int) -> Explanation:
        start, end = int(stream.start[found.first[k]]), int(stream.end[found.behind[k] - 1])
        token = int(found.because[k])
        entries = range(*self.surfaces.offsets[found.pattern[k] : found.pattern[k] + 2].tolist())
        graph, n = self.inventory.graph, self.inventory.num_labels
        senses = []
        for entry, p in zip(entries, found.senses[found.offsets[k] : found.offsets[k + 1]].tolist(), strict=True):
            node = int(self.surfaces.node[entry])
            label = int(self.inventory.label[node])
            senses.append(SenseProbability(graph.ids[node], graph.names[node], p, label, node >= n))
        status = Status(int(found.status[k]))
        return Explanation(
            surface=text[start:end],
            start=start,
            end=end,
            status=status,
            label=int(found.label[k]) if status == Status.MATCHED else -1,
            probability=float(found.probability[k]),
            because=text[stream.start[token] : stream.end[token]] if token >= 0 else "",
            senses=tuple(sorted(senses, key=lambda sense: (-sense.probability, sense.id))),
        )


def _matches_of(stream: Stream, found: Candidates, base: int) -> Matches:
    """The matches of one batch, whose first text has number `base`."""
    text = stream.text[found.first]
    taken = found.status == Status.MATCHED
    outcome = np.full(len(stream.capped), NO_MATCH, np.int8)
    outcome[text[found.status == Status.AMBIGUOUS]] = AMBIGUOUS_TEXT
    outcome[text[taken]] = MATCHED
    outcome[~stream.has_words] = EMPTY
    return Matches(
        text=text[taken] + base,
        start=stream.start[found.first[taken]],
        end=stream.end[found.behind[taken] - 1],
        label=found.label[taken],
        probability=found.probability[taken],
        outcome=outcome,
        capped=stream.capped,
    )
