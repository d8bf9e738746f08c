import io
import tracemalloc

import pytest

from patentdata.grants.documents import document_kind, split_documents
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


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
def test_documents_do_not_depend_on_the_sizes_in_which_a_file_is_read(chunk):
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(chunk)

    data = DOCUMENT * 3 + b"\xef\xbb\xbf" + DOCUMENT
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
