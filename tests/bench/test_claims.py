import json

import pytest

from bench.claims import describe_errors, main, measure, pair_statements
from tests.patentdata.grants.grant_xml import grant_xml

SENTENCE = "The broken lines show a wall and are not claimed."


def statement(text: str = SENTENCE, *, meaning: str = "environment", figures: tuple[str, ...] = ()) -> dict:
    return {"text": text, "lines": "broken", "meaning": meaning, "is_claimed": False, "figures": list(figures)}


def test_statements_of_one_sentence_are_paired_so_that_they_agree_most():
    true = [statement(meaning="boundary"), statement()]
    read = [statement(), statement(meaning="boundary"), statement("The stippling shows contrast.")]
    pairs = [(pair.true, pair.read) for pair in pair_statements("D1", true, read)]
    assert pairs == [(true[0], read[1]), (true[1], read[0]), (None, read[2])]


def test_a_missed_and_an_added_statement_cost_recall_and_precision():
    truth = {
        "D1": {"statements": [statement()] * 5 + [statement("Other words")], "has_unclaimed_matter": True},
        "D2": {"statements": [], "has_unclaimed_matter": False},
        "D3": {"statements": [], "has_unclaimed_matter": False},
    }
    found = {
        "D1": {"claim_scope": [statement()] * 4 + [statement(figures=("1",))], "has_unclaimed_matter": True},
        "D2": {"claim_scope": [statement()], "has_unclaimed_matter": True},
    }
    scores, pairs = measure(truth, found)
    assert (scores["num_patents"], scores["num_patents_missing"], scores["has_unclaimed_matter"]) == (2, 1, 0.5)
    assert scores["meaning"]["precision"] == pytest.approx(5 / 6, abs=1e-4)
    assert scores["meaning"]["recall"] == pytest.approx(5 / 6, abs=1e-4)
    assert scores["figures"]["recall"] == pytest.approx(4 / 6, abs=1e-4)
    assert (scores["figures"]["majority"], scores["figures"]["majority_answer"]) == (1.0, "[]")
    assert scores["by_meaning"]["environment"]["num"] == 6
    assert len(list(describe_errors(pairs))) == 3


def test_the_command_reads_grants_of_any_kind_and_prints_one_line(tmp_path, capsys, monkeypatch):
    grants = tmp_path / "grants"
    grants.mkdir()
    (grants / "a.xml").write_bytes(grant_xml(paragraphs=("FIG. 1 is a view;", SENTENCE)))
    truth = tmp_path / "truth.jsonl"
    entry = {"patent_number": "D900001", "statements": [statement()], "has_unclaimed_matter": True}
    truth.write_text(json.dumps(entry) + "\n")
    monkeypatch.setattr("sys.argv", ["claims", "--truth", str(truth), "--grants", str(grants)])
    main()
    scores = json.loads(capsys.readouterr().out)
    assert (scores["num_patents"], scores["meaning"]["f1"], scores["figures"]["f1"]) == (1, 1.0, 1.0)
