"""Every format through the stage: what is read, what is rejected, what is an error."""

import gzip
import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openjft.pipelines.errors import ConfigError, InputError
from openjft.pipelines.ingest import parse_tar_member_uri

CSV = "uri,label,score\nhttp://a.b/1,n1,0.5\nhttp://a.b/2,n2,\n"
COLUMNS = {"score": "score"}


def _write(workshop, name, data):
    data = data if isinstance(data, bytes) else data.encode()
    if name.endswith(".gz"):
        data = gzip.compress(data)
    elif name.endswith(".zst"):
        data = pa.Codec("zstd").compress(data, asbytes=True)
    (workshop.folder / name).write_bytes(data)


def _reasons(workshop, config):
    return [(row["reason"], row["row"]) for row in workshop.rejects(config)]


JSONL = '{"uri": "http://a.b/1", "label": "n1", "score": 0.5, "other": [1]}\n{"uri": "http://a.b/2", "label": "n2"}\n'


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", CSV),
        ("a.csv", CSV.rstrip("\n")),
        ("a.csv", "\ufeff" + CSV),
        ("a.csv", CSV.replace("\n", "\r\n")),
        ("a.csv.gz", CSV),
        ("a.csv.zst", CSV),
        ("a.tsv", CSV.replace(",", "\t")),
        ("a.jsonl", JSONL),
        ("a.jsonl", JSONL.rstrip("\n")),
        ("a.jsonl", JSONL.replace("0.5", '"0.5"').replace("\n", "\n\n")),
        ("a.jsonl.gz", JSONL),
    ],
)
def test_text_formats_give_the_same_rows(workshop, name, data):
    _write(workshop, name, data)
    config = workshop.config({"path": name, "source": "alt", "columns": COLUMNS})
    _, account, rows = workshop.ingest(config)
    assert account.rows_in == 2
    assert {(row["uri"], row["label"], row["alt.score"]) for row in rows} == {
        ("http://a.b/1", 0, 0.5),
        ("http://a.b/2", 1, None),
    }


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int16(), pa.string())]
)
def test_parquet_text_of_any_arrow_type(workshop, kind):
    uris = pa.array(["http://a.b/1", "http://a.b/2", None])
    table = pa.table({"u": uris.cast(kind) if kind != pa.string_view() else uris, "l": pa.array(["n1", "n2", "n1"])})
    pq.write_table(table.cast(pa.schema([("u", kind), ("l", pa.string())])), workshop.folder / "a.parquet")
    config = workshop.config({"path": "a.parquet", "source": "alt", "columns": {"uri": "u", "label": "l"}})
    spilled, _, rows = workshop.ingest(config)
    assert (spilled.rows_in, dict(spilled.rejects), len(rows)) == (3, {"missing_uri": 1}, 2)


def test_rejects_by_reason_with_the_row_and_the_value(workshop):
    lines = [
        "uri,label,source,score,clicks,impressions",
        "http://a.b/1,n1,alt,0.5,1,2",
        ",n1,alt,,,",
        "no scheme,n1,alt,,,",
        "http://u:p@a.b/,n1,alt,,,",
        "ftp://a.b/1,n1,alt,,,",
        "http://a.b/1,,alt,,,",
        "http://a.b/1,n77,alt,,,",
        "http://a.b/1,n1,rumour,,,",
        "http://a.b/1,n1,,,,",
        "http://a.b/1,n1,alt,NaN,,",
        "http://a.b/1,n1,alt,high,,",
        "http://a.b/1,n1,alt,,3,2",
        "http://a.b/1,n1,alt,,-1,2",
        "http://a.b/1,n1,alt",
        "http://a.b/1,n1,alt,,3,",
    ]
    _write(workshop, "a.csv", "\n".join(lines))
    names = {name: name for name in ("source", "score", "clicks", "impressions")}
    config = workshop.config({"path": "a.csv", "columns": names})
    spilled, account, rows = workshop.ingest(config)
    assert spilled.rows_in == len(lines) - 1
    assert dict(spilled.rejects) == {
        "missing_uri": 1, "bad_uri": 2, "forbidden_scheme": 1, "missing_label": 1, "unknown_label": 1,
        "unknown_source": 2, "bad_score": 2, "bad_count": 2, "bad_row": 1,
    }  # fmt: skip
    assert account.rows_in == 2
    assert (rows[0]["alt.rows"], rows[0]["alt.clicks"], rows[0]["alt.impressions"]) == (2, 4, 2)
    rejects = {row["row"]: row for row in workshop.rejects(config)}
    assert sorted(rejects) == list(range(1, 14))
    assert (rejects[6]["label"], rejects[7]["source"], rejects[10]["detail"]) == ("n77", "rumour", "score: high")
    assert rejects[13]["detail"] == "expected 6 fields, found 3: http://a.b/1,n1,alt"
    assert all(row["file"].endswith("a.csv") for row in rejects.values())


def test_labels_by_name_ignore_case_and_reject_what_is_ambiguous(workshop):
    _write(
        workshop, "a.csv", "uri,label\n" + "".join(f"http://a.b/{n},{n}\n" for n in ("CAT", " dog ", "jaguar", "n1"))
    )
    config = workshop.config({"path": "a.csv"}, taxonomy={"path": "unused", "labels": "name"})
    spilled, _, rows = workshop.ingest(config)
    assert dict(spilled.rejects) == {"ambiguous_label": 1, "unknown_label": 1}
    assert sorted(row["label"] for row in rows) == [0, 1]


def test_row_numbers_stay_right_behind_rows_that_do_not_parse(workshop, monkeypatch):
    monkeypatch.setattr("openjft.pipelines.ingest.tabular.BLOCK_BYTES", 64)
    lines = [f"http://a.b/{i},n1" for i in range(40)]
    for bad in (0, 7, 8, 20, 39):
        lines[bad] = "torn"
    for wrong in (1, 9, 21, 38):
        lines[wrong] = f"http://a.b/{wrong},none"
    _write(workshop, "a.csv", "uri,label\n" + "\n".join(lines))
    config = workshop.config({"path": "a.csv"})
    spilled = workshop.spill(config)
    assert (spilled.rows_in, spilled.rows_out) == (40, 31)
    assert sorted(_reasons(workshop, config)) == sorted(
        [("bad_row", i) for i in (0, 7, 8, 20, 39)] + [("unknown_label", i) for i in (1, 9, 21, 38)]
    )


def test_bad_json_lines_are_rejected_one_by_one(workshop):
    good = '{"uri": "http://a.b/1", "label": "n1"}'
    lines = [
        good,
        "",
        "{torn",
        "[1]",
        '{"uri": 1.5, "label": "n1"}',
        '{"uri": "http://a.b/\\ud800", "label": "n1"}',
        good,
    ]
    lines += ['{"uri": "http://a.b/2", "label": ["n1"]}', "[" * 100_000]
    _write(workshop, "a.jsonl", "\n".join(lines).encode() + b'\n{"uri": "http://a.b/\xff", "label": "n1"}\n')
    config = workshop.config({"path": "a.jsonl"})
    spilled = workshop.spill(config)
    assert (spilled.rows_in, spilled.rows_out) == (9, 2)
    assert _reasons(workshop, config) == [("bad_row", i) for i in (2, 3, 4, 5, 7, 8, 9)]


def test_bytes_that_are_no_utf8_cost_their_row(workshop):
    _write(workshop, "a.csv", b"uri,label\nhttp://a.b/1,n1\nhttp://a.b/\xff,n1\nhttp://a.b/2,n\xe9\n")
    config = workshop.config({"path": "a.csv"})
    spilled = workshop.spill(config)
    assert (spilled.rows_out, _reasons(workshop, config)) == (1, [("bad_row", 1), ("bad_row", 2)])


def test_parquet_that_claims_to_be_utf8_is_checked(workshop):
    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([b"http://a.b/1", b"http://a.b/\xff"]).buffers())
    pq.write_table(pa.table({"uri": broken, "label": ["n1", "n1"]}), workshop.folder / "a.parquet")
    spilled = workshop.spill(workshop.config({"path": "a.parquet"}))
    assert (spilled.rows_out, dict(spilled.rejects)) == (1, {"bad_row": 1})


def test_tsv_knows_no_quotes_and_is_cut_into_ranges(workshop):
    lines = [f'http://a.b/{i}\t"lone quote\tn{i % 2 + 1}' for i in range(200)]
    _write(workshop, "a.tsv", "uri\ttext\tlabel\n" + "\n".join(lines))
    config = workshop.config({"path": "a.tsv"})
    _, account, rows = workshop.ingest(config, split_bytes=1000)
    assert account.rows_in == len(rows) == 200


def test_json_lines_in_ranges_name_the_range_of_a_reject(workshop):
    lines = [json.dumps({"uri": f"http://a.b/{i}", "label": "n1" if i % 10 else "none"}) for i in range(100)]
    _write(workshop, "a.jsonl", "\n".join(lines))
    config = workshop.config({"path": "a.jsonl"})
    spilled = workshop.spill(config, split_bytes=1000)
    assert (spilled.rows_in, spilled.rows_out) == (100, 90)
    assert workshop.rejects(config)[-1]["file"].partition("#")[2].startswith("bytes=")


def test_quoted_line_breaks_belong_to_the_value(workshop):
    _write(workshop, "a.csv", 'uri,text,label\nhttp://a.b/1,"two\nlines, and ""quotes""",n1\nhttp://a.b/2,5" disk,n1\n')
    spilled = workshop.spill(workshop.config({"path": "a.csv"}))
    assert (spilled.rows_in, spilled.rows_out) == (2, 2)


@pytest.mark.parametrize(
    ("name", "data"), [("a.csv", b""), ("a.csv.gz", b""), ("a.jsonl", b""), ("a.csv", b"uri,label")]
)
def test_an_empty_file_has_no_rows(workshop, name, data):
    _write(workshop, name, data)
    spilled, account, rows = workshop.ingest(workshop.config({"path": name}))
    assert (spilled.rows_in, account.rows_in, rows, spilled.counters["empty_files"]) == (0, 0, [], 1)


BIG = "uri,label\n" + "".join(f"http://a.b/{i * 7919 % 100_003},n1\n" for i in range(100_000))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"url,label\nx,y\n", "expected a column 'uri'.*found 'url', 'label'.*Did you mean 'url'"),
        ("a.csv", b"uri,uri,label\nx,y,z\n", "expected one column 'uri'"),
        ("a.csv", b"\xff\xfe,label\nx,y\n", "columns' names in UTF-8"),
        ("a.csv", b'uri,label,text\nhttp://a.b/1,n1,"open\nhttp://a.b/2,n1,x\n', "quotation mark"),
        ("a.jsonl", b'{"url": "x", "label": "n1"}\n', "expected a column 'uri'.*Did you mean 'url'"),
        ("a.parquet", b"no parquet", "expected a Parquet file"),
        ("a.parquet", b"", "expected a Parquet file"),
        ("a.csv.gz", gzip.compress(BIG.encode())[:-20_000], r"damage after [\d,]+ rows"),
        ("a.csv.zst", pa.Codec("zstd").compress(BIG.encode(), asbytes=True)[:-20_000], r"damage after [\d,]+ rows"),
        ("a.jsonl.gz", b"no gzip", "damage after 0 rows"),
        ("a.csv", ("uri,label\n" + "x" * 9_000_000 + "\n").encode(), "longer than a block"),
        ("a.tar", b"", "expected an uncompressed, whole tar"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_that_names_it(workshop, name, data, message):
    (workshop.folder / name).write_bytes(data)
    config = workshop.config({"path": name}, ingest={"allowed_schemes": ["http", "tar"]})
    with pytest.raises(InputError, match=message) as caught:
        workshop.spill(config)
    assert name in str(caught.value)
    assert not list((workshop.folder / "out" / "spill").glob("*"))


def test_parquet_columns_of_the_wrong_type_are_named(workshop):
    pq.write_table(pa.table({"uri": [["a"]], "label": ["n1"]}), workshop.folder / "a.parquet")
    with pytest.raises(InputError, match=r"column 'uri' \(for uri\): expected text, found the type list"):
        workshop.spill(workshop.config({"path": "a.parquet"}))


def test_open_images_confidence_zero_is_a_verified_negative(workshop):
    _write(
        workshop,
        "oi.csv",
        "ImageID,Source,LabelName,Confidence\n0a,verification,n1,1\n0b,Model,n2,0.7\n0b,verification,n1,0\n0c,crowd,n1,1\n"
        "0b,Model,n1,0.9\n",
    )
    item = {"path": "oi.csv", "format": "open_images", "uri_template": "https://a.b/{}.jpg", "source": None}
    config = workshop.config(item, sources=[{"name": "model"}, {"name": "verification"}])
    spilled, account, rows = workshop.ingest(config)
    assert dict(spilled.rejects) == {"unknown_source": 1}
    assert spilled.counters["negative_rows"] == account.counters["negatives"] == 1
    assert account.rejects == {"verified_negative": 1}
    assert {(r["uri"], r["label"], r["model.rows"], r["verification.rows"]) for r in rows} == {
        ("https://a.b/0a.jpg", 0, 0, 1),
        ("https://a.b/0b.jpg", 1, 1, 0),
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.tsv", "n1\thttp://a.b/1\nn2\thttp://a.b/2\n"), ("a.csv.gz", '"n1",http://a.b/1\nn2,http://a.b/2')],
)
def test_columns_without_a_first_line_of_names(workshop, name, text):
    _write(workshop, name, text)
    config = workshop.config(
        {"path": name, "source": "alt", "header": ["what", "where"], "columns": {"uri": "where", "label": "what"}}
    )
    spilled, _, rows = workshop.ingest(config)
    assert spilled.rows_in == 2
    assert {(row["uri"], row["label"]) for row in rows} == {("http://a.b/1", 0), ("http://a.b/2", 1)}


def test_columns_without_names_are_read_in_ranges_and_bad_rows_keep_their_numbers(workshop):
    lines = [f"n1\thttp://a.b/{i}" for i in range(500)]
    lines[3] = "one field"
    _write(workshop, "a.tsv", "\n".join(lines))
    item = {"path": "a.tsv", "source": "alt", "header": ["label", "uri"], "columns": {}}
    assert workshop.spill(workshop.config(item), split_bytes=1000).rows_in == 500
    config = workshop.config(item, build={"output": "whole", "buckets": 4})
    assert workshop.spill(config).rows_out == 499
    assert _reasons(workshop, config) == [("bad_row", 3)]


def test_a_header_of_another_width_is_an_error(workshop):
    _write(workshop, "a.tsv", "n1\thttp://a.b/1\tmore\n")
    with pytest.raises(InputError, match=r"expected 2 columns \(label, uri\), as inputs.header names them, found 3"):
        workshop.spill(workshop.config({"path": "a.tsv", "header": ["label", "uri"]}))


def test_a_header_for_a_format_that_names_its_fields_is_an_error(workshop):
    _write(workshop, "a.jsonl", JSONL)
    with pytest.raises(ConfigError, match=r"inputs\.0\.header: expected it for CSV and TSV alone, found .* 'jsonl'"):
        workshop.spill(workshop.config({"path": "a.jsonl", "header": ["label", "uri"]}))


TENCENT = "a.jpg\tn1:0.5\tn2:1\r\n\nb.jpg\tn9\tn1:x\tn2:0.25\t\nc.jpg\nd.jpg\tnope:1\n"


def test_each_label_of_a_tencent_line_is_a_row(workshop):
    _write(workshop, "list.txt", TENCENT)
    item = {"path": "list.txt", "format": "tencent_ml_images", "source": "model", "uri_template": "http://t.org/{}"}
    config = workshop.config(item)
    spilled, _, rows = workshop.ingest(config)
    assert {(row["uri"], row["label"], row["model.score"]) for row in rows} == {
        ("http://t.org/a.jpg", 0, 0.5),
        ("http://t.org/a.jpg", 1, 1.0),
        ("http://t.org/b.jpg", 1, 0.25),
    }
    assert (spilled.rows_in, spilled.rows_out) == (7, 3)
    assert sorted(_reasons(workshop, config)) == [
        ("bad_row", 2), ("bad_score", 2), ("missing_label", 3), ("unknown_label", 4),
    ]  # fmt: skip
    details = {row["reason"]: row["detail"] for row in workshop.rejects(config)}
    assert details["bad_row"] == "expected index:confidence: n9 behind b.jpg"
    looked = workshop.config({**item, "empty_label": "opportunity"}, build={"output": "again", "buckets": 4})
    assert workshop.spill(looked).counters["opportunity_rows"] == 1


def test_a_tencent_list_is_cut_anywhere(workshop):
    _write(workshop, "list.txt", "".join(f"http://t.org/{i}\tn1:0.5\tn2:0.75\n" for i in range(400)))
    config = workshop.config({"path": "list.txt", "format": "tencent_ml_images", "source": "model"})
    spilled, _, rows = workshop.ingest(config, split_bytes=1000)
    assert spilled.rows_in == len(rows) == 800


def _tar(members, *, form=tarfile.USTAR_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


SAMPLES = [
    ("x/1.jpg", b"one"), ("x/1.json", b'{"label": ["n1", "n2"], "page": "http://p.com/"}'),
    ("x/2.json", b'{"label": "n1"}'), ("x/2.left.PNG", b"two"),
    ("x/3.json", b'{"label": "n1"}'),
    ("x/4.jpg", b"four"), ("x/4.json", b"{torn"),
    ("x/5.jpg", b"five"),
    ("../6.jpg", b"six"),
]  # fmt: skip


def test_samples_of_a_tar_become_rows_whose_uris_find_the_picture(workshop):
    data = _tar(SAMPLES)
    _write(workshop, "a b.tar", data)
    config = workshop.config(
        {"path": "a b.tar", "source": "alt", "columns": {"page": "page"}}, ingest={"allowed_schemes": ["tar"]}
    )
    spilled, _, rows = workshop.ingest(config)
    assert spilled.rows_in == 7
    assert sorted(_reasons(workshop, config)) == [("bad_row", 2), ("bad_row", 3), ("bad_row", 5), ("missing_label", 4)]
    found = set()
    for row in rows:
        member = parse_tar_member_uri(row["uri"])
        assert member.tar == str(workshop.folder / "a b.tar")
        found.add((member.name, data[member.offset : member.offset + member.size], row["label"], row["alt.domains"]))
    assert found == {("x/1.jpg", b"one", 0, 1), ("x/1.jpg", b"one", 1, 1), ("x/2.left.PNG", b"two", 0, 0)}


@pytest.mark.parametrize(("where", "member"), [("cls", b"n1\n"), ("txt", b" n1 ")])
def test_labels_of_a_tar_in_a_member_of_their_own(workshop, where, member):
    _write(workshop, "a.tar", _tar([("1.jpg", b"one"), (f"1.{where}", member)], form=tarfile.PAX_FORMAT))
    config = workshop.config({"path": "a.tar", "webdataset_label": where}, ingest={"allowed_schemes": ["tar"]})
    assert [row["label"] for row in workshop.ingest(config)[2]] == [0]


def test_a_damaged_or_truncated_tar_does_not_pass_as_a_shorter_one(workshop):
    whole = _tar([(f"{i}.jpg", b"x" * 600) for i in range(20)])
    damaged = bytearray(whole)
    damaged[10 * 1536 + 5] ^= 0xFF
    config = workshop.config({"path": "a.tar"}, ingest={"allowed_schemes": ["tar"], "max_reject_share": 1.0})
    for data in (bytes(damaged), whole[: 10 * 1536 + 700], whole[: 10 * 1536 + 100]):
        _write(workshop, "a.tar", data)
        with pytest.raises(InputError, match=r"a\.tar"):
            workshop.spill(config)
