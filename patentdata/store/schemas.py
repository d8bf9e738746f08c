"""The rows of every stage, as Arrow schemas whose fields say what they mean.

`docs/data.md` is written from these schemas. Within a stage, rows are plain dicts with exactly these keys.
"""

from __future__ import annotations

import pyarrow as pa

VIEWPOINTS = (
    "perspective",
    "front",
    "rear",
    "left",
    "right",
    "top",
    "bottom",
    "side",
    "section",
    "detail",
    "exploded",
    "in_use",
    "other",
    "none",
)

LINES = ("broken", "dash_dot", "shading", "other")

LINE_MEANINGS = (
    "environment",
    "unclaimed_portion",
    "boundary",
    "stitching",
    "fold_or_hidden",
    "break",
    "claimed",
    "unclaimed",
    "other",
)

_TEXT = pa.string()
_TEXTS = pa.list_(_TEXT)
_BOX = pa.list_(pa.int32())


def _field(name: str, kind: pa.DataType, description: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": description})


FIGURE = pa.struct(
    [
        _field("label", _TEXT, 'Number as the text prints it, without "FIG.": "3", "2A", "1(a)", Hague "1.1"'),
        _field("text", _TEXT, "The sentence that describes the figure, as printed"),
        _field("viewpoint", _TEXT, f"From where it is seen; one of {', '.join(VIEWPOINTS)}"),
        _field(
            "viewpoint_direction", _TEXT, 'Direction of a perspective, such as "top front"; null where none is named'
        ),
        _field("object", _TEXT, 'What the sentence says is shown, such as "chair"; null where it names nothing'),
    ]
)
LINE_STATEMENT = pa.struct(
    [
        _field("lines", _TEXT, f"Kind of lines; one of {', '.join(LINES)}"),
        _field("meaning", _TEXT, f"What they stand for; one of {', '.join(LINE_MEANINGS)}"),
        _field("is_claimed", pa.bool_(), "Whether that is part of the claimed design; null if the grant does not say"),
        _field("figures", _TEXTS, "Labels of the figures that the statement is limited to; empty if it is about all"),
        _field("text", _TEXT, "The sentences that say so, as printed"),
    ]
)
CITATION = pa.struct(
    [
        _field("number", _TEXT, 'Cited document; US designs in canonical form ("D428532")'),
        _field("country", _TEXT, "Two-letter code of the office"),
        _field("kind", _TEXT, 'Kind code as printed, such as "S"'),
        _field("date", _TEXT, 'As printed, YYYYMMDD; the day is often "00"'),
        _field("name", _TEXT, "First inventor as printed"),
        _field("category", _TEXT, '"examiner", "applicant", "third party" or "other"'),
        _field("uspc", _TEXT, 'US class printed with the citation, canonical ("D28/47")'),
        _field("text", _TEXT, "Non-patent literature: the citation as printed; null for patents"),
    ]
)
RELATED = pa.struct(
    [
        _field("relation", _TEXT, "Element name of the relation: division, continuation, reissue, …"),
        _field("country", _TEXT, "Two-letter code of the office"),
        _field("application_number", _TEXT, "Application this grant goes back to, or number of a publication"),
        _field("patent_number", _TEXT, 'Patent granted on it, canonical ("D812345"); null where none is named'),
        _field("date", _TEXT, "Filing date as printed, YYYYMMDD"),
    ]
)
PRIORITY = pa.struct(
    [
        _field("number", _TEXT, "Number of the earlier application"),
        _field("country", _TEXT, "Two-letter code of the office"),
        _field("date", _TEXT, "Date as printed, YYYYMMDD"),
        _field("kind", _TEXT, "national, regional or international"),
    ]
)
IMAGE = pa.struct(
    [
        _field("file_name", _TEXT, 'Drawing file, such as "USD0907292-20210105-D00001.TIF"'),
        _field("width_mm", pa.float32(), "Printed width in millimetres; × 300 / 25.4 gives pixels"),
        _field("height_mm", pa.float32(), "Printed height in millimetres"),
        _field("orientation", _TEXT, '"landscape" or "portrait" as the grant says; null where it does not'),
    ]
)

GRANTS = pa.schema(
    [
        _field("patent_number", _TEXT, 'Canonical number: D and digits without leading zero, "D907292"'),
        _field("kind", _TEXT, 'Kind code: "S1" ("S" in 2001)'),
        _field("title", _TEXT, "Title, its markup removed"),
        _field("grant_date", pa.date32(), "Day of issue"),
        _field("application_number", _TEXT, "Application number as printed, digits alone"),
        _field("application_date", pa.date32(), "Filing day; null where it cannot be read"),
        _field("series_code", _TEXT, "Application series: 29, or 35 for the Hague system"),
        _field("term_years", pa.int16(), "Term of the grant in years, 14 or 15"),
        _field("locarno_edition", _TEXT, "Edition of the Locarno classification"),
        _field("locarno_class", _TEXT, 'Main Locarno class and subclass, "28-03"'),
        _field("locarno_further", _TEXTS, "Further Locarno classes"),
        _field("uspc", _TEXT, 'Main US class and subclass, "D28/47", "D14/209.1"'),
        _field("uspc_class", _TEXT, 'US design class alone, "D28"'),
        _field("uspc_further", _TEXTS, "Further US classes"),
        _field("field_of_search", _TEXTS, 'US classes searched, canonical; ranges as "D14/485-D14/495"'),
        _field("claim", _TEXT, "The claim"),
        _field("num_sheets", pa.int32(), "Drawing sheets, as the grant counts them"),
        _field("num_figures", pa.int32(), "Figures, as the grant counts them (can be wrong)"),
        _field("figures", pa.list_(FIGURE), "Declared figures in order of mention, one entry a label"),
        _field("other_paragraphs", _TEXTS, "Paragraphs of the description of drawings that describe no figure"),
        _field(
            "claim_scope", pa.list_(LINE_STATEMENT), "What the description of drawings says about its lines, in order"
        ),
        _field("has_unclaimed_matter", pa.bool_(), "Whether a statement says that what its lines show is not claimed"),
        _field("inventors", _TEXTS, 'Inventors, "First Last"'),
        _field("applicants", _TEXTS, "Applicants: persons or organisations"),
        _field("assignees", _TEXTS, "Assignees"),
        _field("agents", _TEXTS, "Attorneys or agents"),
        _field("examiners", _TEXTS, "Primary, then assistant examiner"),
        _field("inventor_countries", _TEXTS, "Country of residence of each inventor, where given"),
        _field("citations", pa.list_(CITATION), "References cited, in order"),
        _field("related", pa.list_(RELATED), "Related US documents"),
        _field("priority_claims", pa.list_(PRIORITY), "Foreign priority claims"),
        _field("hague_number", _TEXT, "International registration number of a Hague design; else null"),
        _field("images", pa.list_(IMAGE), "Drawing files in document order, the front-page drawing first"),
        _field("dtd_version", _TEXT, 'Version of the document type, "v4.5"'),
        _field("source_archive", _TEXT, 'Archive or file the document came from, "I20210105"'),
        _field("source_member", _TEXT, 'Document within it: a member, or "byte N" of a concatenated file'),
        _field("xml_sha256", _TEXT, "SHA-256 of the document's bytes, hexadecimal"),
    ]
)

VIEWS = pa.schema(
    [
        _field("view_id", _TEXT, 'Unique: patent number and figure label, "D907292-3"'),
        _field("patent_number", _TEXT, 'Canonical number, "D907292"'),
        _field("grant_date", pa.date32(), "Day of issue"),
        _field("sheet_number", pa.int32(), "Sheet counted from 1 as printed; 0 is the front-page drawing"),
        _field("figure_label", _TEXT, "Label of the figure; null where none was read and none could be inferred"),
        _field("viewpoint", _TEXT, 'Viewpoint that the grant declares for the label; "none" where it declares nothing'),
        _field("viewpoint_direction", _TEXT, 'Direction of a perspective, such as "top front"'),
        _field("description", _TEXT, "The grant's own sentence about the figure; null where it has none"),
        _field("box", _BOX, "The figure's ink: x0, y0, x1, y1 in pixels of the TIFF as published, ends exclusive"),
        _field("label_box", _BOX, "The label's ink, same units; null where no label was found"),
        _field("rotation_cw", pa.int32(), "Degrees clockwise that turn the published raster upright: 0, 90, 180, 270"),
        _field("width", pa.int32(), "Width of the image in pixels"),
        _field("height", pa.int32(), "Height of the image in pixels"),
        _field("image", pa.binary(), "PNG, upright, full resolution, lossless, the label cut away"),
        _field("image_sha256", _TEXT, "SHA-256 of the PNG's bytes, hexadecimal"),
        _field(
            "broken_share",
            pa.float32(),
            "Share of the length of the view's lines, shading aside, that is drawn in dashes or dash-dot, gaps "
            "included, 0 to 1; found by geometry; null for a screen of dots with too many pieces to look at",
        ),
        _field(
            "claimed_image",
            pa.binary(),
            "PNG as `image`, without the ink of broken lines and with everything else; null where no line is broken",
        ),
        _field(
            "signature",
            pa.binary(),
            "516 bytes that near-duplicates have in common: proportions of the drawing, and its ink on a 32 × 32 grid",
        ),
        _field("is_front_page", pa.bool_(), "True for the front-page drawing, which copies other figures"),
        _field("front_page_of", _TEXTS, "On the front-page drawing: view_ids it copies, found by matching; else empty"),
        _field("score", pa.float32(), "Confidence that box and label are right, 0 to 1"),
        _field(
            "flags",
            _TEXTS,
            "Why the score is low, sorted; empty for a view without doubt. Two flags do not lower the score: "
            '"broken_lines_not_explained" (the grant says nothing about the broken lines seen) and '
            '"broken_lines_not_seen" (it speaks of broken lines where none are seen)',
        ),
    ]
)

CAPTIONS = pa.schema(
    [
        _field("view_id", _TEXT, "The view described"),
        _field("text", _TEXT, "The caption whole"),
        _field("shape", _TEXT, "What the design looks like; null where the captioner does not say"),
        _field("function", _TEXT, "What the article is for; null where the captioner does not say"),
        _field("captioner", _TEXT, '"described" (from the grant\'s own words) or "vllm" (seen by a model)'),
        _field("model", _TEXT, "Hub name of the model, or name of its folder; null for described captions"),
        _field("revision", _TEXT, 'Hub revision, or "sha256:…" over the files of a folder; null where unknown'),
        _field("prompt", _TEXT, 'Name and version of the prompt; of a file of one\'s own also "@" and its hash'),
        _field("prompt_text", _TEXT, "What the model was asked, word for word; null where no model was asked"),
        _field("answer", _TEXT, "What the model answered, before it was read and cleaned; null where it did not"),
        _field("temperature", pa.float32(), "Sampling temperature of that answer; null where there is none"),
        _field("num_answers", pa.int32(), "Answers it took: more than one where earlier ones were unusable"),
        _field("num_tokens", pa.int32(), "Length of text in CLIP tokens, start and end included; CLIP reads 77"),
        _field(
            "finish_reason",
            _TEXT,
            '"stop"; "length" where it was shortened to fit; else why there is none: timeout, server_error, '
            "bad_response (a server failed), empty, repetition, refused, unparsable, missing, too_long, rejected, "
            "broken_image, no_ink",
        ),
        _field("image_sha256", _TEXT, "SHA-256 of the PNG captioned"),
        _field("cache_key", _TEXT, "SHA-256 over image, question, model, revision, sampling and image settings"),
    ]
)

FIELDS = _field(
    "fields",
    pa.struct([]),
    "The other fields that the prompt asks for, as a struct; in the file only if a prompt of one's own names some",
)


def captions_schema(fields: pa.StructType | None) -> pa.Schema:
    """The schema of a week's captions: `CAPTIONS`, and after function the column "fields" if the prompt has others."""
    if fields is None:
        return CAPTIONS
    return CAPTIONS.insert(CAPTIONS.get_field_index("function") + 1, FIELDS.with_type(fields))


DATASET = pa.schema(
    [
        _field("view_id", _TEXT, "The view"),
        _field("patent_number", _TEXT, 'Canonical number, "D907292"'),
        _field("family", _TEXT, "Patent number that names the family; a family lies in one split"),
        _field("split", _TEXT, "train, validation or test"),
        _field("grant_date", pa.date32(), "Day of issue"),
        _field("title", _TEXT, "Title of the patent"),
        _field("uspc_class", _TEXT, 'US design class, "D28"'),
        _field("locarno_class", _TEXT, 'Locarno class and subclass, "28-03"'),
        _field("owners", _TEXTS, "Assignees on the grant; without any, its applicants; as printed"),
        _field("figure_label", _TEXT, "Label of the figure; null where unknown"),
        _field("viewpoint", _TEXT, "Viewpoint that the grant declares"),
        _field("viewpoint_direction", _TEXT, "Direction of a perspective"),
        _field("text", _TEXT, "Caption of the view"),
        _field("shape", _TEXT, "Caption of its shape; null where there is none"),
        _field("function", _TEXT, "Caption of its function; null where there is none"),
        _field("captioner", _TEXT, "What made the caption"),
        _field("image", pa.binary(), "JPEG, 8-bit grey, upright, area-resized, padded with white to a square"),
        _field("image_sha256", _TEXT, "SHA-256 of the view's full-resolution PNG"),
        _field("has_unclaimed_matter", pa.bool_(), "Whether the grant says that something it shows is not claimed"),
        _field("broken_share", pa.float32(), "Share of the view's line length that is drawn in dashes or dash-dot"),
        _field(
            "has_unclaimed_lines",
            pa.bool_(),
            "Whether lines of the view are broken and the grant does not say that what they show is claimed; null if "
            "it is not known which lines are broken",
        ),
        _field(
            "claimed_image",
            pa.binary(),
            "JPEG as `image`, of the view without its broken lines, cropped to what is left; null if no line is "
            "unclaimed, or none is claimed",
        ),
        _field(
            "claimed_box",
            pa.list_(pa.float32()),
            "Where the square of `claimed_image` is on that of `image`: x0, y0, x1, y1 as shares of its side, which "
            "can be below 0 or above 1; null without `claimed_image`",
        ),
        _field("signature", pa.binary(), "What near-duplicates of the view have in common, 516 bytes"),
        _field("cited_by_examiner", _TEXTS, "US designs the examiner cited against the patent, canonical numbers"),
    ]
)

NEAR_DUPLICATES = pa.schema(
    [
        _field("view_id", _TEXT, "One view"),
        _field("split", _TEXT, "Its split"),
        _field("other_view_id", _TEXT, "A view of another patent that is nearly the same drawing"),
        _field("other_split", _TEXT, "Its split"),
        _field("similarity", pa.float32(), "Correlation of the two drawings' details, at most 1"),
        _field("turn", _TEXT, "What makes the first view look like the other: a turn, mirrored or not"),
        _field("is_same_family", pa.bool_(), "Whether their patents are of one family, and so in one split"),
        _field("is_left_out", pa.bool_(), "Whether one of the two was left out of the dataset because of the other"),
    ]
)
