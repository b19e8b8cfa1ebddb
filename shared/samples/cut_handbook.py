"""Takes handbook.pdf, the handbook of week 11, and its licence out of two packages of Debian 12.

developers-reference, version 12.18, holds the Debian Developer's Reference as a PDF; it is taken as it is. Its source,
reStructuredText, lies in the same package (_sources) and in Debian's source package of that name. The licence is the
package's own statement, and behind it the text that this refers to, the GNU General Public License, version 2, as
base-files, version 12.4+deb12u15, has it.

    apt-get download developers-reference base-files
    python -m shared.samples.cut_handbook developers-reference_*.deb base-files_*.deb
"""

import io
import sys
import tarfile
from pathlib import Path

from shared.errors import CourseError
from shared.files import written_whole

PDF = "./usr/share/developers-reference/developers-reference.pdf"
STATEMENT = "./usr/share/doc/developers-reference/copyright"
LICENCE = "./usr/share/common-licenses/GPL-2"


def member(package: Path, name: str) -> bytes:
    """A file of a .deb, which is an ar archive with a tar archive in it.

    Raises:
        CourseError: the package has no such file.
    """
    raw, at = package.read_bytes(), 8
    while at < len(raw) and not raw[at:].startswith(b"data.tar"):
        size = int(raw[at + 48 : at + 58])
        at += 60 + size + size % 2
    data = raw[at + 60 : at + 60 + int(raw[at + 48 : at + 58] or 0)]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        try:
            return archive.extractfile(name).read()
        except KeyError:
            raise CourseError(
                f"{package} has no {name}: give the two packages in this order, as named above."
            ) from None


def cut(reference: Path, base: Path) -> dict[str, bytes]:
    """{file: its bytes} of the two packages."""
    licence = member(reference, STATEMENT).rstrip() + b"\n\n" + 80 * b"-" + b"\n\n" + member(base, LICENCE)
    return {"handbook.pdf": member(reference, PDF), "handbook_licence.txt": licence}


if __name__ == "__main__":
    for name, content in cut(*map(Path, sys.argv[1:3])).items():
        with written_whole(Path(__file__).with_name(name)) as temporary:
            temporary.write_bytes(content)
        print(f"{name}: {len(content):,} bytes")
