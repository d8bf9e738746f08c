from patentdata.grants.claim_scope.hinted import Hinted


def test_a_pattern_is_applied_as_without_hints():
    hinted = Hinted("fold tear_line", r"\bfolds?\b|\btear line\b")
    assert hinted.search("a fold") is not None
    assert hinted.search("a tear line") is not None
    assert hinted.search("a seam") is None
    assert [match[0] for match in hinted.finditer("folds and a fold")] == ["folds", "fold"]
    assert list(hinted.finditer("a seam")) == []
    assert hinted.findall("folds and a fold") == ["folds", "fold"]
    assert hinted.subn("-", "folds and a fold") == ("- and a -", 2)
    assert hinted.sub("-", "a seam") == "a seam"
