"""What `bench_train.py` says of its rows: what limits each, and the tables of RESULTS.md."""

from __future__ import annotations

from typing import Any


def limiting(row: dict[str, Any]) -> str:
    """What a faster run needs first, with the loader: images, launches, or the largest part of the device's time."""
    waiting, busy = row["loader"]["waiting"], row["drawn"].get("busy")
    if waiting > 0.1:
        return f"the loader ({waiting:.0%} waiting)"
    if busy is not None and busy < 0.85:
        return f"launching kernels (device busy {busy:.0%})"
    parts = row["drawn"].get("parts") or {"not profiled": 1.0}
    part, share = next(iter(parts.items()))
    return f"{part} ({share:.0%})"


def tables(rows: list[dict[str, Any]], told: dict[str, Any]) -> str:
    head = (
        "| network | crop | batch | bn group | compile | drawn batches | with the loader | waiting | TFLOP/s "
        "| of the product | of the sheet | peak GiB | limit |"
    )
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    parts = [
        "| network | crop | batch | compile | parts of the device's time, drawn batches |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        compiled = "on" if row["compile"] else "off"
        start = f"| {row['arch']} | {row['crop_size']} | {row['batch_size']} |"
        if "failed" in row:
            lines.append(f"{start} {row['bn_images']} | {compiled} | {row['failed']} | | | | | | | |")
            continue
        drawn, loader = row["drawn"], row["loader"]
        sheet = "" if told["sheet_tflops"] is None else f"{drawn['tflops'] / told['sheet_tflops']:.0%}"
        lines.append(
            f"{start} {row['bn_images']} | {compiled} | {drawn['images_per_s']:,.1f}/s "
            f"| {loader['images_per_s']:,.1f}/s | {loader['waiting']:.1%} | {drawn['tflops']:.3g} "
            f"| {drawn['tflops'] / told['product_tflops']:.0%} | {sheet} | {row['peak_gib']:.2f} | {row['limit']} |"
        )
        shares = ", ".join(f"{part} {share:.0%}" for part, share in drawn.get("parts", {}).items() if share >= 0.005)
        parts.append(f"{start} {compiled} | {shares} |")
    return "\n".join([*lines, "", *parts])
