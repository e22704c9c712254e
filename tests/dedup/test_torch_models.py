from __future__ import annotations

import dataclasses
import json
import warnings

import numpy as np
import pytest

from openjft.dedup import EmbedderError, EmbedderSpec, embedder_fingerprint, make_embedder, preprocessing
from openjft.dedup.descriptors.preprocess import network_input
from openjft.dedup.embedder import unit_rows
from openjft.loaders.training.augment import center_crops, crop_windows, cut_and_normalize
from openjft.loaders.training.checkpoint import Checkpoint, save_checkpoint
from openjft.loaders.training.models import build_model
from openjft.loaders.training.options import TrainOptions

torch = pytest.importorskip("torch")
SIZE = 16


def spec(path, **more):
    return EmbedderSpec(**{"weights": str(path), "input_size": SIZE, "device": "cpu", **more})


def test_torchvision_gives_pooled_features_of_a_state_dict(tmp_path, photo):
    from torchvision.models import mobilenet_v3_small

    torch.manual_seed(0)
    module = mobilenet_v3_small(weights=None, num_classes=7)  # another number of classes does not matter
    torch.save({"state_dict": module.state_dict()}, tmp_path / "m.pt")
    made = spec(tmp_path / "m.pt", model="torchvision", arch="mobilenet_v3_small", input_size=32)
    embedder = make_embedder(made)
    images = [photo(seed) for seed in range(3)]
    with torch.inference_mode():
        features = module.eval().features(torch.from_numpy(network_input(images, made))).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(embedder.embed(images), unit_rows(features, origin="x"), atol=1e-5)
    assert embedder.fingerprint == embedder_fingerprint(made)


def test_weights_of_another_architecture_are_an_error(tmp_path):
    torch.save({"x": torch.zeros(1)}, tmp_path / "m.pt")
    made = spec(tmp_path / "m.pt", model="torchvision", arch="resnet18")
    with pytest.raises(EmbedderError, match="does not fit 'resnet18'"):
        make_embedder(made)
    with pytest.raises(EmbedderError, match=r"embed\.arch"):
        make_embedder(spec(tmp_path / "m.pt", model="torchvision", arch="resnet1"))


@pytest.mark.parametrize("content", [[torch.zeros(1)], {1: torch.zeros(1)}, {"state_dict": {2: torch.zeros(1)}}])
def test_what_is_no_state_dict_is_an_error(tmp_path, content):
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(EmbedderError, match="expected a state dict"):
        make_embedder(spec(tmp_path / "m.pt", model="torchvision", arch="resnet18"))


def test_weights_of_a_data_parallel_network_and_with_their_classifier_are_the_same_descriptor(tmp_path, photo):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    state = models.resnet18(weights=None).state_dict()
    torch.save(state, tmp_path / "plain.pt")
    torch.save({"model": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "wrapped.pt")
    a, b = (
        make_embedder(spec(tmp_path / f"{name}.pt", model="torchvision", arch="resnet18", input_size=32))
        for name in ("plain", "wrapped")
    )
    np.testing.assert_array_equal(a.embed([photo(1)]), b.embed([photo(1)]))


class Exploit:
    def __reduce__(self):
        return (exec, ("raise SystemExit",))


def test_a_state_dict_is_read_as_data_and_never_run(tmp_path):
    torch.save({"x": Exploit()}, tmp_path / "m.pt")
    with pytest.raises(EmbedderError, match="state dict"):
        make_embedder(spec(tmp_path / "m.pt", model="torchvision", arch="resnet18"))


def script(path, module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch tells authors of archives to move on; we only read them
        torch.jit.script(module).save(str(path))


class Sscd(torch.nn.Module):
    """What an SSCD archive is: a backbone, GeM, a linear map to 512 values, unit length."""

    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Conv2d(3, 16, 8, stride=8)
        self.linear = torch.nn.Linear(16, 512)

    def forward(self, x):
        maps = self.backbone(x).clamp(min=1e-6)
        return torch.nn.functional.normalize(self.linear(maps.pow(3.0).mean(dim=[2, 3]).pow(1.0 / 3.0)))


def test_an_sscd_archive_gives_its_own_vectors_under_its_documented_preprocessing(tmp_path, photo):
    transforms = pytest.importorskip("torchvision.transforms")
    torch.manual_seed(0)
    module = Sscd().eval()
    script(tmp_path / "sscd.torchscript.pt", module)
    embedder = make_embedder(spec(tmp_path / "sscd.torchscript.pt", model="torchscript", input_size=320, batch_size=2))
    skew_320 = transforms.Compose([  # as its authors write it
        transforms.ToPILImage(),
        transforms.Resize([320, 320]),
        transforms.ToTensor(),
        transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    ])  # fmt: skip
    images = [photo(seed) for seed in range(3)]
    with torch.inference_mode():
        expected = module(torch.stack([skew_320(image) for image in images])).numpy()
    assert embedder.dim == 512
    np.testing.assert_allclose(embedder.embed(images), expected, atol=1e-5)


class Maps(torch.nn.Module):
    def forward(self, x):
        return x


class Pooled(torch.nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


def slow_gem(maps, p):
    """(n, d) by the definition, in float64."""
    return (np.maximum(maps.astype(np.float64), 1e-6) ** p).mean(axis=(2, 3)) ** (1 / p)


def test_maps_of_a_script_are_pooled_as_told(tmp_path, photo):
    script(tmp_path / "m.pt", Maps())
    images = [photo(seed, SIZE, SIZE) for seed in range(3)]
    made = spec(tmp_path / "m.pt", model="torchscript")
    maps = network_input(images, made)
    average = make_embedder(made).embed(images)
    np.testing.assert_allclose(average, unit_rows(maps.mean(axis=(2, 3)), origin="x"), atol=1e-5)
    for p in (1.0, 3.0, 40.0):
        gem = make_embedder(dataclasses.replace(made, pooling="gem", gem_p=p)).embed(images)
        np.testing.assert_allclose(gem, unit_rows(slow_gem(maps, p), origin="x"), atol=1e-4)


def test_gem_of_what_is_pooled_already_and_a_broken_archive_are_errors(tmp_path, photo):
    script(tmp_path / "m.pt", Pooled())
    assert make_embedder(spec(tmp_path / "m.pt", model="torchscript")).dim == 3
    with pytest.raises(EmbedderError, match="the network pools by itself"):
        make_embedder(spec(tmp_path / "m.pt", model="torchscript", pooling="gem"))
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    with pytest.raises(EmbedderError, match="TorchScript"):
        make_embedder(spec(tmp_path / "bad.pt", model="torchscript"))


MAPS_OF = {  # where the last feature maps of each family come from
    "resnet18": lambda m, x: m.layer4(m.layer3(m.layer2(m.layer1(m.maxpool(m.relu(m.bn1(m.conv1(x)))))))),
    "mobilenet_v2": lambda m, x: m.features(x),
    "mnasnet0_5": lambda m, x: m.layers(x),
    "squeezenet1_1": lambda m, x: m.features(x),
}


@pytest.mark.parametrize("arch", MAPS_OF)
def test_gem_pools_the_last_feature_maps_of_an_architecture(tmp_path, photo, arch):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    module = models.get_model(arch, weights=None).eval()
    torch.save(module.state_dict(), tmp_path / "m.pt")
    made = spec(tmp_path / "m.pt", model="torchvision", arch=arch, input_size=96, pooling="gem")
    images = [photo(seed) for seed in range(2)]
    with torch.inference_mode():
        maps = MAPS_OF[arch](module, torch.from_numpy(network_input(images, made))).numpy()
    assert maps.shape[2] > 1
    np.testing.assert_allclose(make_embedder(made).embed(images), unit_rows(slow_gem(maps, 3), origin="x"), atol=1e-4)


def test_gem_of_a_transformer_is_an_error(tmp_path):
    models = pytest.importorskip("torchvision.models")
    torch.save(models.get_model("vit_b_32", weights=None).state_dict(), tmp_path / "m.pt")
    with pytest.raises(EmbedderError, match="'vit_b_32' has no feature maps"):
        make_embedder(spec(tmp_path / "m.pt", model="torchvision", arch="vit_b_32", input_size=224, pooling="gem"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("pooling", ["average", "gem"])
def test_a_gpu_gives_the_vectors_of_the_cpu(tmp_path, photo, pooling):
    path, _ = trained(tmp_path)
    made = spec(path, model="checkpoint", pooling=pooling, batch_size=3)
    images = [photo(seed) for seed in range(7)]
    on_cpu, on_gpu = (make_embedder(dataclasses.replace(made, device=d)).embed(images) for d in ("cpu", "cuda"))
    assert (on_cpu * on_gpu).sum(axis=1).min() > 0.9999


# -- checkpoints of our trainer --------------------------------------------------------------------------------


def trained(tmp_path, *, crop_size=32, ema=False, **recipe):
    """A checkpoint as `openjft train` writes it, and the network that it shall stand for."""
    options = TrainOptions(data="d", output=tmp_path, arch="resnet18", crop_size=crop_size, device="cpu")
    module = build_model("resnet18", 5, seed=3).eval()
    state = module.state_dict()
    path = save_checkpoint(
        tmp_path,
        Checkpoint(
            step=7, model={n: t + 1 for n, t in state.items()} if ema else state, ema=state if ema else None,
            optimizer={"momentum.fc.bias": torch.zeros(5)}, recipe=options.recipe() | recipe,
            num_categories=5, fingerprint="m", images_fingerprint="m", vocabulary_sha256="v", window=[],
        ),
    )  # fmt: skip
    return path, module


@pytest.mark.parametrize("ema", [False, True])
def test_a_checkpoint_gives_the_features_that_the_trained_network_sees(tmp_path, photo, ema):
    path, module = trained(tmp_path, ema=ema)
    images = [photo(seed, 32, 32) for seed in range(3)]
    windows = torch.from_numpy(crop_windows(center_crops(3, height=32, width=32, size=32), 32))
    module.fc = torch.nn.Identity()
    with torch.inference_mode():
        features = module(cut_and_normalize(torch.from_numpy(np.stack(images)), windows)).numpy()
    embedder = make_embedder(spec(path, model="checkpoint", input_size=224))  # the checkpoint knows better
    assert embedder.dim == 512
    np.testing.assert_allclose(embedder.embed(images), unit_rows(features, origin="x"), atol=1e-5)


def test_a_checkpoint_tells_its_own_preprocessing(tmp_path):
    path, _ = trained(tmp_path, crop_size=64)
    made = spec(path, model="checkpoint")
    told = preprocessing(made)
    assert (told["arch"], told["input_size"], told["mean"]) == ("resnet18", 64, [0.5, 0.5, 0.5])
    assert embedder_fingerprint(made) == make_embedder(made).fingerprint
    assert embedder_fingerprint(dataclasses.replace(made, pooling="gem")) != embedder_fingerprint(made)


RECIPE = {"arch": "resnet18", "crop_size": 32}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "damaged or foreign"),
        ({"x": 1}, "without its fields"),
        ([1], "list without"),
        ({"format": 9, "files": [], "recipe": {}}, "format 9 and not 2"),
        ({"format": 2, "files": [], "recipe": []}, "no recipe"),
        ({"format": 2, "files": [1], "recipe": RECIPE}, "a damaged list"),
        ({"format": 2, "files": [{"name": "../a", "sha256": "", "rows": {}}], "recipe": RECIPE}, "a damaged list"),
        ({"format": 2, "files": [], "recipe": RECIPE | {"crop_size": True}}, "crop_size True"),
        ({"format": 2, "files": [], "recipe": RECIPE | {"crop_size": 10**9}}, "crop_size 1000000000"),
        ({"format": 2, "files": [], "recipe": RECIPE | {"arch": "no"}}, r"embed\.arch"),
        ({"format": 2, "files": [], "recipe": RECIPE}, "does not fit 'resnet18'"),
    ],
)
def test_another_file_is_not_taken_for_a_checkpoint(tmp_path, content, message):
    (tmp_path / "checkpoint.json").write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(EmbedderError, match=message):
        make_embedder(spec(tmp_path, model="checkpoint"))


def test_a_file_of_a_checkpoint_that_was_changed_or_is_gone_is_told(tmp_path):
    path, _ = trained(tmp_path)
    part = path / "model-00000-of-00001.safetensors"
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    with pytest.raises(EmbedderError, match=r"a changed model-00000-of-00001\.safetensors"):
        make_embedder(spec(path, model="checkpoint"))
    part.unlink()
    with pytest.raises(EmbedderError, match=r"no model-00000-of-00001\.safetensors"):
        make_embedder(spec(path, model="checkpoint"))


def test_a_checkpoint_is_named_by_its_folder_or_by_the_list_in_it(tmp_path):
    path, _ = trained(tmp_path)
    specs = [spec(p, model="checkpoint") for p in (path, path / "checkpoint.json")]
    assert embedder_fingerprint(specs[0]) == embedder_fingerprint(specs[1])
    with pytest.raises(EmbedderError, match="expected a local file"):
        make_embedder(spec(tmp_path / "none", model="checkpoint"))


def test_a_checkpoint_read_as_a_plain_state_dict_is_refused_since_its_input_would_be_wrong(tmp_path):
    path, _ = trained(tmp_path)
    with pytest.raises(EmbedderError, match="model = 'checkpoint'"):
        make_embedder(spec(path / "checkpoint.json", model="torchvision", arch="resnet18"))
