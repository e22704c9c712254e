from __future__ import annotations

import json

import numpy as np
import pytest

from openjft.dedup import EmbedderError, EmbedderSpec, make_embedder
from openjft.dedup.descriptors.safetensors import read_safetensors

torch = pytest.importorskip("torch")
NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}


def write(path, tensors, **changed):
    """The format by hand; `changed` replaces fields of the entry of "x"."""
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in tensors.items():
        data = tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        place = [len(body), len(body) + len(data)]
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": place}
        body += data
    if changed:
        header["x"] |= changed
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def test_tensors_come_back_with_type_and_shape(tmp_path):
    torch.manual_seed(0)
    tensors = {
        "odd": torch.randn(3).half(), "x": torch.randn(2, 3), "count": torch.tensor([7]).squeeze(),
        "empty": torch.zeros(0, 4), "brain": torch.randn(5).bfloat16(),
    }  # fmt: skip
    got = read_safetensors(write(tmp_path / "m.safetensors", tensors))
    assert got.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert got[name].dtype == tensor.dtype
        assert torch.equal(got[name], tensor)


@pytest.mark.parametrize(
    "changed",
    [
        {"dtype": "F33"},
        {"shape": [2, 4]},
        {"shape": [2, -3]},
        {"shape": [True, 6]},
        {"shape": None},
        {"data_offsets": [0, 10**12]},
        {"data_offsets": [24, 0]},
        {"data_offsets": [0]},
    ],
)
def test_an_entry_that_does_not_fit_the_file_is_an_error(tmp_path, changed):
    path = write(tmp_path / "m.safetensors", {"x": torch.zeros(2, 3)}, **changed)
    with pytest.raises(EmbedderError, match="expected a safetensors file"):
        read_safetensors(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"1234567", (10**9).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]", bytes([2]) + bytes(9)],
)
def test_another_file_is_an_error(tmp_path, data):
    (tmp_path / "m.safetensors").write_bytes(data)
    with pytest.raises(EmbedderError, match="expected a safetensors file"):
        read_safetensors(tmp_path / "m.safetensors")


def test_a_backbone_has_the_vectors_of_its_state_dict_in_either_format(tmp_path, photo):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    state = models.resnet18(weights=None).state_dict()
    torch.save(state, tmp_path / "m.pth")
    write(tmp_path / "m.safetensors", state)
    a, b = (
        make_embedder(
            EmbedderSpec(model="torchvision", arch="resnet18", weights=str(path), input_size=32, device="cpu")
        ).embed([photo(1)])
        for path in sorted(tmp_path.iterdir())
    )
    np.testing.assert_array_equal(a, b)
