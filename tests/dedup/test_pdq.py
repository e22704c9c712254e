from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openjft.dedup import (
    EVAL_IMAGES,
    EmbedderSpec,
    EvalIndex,
    embeddings_table,
    make_embedder,
    make_views,
    vectors_of,
)
from openjft.dedup.descriptors import pdq
from openjft.dedup.descriptors.pdq import PdqEmbedder, hashes
from openjft.dedup.errors import DedupError
from openjft.dedup.schema import KEY_TYPE, VECTOR
from openjft.dedup.views import IDENTITY

EMBEDDER = PdqEmbedder()


def drawn(height=150, width=210):
    """Discs and stripes in whole numbers, so that every machine draws the same."""
    y, x = np.mgrid[:height, :width]
    out = np.zeros((height, width, 3), np.uint8)
    out[..., 0] = (x * 3 + y) % 256
    out[..., 1] = np.where((x - 60) ** 2 + (y - 70) ** 2 < 1600, 220, 30)
    out[..., 2] = np.where((x // 17 + y // 23) % 2 == 0, 200, (x * y) % 97)
    return out


def hexadecimal(bits):
    """As ThreatExchange prints a hash: the last bit first."""
    return f"{sum(int(bit) << place for place, bit in enumerate(bits)):064x}"


def slow(image):
    """The published steps, one after the other on the whole image: (256 coefficients, their bits, quality)."""
    scipy_fft = pytest.importorskip("scipy.fft")
    plane = image.astype(np.float64) @ [0.299, 0.587, 0.114]
    for _ in range(2):
        for axis in (1, 0):
            length = plane.shape[axis]
            window = (length + 127) // 128
            right = (window + 2) // 2
            rows = np.moveaxis(plane, axis, 0)
            means = [rows[max(0, i - window + right) : min(length, i + right)].mean(axis=0) for i in range(length)]
            plane = np.moveaxis(np.stack(means), 0, axis)
    rows, columns = ([int((i + 0.5) * length / 64) for i in range(64)] for length in plane.shape)
    plane = plane[np.ix_(rows, columns)]
    coefficients = scipy_fft.dctn(plane, norm="ortho")[1:17, 1:17].ravel()
    steps = [int(abs(d) * 100 / 255) for axis in (0, 1) for d in np.diff(plane, axis=axis).ravel()]
    return coefficients, coefficients > np.sort(coefficients)[127], min(100, sum(steps) // 90)


def test_the_hash_of_a_drawn_picture_is_that_of_the_reference():
    # Pinned: what `pdqhash.compute` says of this picture, quality 100.
    bits, quality = hashes([drawn()])
    assert hexadecimal(bits[0]) == "cf1c8f2170756f1e771d709e711e80e190e476010ff16a1eeb198ece0cfe89e1"
    assert quality.tolist() == [100]


@given(st.integers(5, 300), st.integers(5, 300), st.integers(0, 9))
@settings(deadline=None, max_examples=40)
def test_hashes_are_those_of_the_published_steps_at_any_size(height, width, seed):
    rng = np.random.default_rng(seed)
    image = np.asarray(PIL.Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((width, height)))
    coefficients, expected, quality = slow(image)
    bits, got = hashes([image])
    # float32 may decide otherwise only for what lies on the median, to 1e-3 of 255 grey levels.
    median = np.sort(coefficients)[127]
    assert np.abs(coefficients[bits[0] != expected] - median).max(initial=0) < 1e-3 * 255
    assert abs(int(got[0]) - quality) <= 1


def test_hashes_are_those_of_pdqhash(photo):
    pdqhash = pytest.importorskip("pdqhash")
    sizes = [(96, 128), (64, 64), (340, 340), (129, 257), (5, 400), (700, 500)]
    images = [photo(seed, *size) for seed, size in enumerate(sizes)]
    bits, quality = hashes(images)
    for image, ours, our_quality in zip(images, bits, quality, strict=True):
        theirs, their_quality = pdqhash.compute(image.copy())
        assert np.count_nonzero(theirs[::-1] != ours) <= 1
        assert abs(their_quality - our_quality) <= 1


def jpeg(image):
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "JPEG", quality=30)
    return np.asarray(PIL.Image.open(buffer).convert("RGB"))


def smaller(image):
    return np.asarray(PIL.Image.fromarray(image).resize((160, 140), PIL.Image.Resampling.BICUBIC))


def darker(image):
    return (image * 0.7).astype(np.uint8)


@pytest.mark.parametrize("change", [jpeg, smaller, darker])
def test_a_changed_copy_stays_above_the_removal_threshold_and_other_pictures_below(change, photo):
    originals = [sharp(photo, seed) for seed in range(12)]
    similarity = EMBEDDER.embed(originals) @ EMBEDDER.embed([change(image) for image in originals]).T
    assert np.diag(similarity).min() >= EMBEDDER.default_remove_similarity
    assert (similarity - 2 * np.eye(12)).max() < EMBEDDER.default_remove_similarity


def sharp(photo, seed):
    """A picture with enough edges for a quality of 50."""
    image = photo(seed, 200, 240)
    y, x = np.mgrid[:200, :240]
    image[(x // 40 + y // (30 + seed)) % 2 == 0] //= 3
    return image


def test_the_cosine_is_that_of_the_hamming_distance_also_in_float16(photo):
    images = [sharp(photo, seed) for seed in range(6)]
    bits, _ = hashes(images)
    vectors = EMBEDDER.embed(images)
    hamming = (bits[:, None] != bits[None]).sum(axis=2)
    np.testing.assert_array_equal(vectors @ vectors.T, 1 - 2 * hamming / 256)
    np.testing.assert_array_equal(vectors.astype(np.float16).astype(np.float32), vectors)
    assert EMBEDDER.default_remove_similarity == 1 - 2 * 31 / 256


def flat_pictures():
    y, x = np.mgrid[:100, :100]
    soft = np.repeat((x + y).astype(np.uint8)[..., None], 3, axis=2)  # a gradient of two grey levels a pixel
    return [np.full((80, 100, 3), 90, np.uint8), soft // 2, drawn(4, 200), drawn(200, 4)]


def test_pictures_that_say_too_little_become_zeros_and_match_nothing_not_even_themselves(photo):
    images = [*flat_pictures(), sharp(photo, 1)]
    vectors = EMBEDDER.embed(images)
    assert not vectors[:4].any()
    table = pa.table([["a"] * 5, list("01234"), list("01234")], schema=EVAL_IMAGES)
    index = EvalIndex.build(enumerate(images), table, EMBEDDER, (IDENTITY,))
    stored = embeddings_table(pa.array([bytes([i] * 16) for i in range(5)], KEY_TYPE), vectors)
    np.testing.assert_array_equal(vectors_of(stored[VECTOR], 256, origin="x"), vectors)
    assert index.search(vectors, min_score=0.1, neighbours=4).query_index.tolist() == [4]
    for nearest in (False, True):
        hits = index.searcher.search(vectors, 0.1, nearest=nearest)
        assert (hits.query.tolist(), hits.row.tolist(), hits.similarity.tolist()) == ([4], [4], [1.0])


def test_each_of_the_eight_forms_of_a_picture_is_found_by_its_own_view(photo):
    views = make_views(("identity", "mirror", "rotate"))
    image = sharp(photo, 3)
    forms = [np.ascontiguousarray(np.rot90(form, k)) for form in (image, image[:, ::-1]) for k in range(4)]
    similarity = EMBEDDER.embed(forms) @ EMBEDDER.embed([view.apply(image) for view in views]).T
    assert sorted(similarity.argmax(axis=1)) == list(range(8))
    assert similarity.max(axis=1).min() == 1.0
    assert np.sort(similarity, axis=1)[:, -2].max() < EMBEDDER.default_remove_similarity


def test_a_vector_does_not_depend_on_its_batch(photo):
    images = [sharp(photo, seed)[: 100 + seed] for seed in range(4)]
    together = EMBEDDER.embed(images)
    for image, vector in zip(images, together, strict=True):
        np.testing.assert_array_equal(EMBEDDER.embed([image])[0], vector)


def test_it_is_made_by_name_with_its_preprocessing_written_down():
    assert make_embedder(EmbedderSpec(model="pdq")).fingerprint == EMBEDDER.fingerprint
    assert pdq.preprocessing()["min_quality"] == 50


def test_no_images_give_no_vectors_and_a_grey_one_is_refused():
    assert EMBEDDER.embed([]).shape == (0, 256)
    with pytest.raises(DedupError, match="uint8"):
        EMBEDDER.embed([np.zeros((9, 9), np.uint8)])
