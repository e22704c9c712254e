"""Runs inside the peer's own Python: imagededup's methods over one folder; distances and its own answers to a .npz.

    PEER_PYTHON copy_peer.py FOLDER OUT.npz [--weights mobilenet_v1_075_224_imagenet.pth]

Its hashing methods run as they come. Its CNN fetches weights from the internet; with `--weights` it gets the network
that our side runs, rebuilt in torch from a plain state dict, through imagededup's own `CustomModel`. Imports nothing of
this repository.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from imagededup.methods import CNN, AHash, DHash, PHash, WHash
from imagededup.utils.models import CustomModel
from torch import nn
from torchvision.transforms import transforms

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
HASHES = {"PHash": PHash, "DHash": DHash, "WHash": WHash, "AHash": AHash}


class MobileNetV1(nn.Module):
    """Keras' MobileNetV1 up to its pooled features: padding as in TensorFlow, ReLU6, BN eps 1e-3."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        self._strides: list[int] = []
        self._add(state, "conv1", 2, groups=False)
        for number, stride in enumerate(STRIDES, 1):
            self._add(state, f"conv_dw_{number}", stride, groups=True)
            self._add(state, f"conv_pw_{number}", 1, groups=False)

    def _add(self, state: dict[str, torch.Tensor], name: str, stride: int, *, groups: bool) -> None:
        weight = state[f"{name}.weight"]
        side = weight.shape[2]
        channels = weight.shape[0] if groups else weight.shape[1]
        padding = side // 2 if stride == 1 else 0
        conv = nn.Conv2d(channels, weight.shape[0], side, stride, padding, groups=channels if groups else 1, bias=False)
        norm = nn.BatchNorm2d(weight.shape[0], eps=1e-3)
        conv.weight.data.copy_(weight)
        norm.load_state_dict(
            {key: state[f"{name}_bn.{key}"] for key in ("weight", "bias", "running_mean", "running_var")}, strict=False
        )
        self.steps.append(nn.Sequential(conv, norm, nn.ReLU6()))
        self._strides.append(stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 768) features of (n, 3, 224, 224)."""
        for step, stride in zip(self.steps, self._strides, strict=True):
            x = step(nn.functional.pad(x, (0, 1, 0, 1)) if stride == 2 else x)
        return x.mean(dim=(2, 3))


def cnn(weights: Path) -> CNN:
    model = MobileNetV1(torch.load(weights, weights_only=True)).eval()
    steps = [transforms.Resize((224, 224)), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    return CNN(model_config=CustomModel("mobilenet_v1", model, transforms.Compose(steps)))


def hash_bits(encodings: dict[str, str], names: list[str]) -> np.ndarray:
    """(n, 64) bits of its hexadecimal hashes."""
    rows = [np.frombuffer(bytes.fromhex(encodings[name].zfill(16)), np.uint8) for name in names]
    return np.unpackbits(np.stack(rows), axis=1)


def answers(found: dict[str, list[str]], names: list[str]) -> np.ndarray:
    """(pairs, 2) int32 of what it calls duplicates at its defaults."""
    row = {name: i for i, name in enumerate(names)}
    pairs = {(min(row[a], row[b]), max(row[a], row[b])) for a, others in found.items() for b in others}
    return np.array(sorted(pairs), np.int32).reshape(-1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path)
    given = parser.parse_args()
    out: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}
    methods = {name: kind() for name, kind in HASHES.items()}
    if given.weights:
        methods["CNN"] = cnn(given.weights)
    for name, method in methods.items():
        start = time.perf_counter()
        encodings = method.encode_images(image_dir=str(given.folder))
        names = sorted(encodings)
        # Its defaults: max_distance_threshold=10 of 64 bits; min_similarity_threshold=0.9.
        out[f"{name}_pairs"] = answers(method.find_duplicates(encoding_map=encodings), names)
        out[f"{name}_names"] = np.array(names)
        out[f"{name}_codes"] = np.stack([encodings[n] for n in names]) if name == "CNN" else hash_bits(encodings, names)
        seconds[name] = round(time.perf_counter() - start, 1)
        print(name, len(names), len(out[f"{name}_pairs"]), seconds[name], flush=True)
    out["seconds"] = np.array(json.dumps(seconds))
    np.savez(given.out, allow_pickle=False, **out)


if __name__ == "__main__":
    main()
