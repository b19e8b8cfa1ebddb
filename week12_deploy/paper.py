"""A small PDF with text of one's own, for whoever needs many different documents to store."""

import textwrap

WIDTH = 90


def pdf_of(*pages: str) -> bytes:
    """A PDF with a page for each text, in Helvetica."""
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    objects, kids = ["<< /Type /Catalog /Pages 2 0 R >>", "", font], []
    for text in pages:
        lines = [line for part in text.splitlines() for line in textwrap.wrap(part, WIDTH) or [""]]
        shown = " T* ".join(f"({escaped(line)}) Tj" for line in lines)
        stream = f"BT /F1 11 Tf 14 TL 60 780 Td {shown} ET"
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> "
            f"/Contents {len(objects) + 2} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream.encode('latin-1', 'replace'))} >>\nstream\n{stream}\nendstream")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1", "replace")
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    head, tail = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n", f"<< /Size {len(objects) + 1} /Root 1 0 R >>"
    return body + f"{head}{table}trailer\n{tail}\nstartxref\n{len(body)}\n%%EOF\n".encode()


def escaped(text: str) -> str:
    """A text as a PDF has it between brackets."""
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
