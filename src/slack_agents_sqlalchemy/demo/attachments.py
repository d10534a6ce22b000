"""Generate the demo's files: a chart (PNG), an invoice (PDF), a table (CSV)."""

import csv
import io
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence

# The digits on the chart's axes: five rows of three pixels; each row is a number of three bits.
_DIGITS: Mapping[str, tuple[int, ...]] = {
    "0": (7, 5, 5, 5, 7),
    "1": (2, 6, 2, 2, 7),
    "2": (7, 1, 7, 4, 7),
    "3": (7, 1, 7, 1, 7),
    "4": (5, 5, 7, 1, 1),
    "5": (7, 4, 7, 1, 7),
    "6": (7, 4, 7, 5, 7),
    "7": (7, 1, 1, 1, 1),
    "8": (7, 5, 7, 5, 7),
    "9": (7, 5, 7, 1, 7),
}
_PALETTE = (
    (255, 255, 255),  # background
    (226, 230, 236),  # grid
    (54, 113, 214),  # bar
    (214, 69, 65),  # marked bar
    (84, 91, 102),  # text
)
_BACKGROUND, _GRID, _BAR, _MARKED_BAR, _TEXT = range(len(_PALETTE))


class _Canvas:
    """Rows of pixels; each pixel is the number of a colour in the palette."""

    def __init__(self, width: int, height: int) -> None:
        self.rows = [bytearray([_BACKGROUND]) * width for _ in range(height)]

    def fill(self, x: int, y: int, columns: int, rows: int, colour: int) -> None:
        for row in self.rows[y : y + rows]:
            row[x : x + columns] = bytes([colour]) * columns

    def write(self, number: str, x: int, y: int) -> None:
        """Draw digits, with two by two pixels for each dot."""
        for position, digit in enumerate(number):
            for line, bits in enumerate(_DIGITS[digit]):
                for column in range(3):
                    if bits & (4 >> column):
                        self.fill(x + 8 * position + 2 * column, y + 2 * line, 2, 2, _TEXT)

    def png(self) -> bytes:
        size = struct.pack(">II", len(self.rows[0]), len(self.rows))
        palette = bytes(channel for colour in _PALETTE for channel in colour)
        pixels = b"".join(b"\0" + row for row in self.rows)  # 0: the row is not filtered
        chunks = (
            (b"IHDR", size + bytes([8, 3, 0, 0, 0])),  # 8 bits per pixel, with a palette
            (b"PLTE", palette),
            (b"IDAT", zlib.compress(pixels, 9)),
            (b"IEND", b""),
        )
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )


def bar_chart_png(values: Mapping[str, int], *, marked: str, top: int, step: int) -> bytes:
    """Return a bar chart with a labelled axis as the bytes of a PNG file.

    Args:
        values: One bar for each label; labels are digits.
        marked: The label of the bar that is drawn in red.
        top: The value at the upper end of the axis.
        step: The distance between two grid lines, in units of the axis.
    """
    left, upper, tall, slot, wide = 40, 16, 200, 60, 36
    floor = upper + tall
    canvas = _Canvas(left + slot * len(values) + 16, floor + 32)
    for value in range(0, top + 1, step):
        y = floor - tall * value // top
        canvas.fill(left, y, slot * len(values) + 8, 1, _GRID)
        canvas.write(str(value), left - 6 - 8 * len(str(value)), y - 5)
    for index, (label, value) in enumerate(values.items()):
        x, height = left + slot * index + (slot - wide) // 2, tall * value // top
        canvas.fill(x, floor - height, wide, height, _MARKED_BAR if label == marked else _BAR)
        canvas.write(label, x + (wide - 8 * len(label)) // 2 + 1, floor + 10)
    return canvas.png()


def text_pdf(heading: str, lines: Sequence[str]) -> bytes:
    """Return a page of text (Latin-1 letters and €) as the bytes of a PDF file."""

    def literal(text: str) -> bytes:
        escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        return b"(" + escaped.encode("cp1252") + b")"

    drawing = [b"BT /Heading 18 Tf 60 770 Td " + literal(heading) + b" Tj ET"]
    drawing.append(b"BT /Body 10 Tf 60 738 Td 15 TL")
    drawing += [literal(line) + b" Tj T*" for line in lines]
    drawing.append(b"ET")
    content = b"\n".join(drawing)
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding /WinAnsiEncoding >>"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /Heading 5 0 R /Body 6 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        font % b"Helvetica-Bold",
        font % b"Courier",
    )
    document = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(document))
        document += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(document)
    document += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    document += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    document += b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(objects) + 1)
    document += b"startxref\n%d\n%%%%EOF\n" % start
    return bytes(document)


def table_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a table as the bytes of a CSV file in UTF-8, with the byte order mark for Excel."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig")
