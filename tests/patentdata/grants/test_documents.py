import io
import tracemalloc

import pytest

from patentdata.grants.documents import document_kind, split_documents
from patentdata.grants.parsing import printed_number, read_grants
from patentdata.store.report import Report
from tests.patentdata.grants.grant_xml import grant_xml, patdoc_xml

DOCUMENT = b'<?xml version="1.0"?>\n<a>text</a>\n'


def test_a_weekly_file_is_split_where_a_declaration_starts_a_line():
    data = DOCUMENT + DOCUMENT
    assert list(split_documents(data)) == [(0, DOCUMENT), (len(DOCUMENT), DOCUMENT)]


def test_a_declaration_within_a_line_does_not_split_a_document():
    data = b'<?xml version="1.0"?>\n<a><![CDATA[ <?xml version="1.0"?> ]]></a>\n'
    assert list(split_documents(data)) == [(0, data)]


def test_byte_order_marks_and_blank_stretches_are_not_documents():
    marked = b"\xef\xbb\xbf" + DOCUMENT
    assert list(split_documents(marked + b"\r\n\r\n" + marked)) == [
        (0, marked + b"\r\n\r\n"),
        (len(marked) + 4, marked),
    ]
    assert list(split_documents(b"\n \n")) == []


STRIPPED = grant_xml(number="D0900001").partition(b" [ ]>\n")[2]


def split_numbers(data: bytes) -> list[str | None]:
    return [printed_number(document) for _, document in split_documents(data)]


@pytest.mark.parametrize(
    "data",
    [
        grant_xml().rstrip() + grant_xml().rstrip(),
        grant_xml() + b"  \t" + grant_xml(),
        b"\xef\xbb\xbf" + grant_xml().rstrip() + b"\xef\xbb\xbf" + grant_xml(),
        STRIPPED + STRIPPED,
        STRIPPED.rstrip() + STRIPPED,
        grant_xml().partition(b"\n")[2] * 2,
        b"<patents>\n" + STRIPPED + STRIPPED + b"</patents>\n",
        b'<?xml version="1.0"?>\n<patents n="2"><week>' + STRIPPED + STRIPPED + b"</week></patents>",
        b"<patents>\n" + grant_xml() + grant_xml() + b"</patents>",
        patdoc_xml().rstrip().replace(b"D0456589", b"D0900001") + STRIPPED,
        b'<patents><week n="1">' + STRIPPED + b'</week><week n="2">' + STRIPPED + b"</week></patents>",
        b"<!-- each <us-patent-grant > of a week --><patents>" + STRIPPED + b"<!-- next -->" + STRIPPED + b"</patents>",
        b'<x:patents xmlns:x="urn:x">' + grant_xml().partition(b"\n")[2] * 2 + b"</x:patents>",
    ],
    ids=[
        "joined", "indented", "joined with marks", "no declarations", "joined without declarations", "DOCTYPE only",
        "wrapped", "wrapped twice", "wrapped with declarations", "two standards",
        "wrapped by week", "commented", "DOCTYPEs in a root",
    ],
)  # fmt: skip
def test_documents_are_told_apart_however_they_were_put_together(data):
    assert split_numbers(data) == ["D900001", "D900001"]
    rows = list(read_grants(data, name="week", report=Report("grants")))
    assert [row["source_member"] for row in rows] == [f"byte {offset}" for offset, _ in split_documents(data)]


@pytest.mark.parametrize("second", [grant_xml(), STRIPPED], ids=["declared", "stripped"])
def test_a_document_that_was_cut_off_does_not_take_the_next_one_with_it(second):
    cut = grant_xml(number="D0900002")[:1500]
    assert split_numbers(cut + second) == ["D900002", "D900001"]


@pytest.mark.parametrize(
    ("data", "num_others"),
    [
        (b"<patents><source>USPTO, 2024</source>" + STRIPPED + STRIPPED + b"</patents>", 1),
        (grant_xml() + b"HTTP/1.1 200 OK\n\n" + grant_xml(), 1),
        (STRIPPED + b"<note>2</note>" + STRIPPED + b"<note>3</note>", 2),
    ],
    ids=["before", "between", "between and after"],
)
def test_text_around_documents_costs_none_of_them_and_is_counted(data, num_others):
    report = Report("grants")
    rows = list(read_grants(data, name="week", report=report))
    assert [row["patent_number"] for row in rows] == ["D900001", "D900001"]
    assert report.tally("documents").dropped == {"not_xml": num_others}
    assert report.tally("documents").num_in == 2 + num_others


@pytest.mark.parametrize("quoted", [b"<![CDATA[</a> <?xml version='1.0'?>]]>", b"<!-- x > <?xml version='1.0'?> -->"])
def test_a_declaration_that_is_quoted_does_not_split_a_document(quoted):
    data = b"<a>" + quoted + b"</a>\n"
    assert list(split_documents(data)) == [(0, data)]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
def test_documents_do_not_depend_on_the_sizes_in_which_a_file_is_read(chunk):
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(chunk)

    data = DOCUMENT * 3 + b"\xef\xbb\xbf" + DOCUMENT + b"<PATDOC></PATDOC>" * 2 + b"<x><PATDOC/>"
    data += b"<![CDATA[ <PATDOC> ]]></x><!-- <PATDOC> --><PATDOC><PATDOC/>"
    assert list(split_documents(Slow(data))) == list(split_documents(data))


def test_an_overlong_document_is_cut_and_the_next_one_is_whole_and_at_its_own_offset():
    long = b'<?xml version="1.0"?>\n<a>' + b"x" * 5_000_000 + b"</a>\n"
    (first, head), (second, whole) = split_documents(long + DOCUMENT, max_bytes=1000)
    assert (first, len(head)) == (0, 1001)
    assert (second, whole) == (len(long), DOCUMENT)


def test_memory_does_not_grow_with_the_file():
    document = DOCUMENT.replace(b"text", b"text" * 25_000)

    class Long(io.RawIOBase):
        left = 400

        def read(self, size=-1):
            self.left -= 1
            return document if self.left >= 0 else b""

    tracemalloc.start()
    num_documents = sum(1 for _ in split_documents(Long()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num_documents == 400
    assert peak < 2 * 2**20 < 400 * len(document)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (grant_xml(), "design"),
        (patdoc_xml(), "design"),
        (grant_xml(kind="S", appl_type="design"), "design"),
        (grant_xml(kind="B1", appl_type="utility"), "utility"),
        (grant_xml(kind="E1", appl_type="reissue"), "reissue"),
        (patdoc_xml(kind="P2"), "plant"),
        (b"<sequence-cwu><number>1</number></sequence-cwu>", "sequence_cwu"),
        (b"<us-patent-application/>", "other_root"),
        (b"no markup", "other_root"),
    ],
)
def test_the_kind_of_a_document_is_read_from_its_first_bytes(data, kind):
    assert document_kind(data) == kind
