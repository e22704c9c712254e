from __future__ import annotations

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openjft.dedup import EmbedderSpec, embeddings_schema, make_embedder, vectors_of
from openjft.loaders.decoding import decode_stored_jpeg, encode_jpeg
from openjft.loaders.tar import TarWriter
from openjft.pipelines.config import Embed
from openjft.pipelines.embed import EmbedStage, embedder_spec
from openjft.pipelines.engine import fingerprint, run_unit
from openjft.pipelines.errors import PipelineError
from openjft.pipelines.storage import Store, bucket_file


def jpeg(seed):
    noise = np.random.default_rng(seed).uniform(0, 255, (9, 9, 3)).astype(np.uint8)
    return encode_jpeg(np.asarray(PIL.Image.fromarray(noise).resize((48, 40))), quality=90)


def write_tar(store, members, bucket=0, buckets=1):
    with store.writing(bucket_file("images", bucket, buckets, "tar")) as sink:
        writer = TarWriter(sink)
        for name, data in members:
            writer.add(name, data)
        writer.close()


def key(n):
    return bytes([n] * 16)


def run(store, embed=None):
    return run_unit(EmbedStage(embed or Embed(batch_size=4), 1), 0, store, "fp")


def test_every_stored_image_gets_the_vector_of_its_descriptor(tmp_path):
    store = Store(str(tmp_path))
    jpegs = [jpeg(n) for n in range(10)]
    write_tar(store, [(f"{key(n).hex()}.jpg", data) for n, data in enumerate(jpegs)])
    account = run(store)
    assert (account.rows_in, account.rows_out, account.rejects) == (10, 10, {})
    table = store.read_table("embeddings/00000-of-00001.parquet")
    assert table.schema == embeddings_schema(170)
    assert table["image_key"].to_pylist() == [key(n) for n in range(10)]
    expected = make_embedder(EmbedderSpec()).embed([decode_stored_jpeg(data) for data in jpegs])
    np.testing.assert_array_equal(vectors_of(table["vector"], 170, origin="x"), expected.astype(np.float16))


def test_a_damaged_image_is_a_counted_reject(tmp_path):
    store = Store(str(tmp_path))
    write_tar(store, [(f"{key(1).hex()}.jpg", jpeg(1)), (f"{key(2).hex()}.jpg", jpeg(2)[:300])])
    account = run(store)
    assert (account.rows_in, account.rows_out, account.rejects) == (2, 1, {"decode_failed": 1})


def test_an_empty_bucket_gives_an_empty_table(tmp_path):
    store = Store(str(tmp_path))
    write_tar(store, [])
    assert run(store).rows_in == 0
    table = store.read_table("embeddings/00000-of-00001.parquet")
    assert table.num_rows == 0
    assert table.schema == embeddings_schema(170)


def test_equal_input_gives_equal_bytes_and_plain_pages(tmp_path):
    written = []
    for name in ("a", "b"):
        store = Store(str(tmp_path / name))
        write_tar(store, [(f"{key(n).hex()}.jpg", jpeg(n)) for n in range(3)])
        run(store)
        written.append(store.read_bytes("embeddings/00000-of-00001.parquet"))
    assert written[0] == written[1]
    column = pq.ParquetFile(pa.BufferReader(written[0])).metadata.row_group(0).column(1)
    assert column.compression == "UNCOMPRESSED"
    assert "RLE_DICTIONARY" not in column.encodings


@pytest.mark.parametrize("name", ["cat.jpg", "00.jpg", f"{'0' * 32}.png", f"{'g' * 32}.jpg"])
def test_a_member_that_is_no_key_is_an_error(tmp_path, name):
    store = Store(str(tmp_path))
    write_tar(store, [(name, jpeg(0))])
    with pytest.raises(PipelineError, match="32 hex digits"):
        run(store)


def test_the_configuration_maps_onto_the_descriptors_spec():
    spec = embedder_spec(Embed(model="onnx", weights="m.onnx", output="e", mean=(0.5, 0.5, 0.5)))
    assert spec == EmbedderSpec(model="onnx", weights="m.onnx", output="e", mean=(0.5, 0.5, 0.5))


def test_batch_size_and_device_make_nothing_stale():
    stages = [EmbedStage(Embed(), 1), EmbedStage(Embed(batch_size=7, device="cpu"), 1)]
    assert fingerprint(stages[0], ["up"]) == fingerprint(stages[1], ["up"])
