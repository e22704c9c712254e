from __future__ import annotations

import json
import sys
from subprocess import run

import numpy as np
import pytest

from openjft.dedup import EmbedderError, EmbedderSpec, embedder_fingerprint, make_embedder, preprocessing
from openjft.dedup.descriptors.pooling import pool
from openjft.dedup.descriptors.preprocess import network_input
from openjft.dedup.embedder import unit_rows

SIZE = 16


# -- a writer of small ONNX graphs: protobuf by hand, since nothing else here needs the onnx package -----------


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def value_info(name, dims):
    shape = b"".join(field(1, field(2, d) if isinstance(d, str) else field(1, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def graph(path, nodes, *, batch="N", size=SIZE, outputs=("embedding",)):
    """nodes: (op, input, output) of one tensor each."""
    body = b"".join(field(1, field(1, a) + field(2, b) + field(4, op)) for op, a, b in nodes)
    body += field(2, "g") + field(11, value_info("image", (batch, 3, size, size)))
    body += b"".join(field(12, field(1, name)) for name in outputs)
    path.write_bytes(field(1, 8) + field(7, body) + field(8, field(1, "") + field(2, 13)))
    return str(path)


POOL = [("GlobalAveragePool", "image", "embedding")]


def spec(path, **more):
    return EmbedderSpec(**{"model": "onnx", "weights": path, "input_size": SIZE, "threads": 1, **more})


def mean_colour(images):
    """What POOL computes, by hand."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = (np.stack([image.mean(axis=(0, 1)) for image in images]) / 255 - mean) / std
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_onnx_vectors_are_the_networks_whatever_its_batch(tmp_path, photo, batch):
    embedder = make_embedder(spec(graph(tmp_path / "m.onnx", POOL, batch=batch), batch_size=3))
    images = [photo(seed, SIZE, SIZE) for seed in range(7)]
    assert embedder.dim == 3
    np.testing.assert_allclose(embedder.embed(images), mean_colour(images), atol=1e-5)
    assert embedder.embed([]).shape == (0, 3)


def test_an_output_is_chosen_by_name_and_a_wrong_one_is_named(tmp_path, photo):
    nodes = [*POOL, ("Neg", "embedding", "other")]
    path = graph(tmp_path / "m.onnx", nodes, outputs=("embedding", "other"))
    images = [photo(0)]
    a, b = (make_embedder(spec(path, output=name)).embed(images) for name in ("embedding", "other"))
    np.testing.assert_allclose(a, -b, atol=1e-6)
    with pytest.raises(EmbedderError, match="no output 'pooled'; it has embedding, other"):
        make_embedder(spec(path, output="pooled"))


def test_nan_out_of_a_network_is_an_error(tmp_path):
    path = graph(tmp_path / "m.onnx", [("Log", "image", "x"), ("GlobalAveragePool", "x", "embedding")])
    with pytest.raises(EmbedderError, match="NaN"):
        make_embedder(spec(path)).embed([np.zeros((SIZE, SIZE, 3), np.uint8)])


def test_a_vector_of_zeros_stays_one():
    np.testing.assert_array_equal(unit_rows([[0, 0, 0], [0, 3, 4]], origin="x"), np.float32([[0, 0, 0], [0, 0.6, 0.8]]))


def test_huge_and_tiny_vectors_are_normalised_without_overflow():
    rows = unit_rows(np.array([[3e30, 4e30], [3e-30, 4e-30]]), origin="x")
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.6, 0.8]], rtol=1e-5)


def test_maps_of_a_graph_are_pooled_as_told(tmp_path, photo):
    path = graph(tmp_path / "m.onnx", [("Identity", "image", "embedding")])
    images = [photo(seed, SIZE, SIZE) for seed in range(3)]
    maps = network_input(images, spec(path)).astype(np.float64)
    for made, pooled in (
        (spec(path), maps.mean(axis=(2, 3))),
        (spec(path, pooling="gem"), np.cbrt((np.maximum(maps, 1e-6) ** 3).mean(axis=(2, 3)))),
    ):
        np.testing.assert_allclose(make_embedder(made).embed(images), unit_rows(pooled, origin="x"), atol=1e-5)


def test_gem_neither_overflows_nor_vanishes():
    maps = np.float32([[1e30, 1e-3], [1e30, 1e-3]]).T.reshape(1, 2, 1, 2)
    np.testing.assert_allclose(pool(maps, EmbedderSpec(pooling="gem"), origin="x"), [[1e30, 1e-3]], rtol=1e-5)


def test_a_graph_of_another_input_size_or_no_graph_is_an_error(tmp_path):
    with pytest.raises(EmbedderError, match=r"embed\.input_size"):
        make_embedder(spec(graph(tmp_path / "m.onnx", POOL, size=32)))
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    with pytest.raises(EmbedderError, match="ONNX graph"):
        make_embedder(spec(str(tmp_path / "bad.onnx")))


def test_missing_weights_are_an_error_before_anything_runs(tmp_path):
    for model in ("onnx", "torchscript", "torchvision", "checkpoint"):
        with pytest.raises(EmbedderError, match="found none at"):
            embedder_fingerprint(spec(str(tmp_path / "absent"), model=model))
        with pytest.raises(EmbedderError, match="name it"):
            make_embedder(EmbedderSpec(model=model))


def test_cuda_that_is_not_there_is_an_error(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is CUDA")
    with pytest.raises(EmbedderError, match="onnxruntime-gpu"):
        make_embedder(spec(graph(tmp_path / "m.onnx", POOL), device="cuda"))


def test_the_fingerprint_follows_weights_and_preprocessing_but_not_batch_or_threads(tmp_path):
    a = graph(tmp_path / "a.onnx", POOL)
    b = graph(tmp_path / "b.onnx", [*POOL, ("Neg", "embedding", "x")])
    base = embedder_fingerprint(spec(a))
    assert base == make_embedder(spec(a)).fingerprint
    assert base == embedder_fingerprint(spec(a, batch_size=7, threads=2, device="cpu"))
    others = [spec(b), spec(a, mean=(0.5, 0.5, 0.5)), spec(a, resize_size=20), spec(a, output="embedding")]
    others += [spec(a, pooling="gem"), spec(a, pooling="gem", gem_p=4.0), EmbedderSpec(), EmbedderSpec(model="pdq")]
    assert len({base, *map(embedder_fingerprint, others)}) == 9


def test_weights_that_changed_under_their_name_change_the_fingerprint(tmp_path):
    path = graph(tmp_path / "m.onnx", POOL)
    before = embedder_fingerprint(spec(path))
    graph(tmp_path / "m.onnx", [*POOL, ("Neg", "embedding", "x")])
    assert embedder_fingerprint(spec(path)) != before


def test_the_preprocessing_is_written_down_as_json(tmp_path):
    written = preprocessing(spec(graph(tmp_path / "m.onnx", POOL), pooling="gem", resize_size=20))
    assert written["pooling"] == {"gem": 3.0, "floor": 1e-6}
    assert written["resize"] == "shorter side to 20, centre crop"
    for made in (written, preprocessing(EmbedderSpec()), preprocessing(EmbedderSpec(model="pdq"))):
        assert json.loads(json.dumps(made)) == made
        assert {"model", "version", "resize"} <= made.keys()


def test_the_networks_input_is_scaled_and_channels_first():
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[..., 0] = 255
    x = network_input([image], EmbedderSpec(input_size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)))
    assert x.shape == (1, 3, SIZE, SIZE)
    np.testing.assert_allclose(x[0].mean(axis=(1, 2)), [1, -1, -1], atol=1e-6)


def test_a_resize_size_cuts_the_centre_and_none_warps():
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 20:40] = 255
    cut = network_input([image], EmbedderSpec(input_size=20, resize_size=20, mean=(0, 0, 0), std=(1, 1, 1)))
    warped = network_input([image], EmbedderSpec(input_size=20, mean=(0, 0, 0), std=(1, 1, 1)))
    assert cut.min() == 1
    assert warped.mean() == pytest.approx(1 / 3, abs=0.02)


def test_importing_dedup_imports_no_torch():
    code = "import openjft.dedup, sys; sys.exit('torch' in sys.modules or 'onnxruntime' in sys.modules)"
    assert run([sys.executable, "-W", "ignore", "-c", code], cwd="/").returncode == 0
