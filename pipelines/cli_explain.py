"""How `openjft explain` shows an image's way on a terminal.

In: what `explain.explain` found. Out: a few tables, in the order of the build; what has not been built is said.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console

from .cli_tables import print_fields, print_line, print_rows


def print_explained(console: Console, value: dict[str, Any]) -> None:
    """All of it."""
    print_fields(console, [("image", value["image_key"]), ("address", value["uri"]), ("bucket", value["bucket"])])
    for candidate in value["candidates"]:
        _candidate(console, candidate)
    if value["denied"]:
        names = ", ".join(each["name"] for each in value["denied"])
        print_line(console, f"Denied by a person: {names}")
    _labels(console, value)
    _image(console, value)


def _candidate(console: Console, c: dict[str, Any]) -> None:
    title = f"{c['name']} ({c['id']})"
    filtered = c["filter"]
    print_line(console, title, style="bold")
    if filtered is None:
        rows = [(name, _said(said)) for name, said in c["signals"].items()]
        print_rows(console, ("source", "said"), rows)
        print_line(console, "not scored yet")
        return
    states = []
    for state in filtered["states"]:
        # The confusions are no source: they say nothing.
        said = _said(c["signals"][state["column"]]) if state["column"] in c["signals"] else ""
        states.append((state["column"], said, state["state"], f"{state['weight']:+.2f}"))
    print_rows(console, ("source", "said", "state", "weight"), states)
    kept = "kept" if filtered["kept"] else "not kept"
    evidence = f"{filtered['slope']:.2f} x {filtered['log_likelihood_ratio']:+.2f}"
    judged = {None: "", True: "; judged right in the gold", False: "; judged wrong in the gold"}[filtered["judged"]]
    print_fields(
        console,
        [
            ("log-likelihood ratio", f"{filtered['log_likelihood_ratio']:+.2f}"),
            ("class", f"{filtered['class_candidates']:,} candidates, prior {filtered['class_prior']:.3f}"),
            ("log-odds", f"{filtered['log_odds']:+.2f} = {evidence} {filtered['class_log_odds']:+.2f} of the class"),
            ("probability", f"{filtered['probability']:.3f}, threshold {filtered['threshold']:.3f}: {kept}{judged}"),
        ],
    )


def _said(values: dict[str, Any] | None) -> str:
    """'3 rows, score 0.91'; what a source did not tell is left out."""
    if values is None:
        return "had no opportunity"
    if not values["rows"]:
        told = values["statements"]
        return f"silent ({told:.3g} statements on the image)" if told else "silent"
    parts = [f"{values['rows']:,} rows"]
    if values["domains"]:
        parts.append(f"{values['domains']:,} domains")
    if abs(values["support"] - values["rows"]) > 1e-3 or values["statements"] > values["support"] + 1e-3:
        parts.append(f"support {values['support']:.3g} of {values['statements']:.3g}")
    if values["score"] is not None:
        parts.append(f"score {values['score']:.3g}")
    if values["impressions"]:
        parts.append(f"{values['clicks']:,} clicks for {values['impressions']:,} impressions")
        if abs(values["exposure"] - values["impressions"]) > 0.5:
            parts.append(f"worth {values['exposure']:.3g} at the first place")
    return ", ".join(parts)


def _labels(console: Console, value: dict[str, Any]) -> None:
    if value["labels"] is None:
        print_line(console, "Ancestors: not expanded yet")
        return
    rows = [
        (each["name"], f"{each['probability']:.3f}", "asserted" if each["asserted"] else f"from {each['from']}")
        for each in value["labels"]
    ]
    print_line(console, "Labels with ancestors", style="bold")
    print_rows(console, ("label", "probability", "how"), rows)
    for each in value["contradictions"] or []:
        between = " and ".join(each["between"])
        print_line(console, f"Contradiction ({each['kind']}): {between}, {each['probability']:.2f} that one is wrong")


def _image(console: Console, value: dict[str, Any]) -> None:
    image, nearest, shard = value["image"], value["nearest_eval_image"], value["shard"]
    fields: list[tuple[str, Any]] = []
    if image is None:
        fields.append(("picture", "not fetched"))
    elif image["status"] == "ok":
        size = f"{image['original_width']} x {image['original_height']}, stored {image['width']} x {image['height']}"
        fields.append(("picture", f"{size}, {image['bytes']:,} bytes"))
    else:
        fields.append(("picture", f"{image['status']}: {image['detail'] or ''}".rstrip(": ")))
    if nearest is not None:
        fields.append(
            (
                "nearest eval image",
                f"{nearest['eval_set']} {nearest['eval_id']}, {nearest['similarity']:.3f} ({nearest['view']})",
            )
        )
    for each in value["overlaps"] or []:
        sure = each["level"] if each["decision"] is None else f"{each['level']}, judged {each['decision']}"
        fields.append(
            ("overlap", f"{each['eval_set']} {each['eval_id']}, {each['similarity']:.3f} ({each['view']}), {sure}")
        )
    if shard is not None:
        fields.append(("data set", shard["shard"] if shard["written"] else f"left out: {shard['why']}"))
    print_fields(console, fields)
