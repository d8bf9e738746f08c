"""Croissant metadata of a dataset on the hub: MLCommons' JSON-LD vocabulary, version 1.0.

It describes the files next to it, so that it holds for a download or a clone of the repository; the hub serves metadata
of its own for its address.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from model.exports.card import DatasetFacts

_SHARDS, _VIEWS = "shards", "views"
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(facts: DatasetFacts) -> dict[str, Any]:
    """The metadata as JSON-LD."""
    owner = facts.repository.partition("/")[0]
    metadata = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": facts.manifest["name"],
        "description": facts.summary,
        "license": facts.licence_link,
        "url": f"https://huggingface.co/datasets/{facts.repository}",
        "creator": {"@type": "sc:Organization", "name": owner},
        "version": "1.0.0",
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": _SHARDS,
                "name": _SHARDS,
                "description": "Parquet shards of all splits.",
                "encodingFormat": "application/x-parquet",
                "includes": "data/*.parquet",
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": _VIEWS,
                "name": _VIEWS,
                "description": "One record for each view.",
                "key": {"@id": f"{_VIEWS}/view_id"},
                "field": [_field(facts, name, kind) for name, kind in facts.columns.items()],
            }
        ],
    }
    return metadata | ({"datePublished": facts.newest} if facts.newest else {})


def _field(facts: DatasetFacts, name: str, kind: pa.DataType) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": _SHARDS}, "extract": {"column": name}}
    if pa.types.is_binary(kind):
        source["transform"] = {"jsonPath": "bytes"}
    field = {
        "@type": "cr:Field",
        "@id": f"{_VIEWS}/{name}",
        "name": name,
        "description": facts.descriptions.get(name, f"Column {name} of the dataset."),
        "dataType": _data_type(kind),
        "source": source,
    }
    return field | ({"repeated": True} if pa.types.is_list(kind) else {})


def _data_type(kind: pa.DataType) -> str:
    kind = kind.value_type if pa.types.is_list(kind) else kind
    if pa.types.is_binary(kind):
        return "sc:ImageObject"
    if pa.types.is_date(kind):
        return "sc:Date"
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
