"""The inner loops, compiled by Numba: tags by neighbours, what a match does in its noun phrase, which sense it has.

In and out: arrays of one batch; the meaning is told where they are used, in `lexicon`. Imported only when texts are
matched, since Numba is heavy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._compiled import compiled
from .tagging import (
    ADJECTIVE,
    AUXILIARY,
    BREAK,
    CAN_BE_NOUN,
    CAN_BE_VERB,
    CONJUNCTION,
    DETERMINER,
    GERUND,
    MODAL,
    NOUN,
    NUMBER,
    OTHER,
    PARTICIPLE,
    PAST,
    PLURAL,
    POSSESSIVE,
    PREPOSITION,
    SUBJECT,
    TAG_BITS,
    TO,
    VERB,
    VERB_S,
)

CLASS = (1 << TAG_BITS) - 1
# Roles of words in grammar's lists, one bit each.
PARTITIVE, FLAT, SOLID, IMITATION, OF = 1, 2, 4, 8, 16
(TAKEN, FUNCTION_WORD, NOT_A_NOUN, MODIFIER, POSSESSOR, REPRESENTATION, PARTITIVE_OF, OTHER_SENSE, AMBIGUOUS,
 UNLIKELY) = range(10)  # fmt: skip
FLAT_FACTOR = 0.8
UNLISTED = 0.15  # of a word with several senses: figures of speech, names of films and bands, senses no one listed
LESK_WEIGHT, LESK_WINDOW = 0.30, 25
NEAR_WEIGHT, NEAR_BITS, NEAR_MATCHES, NEAR_SHARE = 0.12, 3.0, 6, 0.1
WRONG_CASE, LESS_CASE = 4.0, 1.0


@compiled()
def mend_tags(tags: Any) -> None:
    """Rewrites the classes in place, from left to right, by the words beside; flags stay.

    The lexicon gives each word its most frequent tag in news text; after an article a verb is a noun, after `can` a
    noun is a verb, and so on.
    """
    n = len(tags)
    before = BREAK
    for i in range(n):
        tag = tags[i] & CLASS
        flags = tags[i] & ~CLASS
        after = BREAK if i + 1 == n else tags[i + 1] & CLASS
        verb = flags & CAN_BE_VERB != 0
        name = flags & CAN_BE_NOUN != 0
        nominal = before in (DETERMINER, POSSESSIVE, ADJECTIVE, NUMBER, PREPOSITION)  # a noun phrase goes on
        closes = after in (BREAK, PREPOSITION, AUXILIARY, CONJUNCTION, MODAL, POSSESSIVE, TO)
        if (tag == NOUN and verb) or tag == VERB:
            if before in (TO, MODAL, SUBJECT):
                tag = VERB
            elif nominal or (before == BREAK and after in (BREAK, PREPOSITION)):
                tag = NOUN
            elif before == PLURAL and tag == NOUN and after in (PREPOSITION, DETERMINER, TO, OTHER, SUBJECT):
                tag = VERB
            elif tag == VERB and name and closes and before in (NOUN, GERUND, CONJUNCTION):
                tag = NOUN
        elif tag == VERB_S:
            if (nominal and after != DETERMINER) or (
                before in (BREAK, CONJUNCTION) and (after == BREAK or (before == BREAK and after != DETERMINER))
            ):
                tag = PLURAL
        elif tag == PLURAL and verb:
            if before in (SUBJECT, OTHER) or (before in (NOUN, BREAK) and after in (DETERMINER, SUBJECT)):
                tag = VERB_S
        elif tag in (PAST, MODAL):
            # A saw, a can, also in a list; but "in can" and "5 will" stay what they are.
            begun = before in (DETERMINER, POSSESSIVE, ADJECTIVE) or (before == BREAK and after == BREAK)
            if name and closes and begun:
                tag = NOUN
        elif tag == GERUND:
            if before in (DETERMINER, POSSESSIVE, ADJECTIVE, NUMBER) and closes and name:
                tag = NOUN
        elif tag == ADJECTIVE and name and closes and (nominal or before == BREAK) and after != POSSESSIVE:
            tag = NOUN
        tags[i] = tag | flags
        before = tag


@compiled()
def silence(tags: Any, start: Any, end: Any, idle: Any) -> None:
    """The words of fixed phrases (in front of, stock photo) are no nouns, in place."""
    for k in range(len(start)):
        if idle[k]:
            for i in range(start[k], end[k]):
                tags[i] = OTHER


@compiled()
def judge(tags: Any, roles: Any, case: Any, telling: Any, start: Any, end: Any, length: Any) -> Any:
    """What each found name does in its noun phrase.

    Args:
        tags: (t,) classes and flags of the batch's tokens, mended; a BREAK between texts.
        roles: (t,) bits of grammar's lists.
        case: (t,) how each token is capitalised.
        telling: (t,) bool, whether capitals tell something in its text.
        start: (c,) first token of each candidate, rising.
        end: (c,) token behind its last.
        length: (t,) candidate that starts at a token: how many tokens it has; else 0.

    Returns:
        (status, factor, because): (c,) status, factor of the probability, token that decided or -1.
    """
    c = len(start)
    status = np.zeros(c, np.int8)
    factor = np.ones(c, np.float32)
    because = np.full(c, -1, np.int64)
    for k in range(c):
        first, behind = start[k], end[k]
        status[k] = _as_noun(tags, case, telling, first, behind)
        if status[k] == TAKEN:
            status[k], because[k] = _by_what_follows(tags, roles, case, telling, length, first, behind)
        if status[k] == TAKEN:
            status[k], because[k], factor[k] = _by_what_precedes(tags, roles, first)
    return status, factor, because


@compiled()
def _as_noun(tags: Any, case: Any, telling: Any, first: Any, behind: Any) -> Any:
    """TAKEN where the name itself can be a noun here; else what it is."""
    tag = tags[first] & CLASS
    if behind - first == 1:
        if tag in (NOUN, PLURAL, NUMBER):
            return TAKEN
        if tag in (ADJECTIVE, VERB, VERB_S, PAST, GERUND, PARTICIPLE):
            return NOT_A_NOUN
        capitals = telling[first] and case[first] == 2
        return TAKEN if capitals else FUNCTION_WORD
    # A stand-in stands, he stands in: such a name is a noun only where a noun phrase has begun.
    if (tags[behind - 1] & CLASS) in (PREPOSITION, TO, OTHER):
        before = BREAK if first == 0 else tags[first - 1] & CLASS
        if before not in (DETERMINER, POSSESSIVE, ADJECTIVE, NUMBER):
            return NOT_A_NOUN
    return TAKEN


@compiled()
def _by_what_follows(
    tags: Any, roles: Any, case: Any, telling: Any, length: Any, first: Any, behind: Any
) -> tuple[int, int]:
    """(status, token that decided): the noun behind a name that it modifies, 's, or 'of'."""
    t = len(tags)
    j = behind
    while j < t and j < behind + 4 and (tags[j] & CLASS) in (ADJECTIVE, PARTICIPLE) and length[j] < 2:
        j += 1
    if j < t:
        after = tags[j] & CLASS
        proper = telling[first] and case[j] > 0 and case[first] == 0
        if (after in (NOUN, PLURAL) or length[j] > 1) and not proper:
            return MODIFIER, j
        if j == behind and after == POSSESSIVE and j + 1 < t:
            owned = tags[j + 1] & CLASS
            if owned in (NOUN, PLURAL, ADJECTIVE, NUMBER, PARTICIPLE):
                return POSSESSOR, j + 1
    if behind < t and roles[behind] & OF and roles[behind - 1] & PARTITIVE and behind - first == 1:
        return PARTITIVE_OF, behind
    return TAKEN, -1


@compiled()
def _by_what_precedes(tags: Any, roles: Any, first: Any) -> tuple[int, int, float]:
    """(status, token that decided, factor): imitations before a name, 'statue of a', 'toy'."""
    if first > 0 and roles[first - 1] & IMITATION:
        return REPRESENTATION, first - 1, 1.0
    j = first - 1
    while j >= 0 and (tags[j] & CLASS) in (NOUN, PLURAL, ADJECTIVE, DETERMINER, NUMBER, GERUND, PARTICIPLE):
        j -= 1
    if j > 0 and roles[j] & OF:
        if roles[j - 1] & SOLID:
            return REPRESENTATION, j - 1, 1.0
        if roles[j - 1] & FLAT:
            return TAKEN, j - 1, FLAT_FACTOR
    return TAKEN, -1, 1.0


@compiled()
def near_bits(ancestors: Any, offsets: Any, bits: Any, a: Any, b: Any) -> float:
    """Information content of the most telling common ancestor of two nodes, or of one that is the other's."""
    i, end_i = offsets[a], offsets[a + 1]
    j, end_j = offsets[b], offsets[b + 1]
    best = 0.0
    while i < end_i and j < end_j:
        if ancestors[i] == ancestors[j]:
            best = max(best, bits[ancestors[i]])
            i += 1
            j += 1
        elif ancestors[i] < ancestors[j]:
            i += 1
        else:
            j += 1
    return best


@compiled()
def weigh_senses(
    pattern: Any, start: Any, end: Any, status: Any, first_token: Any, last_token: Any, base: Any, case: Any,
    telling: Any, entry_offsets: Any, entry_node: Any, entry_score: Any, entry_case: Any, bonus: Any, sig_offsets: Any,
    sig_words: Any, sig_weights: Any, ancestors: Any, ancestor_offsets: Any, bits: Any,
) -> Any:  # fmt: skip
    """Probabilities of the senses of each candidate.

    Returns:
        (offsets, probability): senses of candidate k are `entry_node[entry_offsets[pattern[k]]:][:...]`, and their
        probabilities `probability[offsets[k]:offsets[k + 1]]`.
    """
    c = len(pattern)
    offsets = np.zeros(c + 1, np.int64)
    for k in range(c):
        offsets[k + 1] = offsets[k] + entry_offsets[pattern[k] + 1] - entry_offsets[pattern[k]]
    prior = np.empty(offsets[c], np.float32)
    for k in range(c):  # what the word says by itself: names, capitals, source
        low = entry_offsets[pattern[k]]
        for s in range(offsets[k + 1] - offsets[k]):
            entry = low + s
            penalty = _case_penalty(entry_case[entry], case[start[k]], telling[start[k]])
            prior[offsets[k] + s] = entry_score[entry] + bonus[entry_node[entry]] - penalty
    probability = prior.copy()
    for k in range(c):
        softmax(prior, offsets[k], offsets[k + 1])
    for k in range(c):
        senses = offsets[k + 1] - offsets[k]
        if senses > 1 and status[k] == TAKEN:
            low = entry_offsets[pattern[k]]
            from_token = max(first_token[k], start[k] - LESK_WINDOW)
            to_token = min(last_token[k], end[k] + LESK_WINDOW)
            for s in range(senses):
                node = entry_node[low + s]
                score = 0.0  # the words around it that tell this sense, each once
                for i in range(from_token, to_token):
                    if base[i] < 0 or start[k] <= i < end[k] or _stands_before(base, from_token, i):
                        continue
                    score += weight_of(sig_words, sig_weights, sig_offsets[node], sig_offsets[node + 1], base[i])
                near = 0.0  # the other categories of the text that lie close to it
                for o in range(max(0, k - NEAR_MATCHES), min(c, k + NEAR_MATCHES + 1)):
                    if first_token[o] != first_token[k] or pattern[o] == pattern[k]:
                        continue
                    if status[o] in (FUNCTION_WORD, NOT_A_NOUN):
                        continue
                    other = entry_offsets[pattern[o]]
                    for u in range(offsets[o + 1] - offsets[o]):
                        if prior[offsets[o] + u] > NEAR_SHARE:
                            shared = near_bits(ancestors, ancestor_offsets, bits, node, entry_node[other + u])
                            near += prior[offsets[o] + u] * max(0.0, shared - NEAR_BITS)
                probability[offsets[k] + s] += LESK_WEIGHT * score + NEAR_WEIGHT * near
        softmax(probability, offsets[k], offsets[k + 1])
        if senses > 1:
            for s in range(offsets[k], offsets[k + 1]):
                probability[s] *= 1.0 - UNLISTED
    return offsets, probability


@compiled()
def _case_penalty(named: Any, written: Any, telling: Any) -> float:
    """What speaks against a sense whose name is capitalised otherwise than the text writes it."""
    if telling:
        if (named == 2 and written != 2) or (named != 0 and written == 0):
            return WRONG_CASE
        return WRONG_CASE / 2 if named == 0 and written != 0 else 0.0
    return LESS_CASE if named == 2 or (named != 0 and written == 0) else 0.0


@compiled()
def _stands_before(base: Any, low: Any, at: Any) -> bool:
    """Whether the word of a token stands among those before it, too."""
    for h in range(low, at):  # noqa: SIM110  # numba compiles no generator expressions
        if base[h] == base[at]:
            return True
    return False


@compiled()
def softmax(scores: Any, low: Any, high: Any) -> None:
    """Probabilities in place of scores[low:high]."""
    if low == high:
        return
    top = scores[low]
    for i in range(low, high):
        top = max(top, scores[i])
    total = 0.0
    for i in range(low, high):
        scores[i] = np.exp(scores[i] - top)
        total += scores[i]
    for i in range(low, high):
        scores[i] /= total


@compiled()
def weight_of(words: Any, weights: Any, low: Any, high: Any, word: Any) -> float:
    """The weight of a word in a sorted list, or 0."""
    end = high
    while low < high:
        middle = (low + high) // 2
        if words[middle] < word:
            low = middle + 1
        else:
            high = middle
    if low < end and words[low] == word:
        return float(weights[low])
    return 0.0


@compiled()
def choose(
    pattern: Any, status: Any, factor: Any, offsets: Any, probability: Any, entry_offsets: Any, entry_node: Any,
    label_of: Any, ancestors: Any, ancestor_offsets: Any, label_bits: Any, min_bits: Any, min_probability: Any,
) -> Any:  # fmt: skip
    """The most telling category that is likely enough, a sense's own or an ancestor of several.

    Returns:
        (label, chance): (c,) int32 label or -1, and its probability; `status` is completed in place.
    """
    c = len(pattern)
    label = np.full(c, -1, np.int32)
    chance = np.zeros(c, np.float32)
    mass = np.zeros(len(label_bits), np.float64)
    own = np.zeros(len(label_bits), np.bool_)
    touched = np.empty(len(label_bits), np.int64)
    for k in range(c):
        if status[k] != TAKEN:
            continue
        count = 0
        nothing = 1.0
        for s in range(offsets[k + 1] - offsets[k]):
            found = label_of[entry_node[entry_offsets[pattern[k]] + s]]
            p = probability[offsets[k] + s]
            if found < 0:
                continue
            nothing -= p
            own[found] = True
            for i in range(ancestor_offsets[found], ancestor_offsets[found + 1]):
                a = ancestors[i]
                if mass[a] == 0.0:
                    touched[count] = a
                    count += 1
                mass[a] += p
        best = -1
        for i in range(count):
            a = touched[i]
            if mass[a] < min_probability or not (own[a] or label_bits[a] >= min_bits):
                continue
            better = best < 0 or label_bits[a] > label_bits[best]
            if best >= 0 and label_bits[a] == label_bits[best]:
                better = mass[a] > mass[best] or (mass[a] == mass[best] and a < best)
            if better:
                best = a
        if best >= 0:
            label[k] = best
            chance[k] = min(1.0, mass[best]) * factor[k]
            if chance[k] < min_probability:
                status[k] = UNLIKELY
        elif nothing >= 0.5 or count == 0:
            status[k] = OTHER_SENSE
        else:
            status[k] = AMBIGUOUS
        for i in range(count):
            mass[touched[i]] = 0.0
        for s in range(offsets[k + 1] - offsets[k]):
            found = label_of[entry_node[entry_offsets[pattern[k]] + s]]
            if found >= 0:
                own[found] = False
    return label, chance
