"""Published values: in the right table, for the right backbone, and each with its protocol."""

from __future__ import annotations

import pytest

from model.evaluation.published import nearest_backbone, published_for


@pytest.mark.parametrize(
    ("architecture", "backbone"),
    [
        ("RN101/openai", "RN101"),
        ("ViT-L-14-336/openai", "ViT-L/14"),
        ("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "ViT-B/32"),
        ("designclip-tiny", "ViT-B/32"),
    ],
)
def test_the_backbone_is_found_in_the_name(architecture, backbone):
    assert nearest_backbone(architecture) == backbone


def test_values_for_galleries_of_5000_are_shown_only_in_tables_of_that_size():
    values = {
        (entry["system"], entry["figure"]): entry["value"]
        for entry in published_for("retrieval", "image_to_text_of_5000", "ViT-B-32")
    }
    assert values["PatentCLIP", "R@10"] == pytest.approx(0.3508)
    assert values["CLIP", "R@1"] == pytest.approx(0.0106)
    assert published_for("retrieval", "image_to_text_of_100", "ViT-B-32") == []
    assert published_for("retrieval", "image_to_text_without_title_of_5000", "ViT-B-32") == []


def test_every_value_names_how_it_was_measured():
    tables = [("retrieval", "text_to_image"), ("zero_shot", "uspc"), ("linear_probe", "uspc_five_epochs")]
    for task, table in tables:
        entries = published_for(task, table, "ViT-B-32")
        assert entries and all(len(entry["protocol"]) > 20 for entry in entries)
    assert published_for("linear_probe", "uspc", "ViT-B-32") == []
    assert published_for("zero_shot", "uspc", "RN50") == []  # not published


def test_both_published_values_of_deep_patent_are_shown_each_with_its_protocol():
    entries = published_for("deep_patent", "official", "ViT-B-32")
    assert [(entry["system"], entry["value"]) for entry in entries] == [
        ("Swin + ArcFace", 0.856),
        ("Wang and Zhang", 0.935),
    ]
    assert "2308.13749" in entries[1]["protocol"]
