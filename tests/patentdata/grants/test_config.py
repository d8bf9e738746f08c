import pytest

from patentdata.errors import ConfigError
from patentdata.grants.config import GrantsConfig


@pytest.mark.parametrize(
    "number",
    [
        "D907292",
        "D0907292",
        "USD0907292S1",
        "Des. 907,292",
        "D. 907,292",
        "907292",
        "US D907,292 S",
        "USD0907292-20210105",
    ],
)
def test_a_patent_is_excluded_in_any_usual_spelling(number):
    assert GrantsConfig(exclude=(number,)).excluded == {"D907292"}


def test_a_file_of_numbers_may_have_comments_and_any_separator(tmp_path):
    path = tmp_path / "withdrawn.txt"
    path.write_text("\ufeff# withdrawn\nD907292, D907293 # twice\nDes. 907,294; 907,295\r\n\n", encoding="utf-8")
    config = GrantsConfig(exclude=("D1",), exclude_file=str(path))
    assert config.excluded == {"D1", "D907292", "D907293", "D907294", "D907295"}
    path.unlink()
    with pytest.raises(ConfigError, match=r"cannot read exclude_file .*withdrawn\.txt"):
        _ = config.excluded


def test_workers_get_the_numbers_and_not_the_file(tmp_path):
    path = tmp_path / "withdrawn.txt"
    path.write_text("D2\nD1\n")
    assert GrantsConfig(exclude_file=str(path)).without_file() == GrantsConfig(exclude=("D1", "D2"))


@pytest.mark.parametrize("number", ["", "chair", "RE12345", "2011/0232101", "D0"])
def test_what_is_no_number_of_a_design_is_refused(number):
    with pytest.raises(ConfigError, match=r"is not the number of a design patent; write it as D907292"):
        GrantsConfig(exclude=(number,))
