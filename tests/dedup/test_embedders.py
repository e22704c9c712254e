from __future__ import annotations

import sys
import warnings
from subprocess import run

import numpy as np
import pytest

from openjft.dedup import EmbedderError, EmbedderSpec, embedder_fingerprint, make_embedder
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


def test_a_vector_of_zeros_becomes_a_defined_one():
    np.testing.assert_array_equal(unit_rows(np.zeros((2, 3)), origin="x"), [[1, 0, 0], [1, 0, 0]])


def test_huge_and_tiny_vectors_are_normalised_without_overflow():
    rows = unit_rows(np.array([[3e30, 4e30], [3e-30, 4e-30]]), origin="x")
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.6, 0.8]], rtol=1e-5)


def test_a_graph_of_another_input_size_or_no_graph_is_an_error(tmp_path):
    with pytest.raises(EmbedderError, match=r"embed\.input_size"):
        make_embedder(spec(graph(tmp_path / "m.onnx", POOL, size=32)))
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    with pytest.raises(EmbedderError, match="ONNX graph"):
        make_embedder(spec(str(tmp_path / "bad.onnx")))


def test_missing_weights_are_an_error_before_anything_runs(tmp_path):
    for model in ("onnx", "torchscript", "torchvision"):
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
    assert len({base, *map(embedder_fingerprint, others)}) == 5


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


# -- torch -----------------------------------------------------------------------------------------------------


def test_torchvision_gives_pooled_features_of_a_state_dict(tmp_path, photo):
    torch = pytest.importorskip("torch")
    from torchvision.models import mobilenet_v3_small

    torch.manual_seed(0)
    module = mobilenet_v3_small(weights=None, num_classes=7)  # another number of classes does not matter
    torch.save({"state_dict": module.state_dict()}, tmp_path / "m.pt")
    made = spec(str(tmp_path / "m.pt"), model="torchvision", arch="mobilenet_v3_small", input_size=32, device="cpu")
    embedder = make_embedder(made)
    images = [photo(seed) for seed in range(3)]
    with torch.inference_mode():
        features = module.eval().features(torch.from_numpy(network_input(images, made))).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(embedder.embed(images), unit_rows(features, origin="x"), atol=1e-5)
    assert embedder.fingerprint == embedder_fingerprint(made)


def test_weights_of_another_architecture_are_an_error(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"x": torch.zeros(1)}, tmp_path / "m.pt")
    made = spec(str(tmp_path / "m.pt"), model="torchvision", arch="resnet18")
    with pytest.raises(EmbedderError, match="does not fit 'resnet18'"):
        make_embedder(made)
    with pytest.raises(EmbedderError, match=r"embed\.arch"):
        make_embedder(spec(str(tmp_path / "m.pt"), model="torchvision", arch="resnet1"))


class Exploit:
    def __reduce__(self):
        return (exec, ("raise SystemExit",))


def test_a_state_dict_is_read_as_data_and_never_run(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"x": Exploit()}, tmp_path / "m.pt")
    with pytest.raises(EmbedderError, match="state dict"):
        make_embedder(spec(str(tmp_path / "m.pt"), model="torchvision", arch="resnet18"))


def test_torchscript_runs_and_a_broken_archive_is_an_error(tmp_path, photo):
    torch = pytest.importorskip("torch")

    class Pool(torch.nn.Module):
        def forward(self, x):
            return x.mean(dim=(2, 3))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch tells authors of archives to move on; we only read them
        torch.jit.script(Pool()).save(str(tmp_path / "m.pt"))
    embedder = make_embedder(spec(str(tmp_path / "m.pt"), model="torchscript", device="cpu"))
    images = [photo(seed, SIZE, SIZE) for seed in range(5)]
    np.testing.assert_allclose(embedder.embed(images), mean_colour(images), atol=1e-5)
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    with pytest.raises(EmbedderError, match="TorchScript"):
        make_embedder(spec(str(tmp_path / "bad.pt"), model="torchscript", device="cpu"))


def test_importing_dedup_imports_no_torch():
    code = "import openjft.dedup, sys; sys.exit('torch' in sys.modules or 'onnxruntime' in sys.modules)"
    assert run([sys.executable, "-W", "ignore", "-c", code], cwd="/").returncode == 0
