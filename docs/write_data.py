"""Write docs/data.md from the schemas of `patentdata.store.schemas`."""

from pathlib import Path

from patentdata.store import schemas
from patentdata.store.parquet import describe_schema

_TABLES = {
    "grants": (schemas.GRANTS, "`grants/WEEK.parquet`: one row per patent, in order of number."),
    "views": (schemas.VIEWS, "`views/WEEK.parquet`: one row per figure, in order of patent and sheet."),
    "captions": (
        schemas.CAPTIONS,
        "`captions/WEEK.parquet`: one row per view, in the order of the views. If the prompt is a file that names "
        "fields other than `shape` and `function`, the struct `fields` after `function` holds these.",
    ),
    "dataset": (
        schemas.DATASET,
        "`datasets/NAME/{train,validation,test}-WEEK.parquet`: one row per captioned view; and `dataset.json`.",
    ),
    "near-duplicates": (
        schemas.NEAR_DUPLICATES,
        "`datasets/NAME/.near_duplicates/pairs.parquet`: one row per pair of views of different patents that are "
        "nearly the same drawing. In a hidden folder, so that no reader of Parquet files takes it for views.",
    ),
}


def data_page() -> str:
    """The page, as Markdown."""
    parts = [
        "# The data",
        "",
        "Written from the schemas in `patentdata/store/schemas.py` by `make docs`. The files contain the description "
        "of each field too, as Arrow field metadata. The footer of every file says how it was made, under the key "
        "`designclip`: stage, version, settings, fingerprints of the inputs, the stage's report, the hash of the rows, "
        "and a hash that seals the whole file.",
        "",
        "`archives/WEEK.tar` holds the DESIGN members of a week, bytes unchanged; `archives/WEEK.json` names "
        "their source.",
    ]
    for name, (schema, summary) in _TABLES.items():
        parts += ["", f"## {name}", "", summary, "", "| field | type | meaning |", "|---|---|---|"]
        parts += [
            f"| `{field}` | {kind.replace('<', '&lt;').replace('>', '&gt;')} | {meaning.replace('|', chr(92) + '|')} |"
            for field, kind, meaning in describe_schema(schema)
        ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("data.md").write_text(data_page(), encoding="utf-8")
