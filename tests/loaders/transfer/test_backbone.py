"""The exported backbone in torchvision's detectors and segmenters: it loads name by name, and they train."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torchvision.models import detection, segmentation
from torchvision.ops import FrozenBatchNorm2d

from openjft.loaders.errors import CheckpointError
from openjft.loaders.training.models import build_model
from openjft.loaders.transfer import load_backbone

OURS = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "min_size": 64, "max_size": 64}
NONE = {"weights": None, "weights_backbone": None}


def box_target(**more):
    return {"boxes": torch.tensor([[8.0, 8.0, 40.0, 48.0]]), "labels": torch.tensor([1]), **more}


def detection_loss(model, target):
    losses = model([torch.rand(3, 64, 64)], [target])
    return sum(losses.values())


def segmentation_loss(model):
    out = model(torch.rand(2, 3, 64, 64) * 2 - 1)["out"]
    return torch.nn.functional.cross_entropy(out, torch.randint(0, 3, (2, 64, 64)))


CASES = {
    "faster_rcnn": (
        "resnet50",
        lambda: detection.fasterrcnn_resnet50_fpn(**NONE, **OURS, num_classes=3),
        lambda model: detection_loss(model, box_target()),
    ),
    "keypoint_rcnn": (
        "resnet50",
        lambda: detection.keypointrcnn_resnet50_fpn(**NONE, **OURS, num_classes=2, num_keypoints=3),
        lambda model: detection_loss(
            model, box_target(keypoints=torch.tensor([[[12.0, 12.0, 1.0], [20.0, 30.0, 1.0], [30.0, 40.0, 1.0]]]))
        ),
    ),
    "deeplab_v3": (
        "resnet50",
        lambda: segmentation.deeplabv3_resnet50(**NONE, num_classes=3, aux_loss=None),
        segmentation_loss,
    ),
    "deeplab_v3_101": (
        "resnet101",
        lambda: segmentation.deeplabv3_resnet101(**NONE, num_classes=3, aux_loss=None),
        segmentation_loss,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_backbone_loads_name_by_name_into_torchvisions_model_which_then_trains(case, tmp_path, exported):
    arch, build, loss_of = CASES[case]
    path = exported(tmp_path / "b.safetensors", arch)
    torch.manual_seed(0)
    model = build()
    body = load_backbone(path, model)
    given = build_model(arch, 7, seed=3).state_dict()
    loaded = body.state_dict()
    assert loaded.keys() == {name for name in given if not name.startswith("fc.")}
    assert all(torch.equal(loaded[name], given[name]) for name in loaded)

    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    loss = loss_of(model.train())
    assert torch.isfinite(loss)
    loss.backward()
    optimizer.step()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert any(name.startswith("backbone") for name in changed)
    assert any(not name.startswith("backbone") for name in changed)


def test_frozen_batch_norms_take_their_statistics_and_no_count(tmp_path, exported):
    path = exported(tmp_path / "b.safetensors", "resnet50")
    backbone = detection.backbone_utils.resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d
    )
    body = load_backbone(path, detection.FasterRCNN(backbone, 3))
    given = build_model("resnet50", 7, seed=3).state_dict()
    assert torch.equal(body.state_dict()["layer3.0.bn1.running_var"], given["layer3.0.bn1.running_var"])
    assert not any(name.endswith("num_batches_tracked") for name in body.state_dict())


def test_a_resnet_keeps_its_own_classifier(tmp_path, exported):
    model = torchvision.models.resnet18(weights=None, num_classes=5)
    head = model.fc.weight.detach().clone()
    assert load_backbone(exported(tmp_path / "b.safetensors", "resnet18", head=True), model) is model
    assert torch.equal(model.fc.weight, head)
    assert torch.equal(model.conv1.weight, build_model("resnet18", 7, seed=3).conv1.weight)


@pytest.mark.parametrize(("theirs", "message"), [("resnet18", "is missing|not in the model|the model's")])
def test_another_architecture_is_refused_and_nothing_is_changed(theirs, message, tmp_path, exported):
    path = exported(tmp_path / "b.safetensors", theirs)
    model = torchvision.models.resnet50(weights=None)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_backbone(path, model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_model_without_a_resnet_is_refused(tmp_path, exported):
    with pytest.raises(CheckpointError, match="expected a ResNet"):
        load_backbone(exported(tmp_path / "b.safetensors", "resnet18"), torch.nn.Linear(2, 2))


def test_mean_and_deviation_of_a_half_give_the_trainers_own_pixels():
    from openjft.loaders.training import cut_and_normalize
    from openjft.loaders.training.augment import center_crops, crop_windows

    images = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    windows = torch.from_numpy(crop_windows(center_crops(1, height=64, width=64, size=64), 64))
    ours = cut_and_normalize(images, windows)[0]
    transform = detection.transform.GeneralizedRCNNTransform(64, 64, [0.5] * 3, [0.5] * 3)
    theirs = transform.normalize(images[0].permute(2, 0, 1).float() / 255)
    torch.testing.assert_close(theirs, ours.contiguous(), atol=1e-6, rtol=0)
