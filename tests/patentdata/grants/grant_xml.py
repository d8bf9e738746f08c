"""Builders of small grant documents: a test states only the fields that it is about."""

from __future__ import annotations

_V45 = """<?xml version="1.0" encoding="UTF-8"?>
{doctype}
<us-patent-grant lang="EN" dtd-version="v4.5 2014-04-03" file="USD0900001-20210105.XML" country="US">
<us-bibliographic-data-grant>
{publication}
<application-reference appl-type="{appl_type}"><document-id><country>US</country><doc-number>29680800</doc-number>
<date>20190220</date></document-id></application-reference>
<us-application-series-code>29</us-application-series-code>
<us-term-of-grant><length-of-grant>15</length-of-grant></us-term-of-grant>
<classification-locarno><edition>13</edition><main-classification>{locarno}</main-classification></classification-locarno>
<classification-national><country>US</country><main-classification>{uspc}</main-classification>
{uspc_further}</classification-national>
{title}
{citations}
<figures><number-of-drawing-sheets>{num_sheets}</number-of-drawing-sheets>
<number-of-figures>{num_figures}</number-of-figures></figures>
{parties}
</us-bibliographic-data-grant>
<drawings id="DRAWINGS">{images}</drawings>
<description id="description"><description-of-drawings>{paragraphs}</description-of-drawings></description>
<claims id="claims"><claim id="CLM-00001" num="00001"><claim-text>{claim}</claim-text></claim></claims>
</us-patent-grant>
"""


def grant_xml(
    *,
    number: str = "D0900001",
    kind: str = "S1",
    date: str = "20210105",
    appl_type: str = "design",
    title: str = "Chair",
    uspc: str = "D 6334",
    uspc_further: tuple[str, ...] = (),
    locarno: str = "0601",
    paragraphs: tuple[str, ...] = ("FIG. 1 is a front view of a chair; and,", "FIG. 2 is a rear view thereof."),
    num_figures: int | str = 2,
    num_sheets: int | str = 2,
    citations: str = "",
    parties: str = "",
    claim: str = "The ornamental design for a chair, as shown and described.",
    doctype: str = '<!DOCTYPE us-patent-grant SYSTEM "us-patent-grant-v45-2014-04-03.dtd" [ ]>',
) -> bytes:
    """A v4.5 design grant. An empty number, date or title leaves its element out."""
    parts = [f"<doc-number>{number}</doc-number>" if number else "", f"<kind>{kind}</kind>"]
    parts.append(f"<date>{date}</date>" if date else "")
    images = "".join(
        f'<figure><img he="100.00mm" wi="50.00mm" file="USD0900001-20210105-D{sheet:05d}.TIF"/></figure>'
        for sheet in (0, 1)
    )
    return _V45.format(
        doctype=doctype,
        publication=f"<publication-reference><document-id><country>US</country>{''.join(parts)}</document-id>"
        "</publication-reference>",
        appl_type=appl_type,
        locarno=locarno,
        uspc=uspc,
        uspc_further="".join(f"<further-classification>{symbol}</further-classification>" for symbol in uspc_further),
        title=f'<invention-title id="t">{title}</invention-title>' if title else "",
        citations=citations,
        num_sheets=num_sheets,
        num_figures=num_figures,
        parties=parties,
        images=images,
        paragraphs="".join(f"<p>{paragraph}</p>" for paragraph in paragraphs),
        claim=claim,
    ).encode()


_V25 = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE PATDOC SYSTEM "ST32-US-Grant-025xml.dtd" [
<!ENTITY USD0456589-20020507-D00000.TIF SYSTEM "USD0456589-20020507-D00000.TIF" NDATA TIF>
]>
<PATDOC DTD="2.5" STATUS="Build 20020101"><SDOBI>
<B100><B110><DNUM><PDAT>{number}</PDAT></DNUM></B110><B130><PDAT>{kind}</PDAT></B130>
<B140><DATE><PDAT>20020507</PDAT></DATE></B140></B100>
<B200><B210><DNUM><PDAT>29124805</PDAT></DNUM></B210><B211US><PDAT>29</PDAT></B211US></B200>
<B300><B310><DNUM><PDAT>2000 0010</PDAT></DNUM></B310><B320><DATE><PDAT>20000106</PDAT></DATE></B320>
<B330><CTRY><PDAT>NO</PDAT></CTRY></B330></B300>
<B500><B510><B511><PDAT>0202</PDAT></B511><B516><PDAT>7</PDAT></B516></B510>
<B520><B521><PDAT>D 2750</PDAT></B521><B522><PDAT> D5 20</PDAT></B522></B520>
<B540><STEXT><PDAT>{title}</PDAT></STEXT></B540>
<B560><B561><PCIT><DOC><DNUM><PDAT>D145372</PDAT></DNUM><DATE><PDAT>19460800</PDAT></DATE></DOC>
<PARTY-US><NAM><SNM><STEXT><PDAT>Wiechmann</PDAT></STEXT></SNM></NAM></PARTY-US><PNC><PDAT>D 2750</PDAT></PNC></PCIT>
<CITED-BY-EXAMINER/></B561></B560>
<B580><B582><PDAT>428 17</PDAT></B582></B580>
<B590><B595><PDAT>1</PDAT></B595><B596><PDAT>1</PDAT></B596></B590></B500>
<B600><B620><PARENT-US><CDOC><DOC><DNUM><PDAT>29124805</PDAT></DNUM></DOC></CDOC>
<PDOC><DOC><DNUM><PDAT>29100000</PDAT></DNUM><DATE><PDAT>19990102</PDAT></DATE></DOC></PDOC>
<PSTA><PDAT>01</PDAT></PSTA><PPUB><DOC><DNUM><PDAT>D0444444</PDAT></DNUM></DOC></PPUB></PARENT-US></B620></B600>
<B700><B720><B721><PARTY-US><NAM><FNM><PDAT>Pia</PDAT></FNM><SNM><STEXT><PDAT>{surname}</PDAT></STEXT></SNM></NAM>
<ADR><CTRY><PDAT>NO</PDAT></CTRY></ADR></PARTY-US></B721></B720></B700></SDOBI>
<SDODE><DRWDESC><BTEXT><PARA ID="P-1"><PTEXT><PDAT>{paragraph}</PDAT></PTEXT></PARA></BTEXT></DRWDESC></SDODE>
<SDOCL><CL><CLM>
<PARA ID="P-2"><PTEXT><PDAT>The ornamental design for a sweater.</PDAT></PTEXT></PARA></CLM></CL></SDOCL>
<SDODR ID="DRAWINGS"><EMI ID="E" FILE="USD0456589-20020507-D00000.TIF"/></SDODR></PATDOC>
"""


def patdoc_xml(
    *,
    number: str = "D0456589",
    kind: str = "S1",
    title: str = "Sweater",
    surname: str = "M&uuml;ller",
    paragraph: str = "FIG. 1 is a front view of a &ldquo;sweater&rdquo;.",
) -> bytes:
    """A v2.5 design grant, with named entities that it does not declare."""
    return _V25.format(number=number, kind=kind, title=title, surname=surname, paragraph=paragraph).encode()
