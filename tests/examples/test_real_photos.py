"""The real-photo example on pictures drawn here, in a data folder of the same shape."""

from __future__ import annotations

import csv
import importlib
import io
import json
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from rich.console import Console

from openjft.loaders import verify_dataset
from openjft.pipelines.errors import PipelineError
from openjft.taxonomy import read_taxonomy

EXAMPLE = Path(__file__).parents[2] / "examples" / "real_photos"
MODULES = ("categories", "evals", "measure", "photos", "results", "run", "serve", "sheet", "signals", "web")
NOUNS = {  # id: (parent, members)
    "n00001740": ("", "entity"),
    "n00002684": ("n00001740", "object"),
    "n00015388": ("n00002684", "animal"),
    "n00021939": ("n00002684", "artifact"),
    "n02219486": ("n00015388", "ant"),
    "n02672831": ("n00021939", "accordion|squeeze box"),
    "n04507155": ("n00021939", "umbrella"),
    "n00829918": ("n00001740", "air cover|umbrella"),
    "n01768244": ("n00015388", "trilobite"),
    "n02121620": ("n00015388", "cat"),
    "n02123045": ("n02121620", "tabby"),
    "n02484322": ("n00015388", "monkey"),
    "n02691156": ("n00021939", "airplane"),
    "n03309808": ("n00021939", "fabric"),
    "n04453156": ("n00021939", "toothbrush"),
    "n02898711": ("n00021939", "bridge"),
    "n09284015": ("n00002684", "forest"),
    "n05600637": ("n00002684", "face"),
}
CLASSES = {"ant": 40, "accordion": 40, "umbrella": 40, "trilobite": 40, "BACKGROUND_Google": 4, "nosuchthing": 1}


@pytest.fixture
def example(monkeypatch):
    """The example's modules, imported as its own program does."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    yield {name: importlib.import_module(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name, None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Painter:
    """Draws smooth random pictures, each different from all others, and keeps the tables of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rng = folder, np.random.default_rng(3)

    def draw(self, path: str) -> PIL.Image.Image:
        coarse = self.rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = PIL.Image.fromarray(coarse).resize((96, 72), PIL.Image.Resampling.BICUBIC)
        self.save(picture, path)
        return picture

    def save(self, picture: PIL.Image.Image, path: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file, "JPEG", quality=90)

    def table(self, path: str, rows: list[dict[str, str]]) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", newline="") as sink:
            writer = csv.DictWriter(sink, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Photos, copies, evaluation images and nouns as the example expects them."""
    p = Painter(tmp_path_factory.mktemp("data"))
    files = [(f"{name}/image_{i:04d}.jpg", name) for name, count in CLASSES.items() for i in range(count)]
    pictures = {file: p.draw(f"photos/caltech101/{file}") for file, _ in files}
    p.save(pictures["ant/image_0000.jpg"], "photos/caltech101/ant/image_0001.jpg")
    p.table("photos/caltech101_labels.csv", [{"file": f, "class": c} for f, c in files])
    p.table(
        "near_duplicates/caltech_natural_candidates/pairs.csv",
        [{"file_a": "ant/image_0000.jpg", "file_b": "ant/image_0001.jpg"}],
    )
    wnids = ["n02219486", "n02219486", "n02123045", "n02123045"]
    sample = [{"file": f"{wnid}_{i}.JPEG", "wnid": wnid} for i, wnid in enumerate(wnids)]
    for row in sample:
        p.draw(f"photos/imagenet_sample/{row['file']}")
    p.table("photos/imagenet_sample_labels.csv", sample)
    search(p)
    evaluation(p)
    copies(p)
    nouns = [f"{i}-n\t{i}\tnoun.x\t{parent and parent + '-n'}\t\t{names}\t" for i, (parent, names) in NOUNS.items()]
    columns = "oewn_id\twnid_pwn30\tlexfile\thypernyms\tinstance_hypernyms\tmembers\tdefinition"
    (p.folder / "taxonomies/oewn").mkdir(parents=True)
    (p.folder / "taxonomies/oewn/nouns.tsv").write_text("\n".join([columns, *nouns]) + "\n")
    (p.folder / "weights").mkdir()
    (p.folder / "weights/mobilenet_v1_075_224_imagenet.onnx").write_bytes(b"not a network")
    known = ["n02219486", "n02672831", "n04507155", "n01768244", "n02123045", "n02484322"]
    p.table("weights/imagenet1k_classes.csv", [{"index": str(i), "wnid": w} for i, w in enumerate(known)])
    return p.folder


def search(p: Painter) -> None:
    queries = ["cat"] * 8 + ["monkey"] * 12
    verdicts = [""] * 8 + ["clean"] * 8 + ["noise"] * 3 + ["uncertain"]
    rows = [
        {"file": f"{i:05d}.jpg", "query_label_inferred": query, "verdict_monkey_block_only": verdict}
        for i, (query, verdict) in enumerate(zip(queries, verdicts, strict=True))
    ]
    drawn = [p.draw(f"photos/web_search_4queries/{row['file']}") for row in rows]
    mirrored = drawn[0].transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
    p.save(mirrored, "photos/web_search_4queries/00001.jpg")
    p.table("photos/web_search_4queries_labels.csv", rows)
    p.table(
        "near_duplicates/web_search_natural/pairs.csv",
        [
            {"file_a": "00000.jpg", "file_b": "00001.jpg", "verdict_by_eye": "mirrored"},
            {"file_a": "00002.jpg", "file_b": "00003.jpg", "verdict_by_eye": "different photos (false friend)"},
        ],
    )


def evaluation(p: Painter) -> None:
    rows = []
    for i in range(5):
        p.draw(f"eval_images/coco_train2017_128/{i:012d}.jpg")
        classes = {"class_idx80": "15", "class_names": "cat"} if i else {"class_idx80": "", "class_names": ""}
        size = {"width": "96", "height": "72"}
        rows.append({"file": f"{i:012d}.jpg", "coco_image_id": str(i), **classes, **size})
    p.table("eval_images/coco_train2017_128_labels.csv", rows)
    p.draw("eval_images/voc2007_demo/000456.jpg")
    p.table("eval_images/voc2007_demo.csv", [{"file": "000456.jpg", "voc_id": "000456"}])


def copies(p: Painter) -> None:
    face = p.draw("near_duplicates/caltech_faces/Faces/image_0001.jpg")
    p.save(face.crop((8, 6, 88, 66)), "near_duplicates/caltech_faces/Faces_easy/image_0001.jpg")
    pair = {"original": "Faces/image_0001.jpg", "cropped_copy": "Faces_easy/image_0001.jpg"}
    p.table("near_duplicates/caltech_faces/pairs.csv", [pair])
    for origin, first, group in (
        ("caltech_random_resize", "resized copy", "0"),
        ("pdq_bridge_mods", "original", "bridge"),
        ("jenssegers_forest", "high", "forest"),
        ("imagededup_ukbench", "original", "ukbench09268"),
    ):
        picture = p.draw(f"near_duplicates/{origin}/a.jpg")
        p.save(picture.resize((64, 64)), f"near_duplicates/{origin}/b.jpg")
        rows = [{"file": "a.jpg", "group": group, "variant": first}, {"file": "b.jpg", "group": group, "variant": "x"}]
        if origin == "imagededup_ukbench":
            (p.folder / "near_duplicates/imagededup_ukbench/corrupt.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
            rows.append({"file": "corrupt.jpg", "group": group, "variant": "corrupt"})
            p.draw("near_duplicates/imagededup_ukbench/alone.jpg")
            rows.append({"file": "alone.jpg", "group": "alone", "variant": "original"})
        p.table(f"near_duplicates/{origin}/groups.csv", rows)


def classifier(paths):
    """Sure and right for ants, undecided elsewhere; blind to what is no picture."""
    for i, path in enumerate(paths):
        if "corrupt" not in path.name:
            ant = path.parent.name == "ant"
            yield i, np.array([0.9] + [0.02] * 5 if ant else [1 / 6] * 6, np.float32)


def test_the_whole_example_finds_the_copies_and_cleans_the_labels(example, data, tmp_path):
    out = tmp_path / "out"
    arguments = [str(data), "--output", str(out), "--model", "dct", "--workers", "1", "--target", "0.75"]
    options = example["run"].parse_arguments(
        [*arguments, "--port", str(free_port()), "--date", "2000-01-31", "--quiet"]
    )
    found = example["run"].run(options, Console(file=io.StringIO()), classify=classifier)

    sets = {s["set"]: s for s in found["duplicates"]["sets"]}
    assert sets["pdq_bridge_mods"]["found"] == sets["caltech_natural"]["found"] == 1
    assert sets["web_search_natural"]["known"] == 1  # the false friend is no copy
    assert sets["all planted"]["known"] == sets["all planted"]["in_the_build"] == 2 * (5 + 2) + 6
    assert sets["planted mirror"]["found"] == sets["planted mirror"]["known"]
    assert sets["imagededup_ukbench"] | {"known": 2, "in_the_build": 1} == sets["imagededup_ukbench"]
    assert [n["route"] for n in found["not_fetched"]] == ["copies/imagededup_ukbench/corrupt.jpg"]
    assert found["rejects"]["images"]["http_error"] > 0  # the dead links
    assert found["labels"]["before"]["precision"] < found["labels"]["after"]["precision"]
    assert found["labels"]["kept"] < found["labels"]["candidates"]
    assert found["ancestors"]["inferred"] > found["ancestors"]["asserted"]
    assert found["input"]["left_out"] == {
        "caltech: class nosuchthing without a category": 1,
        "imagededup_ukbench: photo without a copy": 1,
    }
    assert not any(path.is_symlink() for path in (out / "dataset").rglob("*"))
    assert verify_dataset(out / "dataset")
    assert "## Real photos, dct (2000-01-31)" in (out / "results.md").read_text()
    assert json.loads((out / "results.json").read_text())["machine"]["cores"] >= 1
    for name in ("coco/annotations/instances_train2017.json", "VOCdevkit/VOC2007/ImageSets/Main/test.txt"):
        assert (out / "input/eval" / name).is_file()


def test_missing_parts_are_named_all_at_once(example, data, tmp_path):
    partial = tmp_path / "partial"
    partial.mkdir()
    for entry in data.iterdir():
        if entry.name not in {"weights", "taxonomies"}:
            (partial / entry.name).symlink_to(entry)
    with pytest.raises(PipelineError, match=r"3 of 20 parts are missing: WordNet nouns .*MobileNetV1 \(weights/"):
        example["photos"].check_parts(partial)
    with pytest.raises(PipelineError, match="expected the folder of the photos, found none"):
        example["photos"].check_parts(tmp_path / "nowhere")


def test_a_table_without_a_column_is_named(example, data, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/caltech101_labels.csv").write_text("file,kind\na.jpg,ant\n")
    with pytest.raises(PipelineError, match=r"Caltech-101 labels.*expected the columns file, class, found file, kind"):
        example["photos"].read_part(tmp_path, "Caltech-101 labels")


def test_a_table_cannot_name_a_file_outside_the_data(example, data, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (tmp_path / "data").mkdir()
    with pytest.raises(PipelineError, match="expected the photo"):
        example["photos"].photo(tmp_path / "data", ".", "../secret.jpg", part="web search photos")


def test_a_file_that_is_no_network_is_named(example, data):
    with pytest.raises(PipelineError, match="MobileNetV1"):
        example["signals"].mobilenet(data / "weights/mobilenet_v1_075_224_imagenet.onnx")


def test_the_server_answers_for_its_list_only(example, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"picture")
    (tmp_path / "secret").write_bytes(b"secret")
    routes = tmp_path / "routes.json"
    routes.write_text(
        json.dumps({"below": [str(tmp_path / "photos")], "routes": {"x/a.jpg": str(tmp_path / "photos/a.jpg")}})
    )
    with example["serve"].serve(routes, free_port()) as address:
        with urllib.request.urlopen(f"{address}/x/a.jpg") as answer:
            assert (answer.read(), answer.headers["Content-Type"]) == (b"picture", "image/jpeg")
        for path in ("photos/a.jpg", "x/../../secret", "x/%2e%2e/%2e%2e/secret", ""):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"{address}/{path}")
            assert caught.value.code == 404
            caught.value.close()


def test_the_server_refuses_a_list_that_leaves_its_folders(example, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "photos/link.jpg").symlink_to(tmp_path / "secret")
    routes = tmp_path / "routes.json"
    listed = {"a.jpg": str(tmp_path / "photos/link.jpg")}
    routes.write_text(json.dumps({"below": [str(tmp_path / "photos")], "routes": listed}))
    with pytest.raises(PipelineError, match="expected files below"), example["serve"].serve(routes, free_port()):
        pass


def test_a_taken_port_says_what_to_do(example, tmp_path):
    routes = tmp_path / "routes.json"
    routes.write_text('{"below": [], "routes": {}}')
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PipelineError, match="Give another with --port"), example["serve"].serve(routes, port):
            pass


@pytest.fixture
def categories(example, data):
    return example["categories"].Categories(read_taxonomy(str(data / "taxonomies/oewn"), "oewn"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ant", "n02219486"),  # the only one of that name
        ("squeeze_box", "n02672831"),  # a synonym
        ("umbrella", "n04507155"),  # the thing, not the air cover
        ("airplanes", "n02691156"),  # by hand
        ("yin_yang", None),  # by hand: none
        ("nosuchthing", None),
    ],
)
def test_a_class_becomes_a_category(categories, name, expected):
    assert categories.find(name) == expected


def test_truth_is_right_wrong_or_unknown(example, categories):
    image = example["web"].WebImage("a.jpg", Path("a.jpg"), "search", "n02121620", "clean", "n02121620")
    told = {label: example["signals"].truth(image, label, categories) for label in NOUNS}
    assert told["n02121620"] is told["n00015388"] is told["n00001740"] is True
    assert told["n02123045"] is None  # the cat may be a tabby
    assert told["n02219486"] is told["n02898711"] is False
    noise = example["web"].WebImage("b.jpg", Path("b.jpg"), "search", None, "noise", "n02121620")
    assert example["signals"].truth(noise, "n02121620", categories) is False
    assert example["signals"].truth(noise, "n02219486", categories) is None


def test_wrong_labels_are_never_related_to_the_right_one(example, categories):
    web_image = example["web"].WebImage
    shown = ["n02219486", "n02121620", "n02123045", "n04507155", "n02672831"]
    images = [web_image(f"{i}.jpg", Path("a.jpg"), "caltech", shown[i % 5]) for i in range(2000)]
    pairs = example["signals"].folder_pairs(images, categories, seed=1)
    labels = {p.image.route: (p.image.shows, p.label) for p in pairs}
    wrong = [(shows, label) for shows, label in labels.values() if shows != label]
    assert len(wrong) / 2000 == pytest.approx(example["signals"].WRONG_SHARE, abs=0.03)
    assert not any(categories.related(shows, label) for shows, label in wrong)
    assert pairs == example["signals"].folder_pairs(images, categories, seed=1)


def test_the_classifier_is_asked_once(example, tmp_path):
    pair_of, weights = example["signals"].Pair, tmp_path / "weights"
    image = example["web"].WebImage("a.jpg", Path("a.jpg"), "caltech", "n02219486")
    given, told, asked = [pair_of(image, "n02219486")], [pair_of(image, "n02219486", score=0.25)], []
    weights.write_bytes(b"1")

    def ask():
        asked.append(1)
        return told

    for _ in range(2):
        assert example["signals"].remembered(tmp_path / "cache.json", given, weights, ask) == told
    assert len(asked) == 1
    weights.write_bytes(b"2")
    example["signals"].remembered(tmp_path / "cache.json", given, weights, ask)
    assert len(asked) == 2


def test_pairs_become_groups(example):
    pairs = [("b", "c"), ("x", "y"), ("a", "b")]
    assert example["photos"].connected(pairs) == [["a", "b", "c"], ["x", "y"]]
