"""A text file of columns of numbers -> points. What it means is decided once, for the whole file, and said in words.

Encoding, separator, decimal mark, header and columns are those under which the file is a table: every line has as many
cells, and the cells of a column are numbers. Where two readings are left that give different points, or none, the file
is refused with the line that shows it. A data name "FILE#COLUMNS" stands for some columns of a file.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import Refused

__all__ = ["Column", "Sheet", "Table", "file_of", "is_table", "read_sheet", "read_table", "with_columns"]

SUFFIXES = (".csv", ".tsv", ".txt")
MAX_BYTES = 100 * 2**20
SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas", " ": "spaces"}
MIN_ROWS = 10  # below a line of whole numbers that may be names: of fewer points any may lie far from the others
MISSING = {"", "na", "n/a", "nan", "null", "none", "-", "--", "?", "inf", "+inf", "-inf", "infinity", "-infinity"}
EXCEL = ("#n/a", "#div/0!", "#ref!", "#value!", "#name?", "#num!", "#null!")  # its errors, which are no comments
OTHER = {
    b"PK\x03\x04": "a workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "compressed",
}
NUMBERS = {  # by decimal mark; the other mark may stand between thousands
    ".": re.compile(r"[+-]?(?:(?:\d+|[1-9]\d{0,2}(?:,\d{3})+)(?:\.\d*)?|\.\d+)(?:[eEdD][+-]?\d+)?", re.ASCII),
    ",": re.compile(r"[+-]?(?:(?:\d+|[1-9]\d{0,2}(?:\.\d{3})+)(?:,\d+)?|,\d+)(?:[eEdD][+-]?\d+)?", re.ASCII),
}
WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
# whole numbers that nobody writes, parts of one with decimals: 05, and 23e-07, which a program writes as 2.3e-06
PADDED = re.compile(r"[+-]?0\d+(?:[eEdD][+-]?\d+)?|[+-]0|[+-]?\d{2,}[eEdD][+-]?0\d+", re.ASCII)
DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}\b.*|\d{1,2}:\d{2}\b.*", re.ASCII)
ROW_INDEX = re.compile(r"(?:Unnamed: \d+)?")  # the name that pandas, or nobody, gave it


class Table(NamedTuple):
    """One or two columns: points (N, n) in float64, the columns' names, and in words what was understood."""

    points: np.ndarray
    names: tuple[str, ...]
    said: str


class Column(NamedTuple):
    """A column of a file: its number from 1, its name, its numbers (N,), and the first (line, cell) that is no number.

    `values` is None where no cell is a number. `is_index` marks the number of a row, which is no coordinate.
    """

    place: int
    name: str
    values: np.ndarray | None
    wrong: tuple[int, str] | None
    is_index: bool = False


class Sheet(NamedTuple):
    """All columns of a file, and what was understood besides them."""

    file: str
    columns: tuple[Column, ...]
    said: tuple[str, ...]

    @property
    def numbers(self) -> tuple[Column, ...]:
        """The columns that may be coordinates."""
        return tuple(column for column in self.columns if column.values is not None and not column.is_index)

    def choose(self, columns: str = "") -> Table:
        """The table of one or two columns, names or numbers from 1 with a comma between them; of those that there are.

        Refused, in one sentence, where there are more, where there is none of that name, or for the first line that
        holds something else than a number.
        """
        if columns:
            return self.at(*(self._named(name).place for name in _cells(columns)))
        if len(self.numbers) > 2:
            names = _listed([column.name for column in self.numbers])
            example = ",".join(str(column.place) for column in self.numbers[:2])
            raise Refused(
                f"the file {self.file} has {len(self.numbers)} columns of numbers, {names}: choose two, "
                f"as in --columns {example}"
            )
        if not self.numbers:
            raise Refused(f"the file {self.file} has no column of numbers")
        left = [
            f"{_called(column)} left out: {_why(column)}"
            for column in self.columns
            if column.values is None or column.is_index
        ]
        table = self.at(*(column.place for column in self.numbers))
        return table._replace(said=", ".join([table.said, *left]))

    def at(self, *places: int) -> Table:
        """The table of the columns that have these numbers; Refused as `choose`."""
        if len(places) not in (1, 2) or len(set(places)) < len(places):
            raise Refused(f"points have one or two coordinates: choose one column or two different ones of {self.file}")
        of = {column.place: column for column in self.columns}
        chosen = [of[place] for place in places]
        for column in sorted(chosen, key=lambda column: column.wrong or (0, "")):
            if column.values is None:
                raise Refused(f"{_called(column)} of {self.file} holds no numbers")
            if column.wrong:
                line, cell = column.wrong
                got = repr(cell[:40]) if cell else "an empty cell"
                raise Refused(f"line {line} of {self.file} must hold a finite number in {_called(column)}, got {got}")
        points = np.stack([column.values for column in chosen if column.values is not None], 1)  # all of them
        count = f"{len(points):,} point{'s' * (len(points) != 1)}"
        return Table(points, tuple(column.name for column in chosen), ", ".join([count, _columns(chosen), *self.said]))

    def _named(self, name: str) -> Column:
        same = [column for column in self.columns if column.name == name]
        same = same or [column for column in self.columns if column.name.lower() == name.lower()]
        same = same or [column for column in self.columns if str(column.place) == name]
        if len(same) != 1:
            of = _listed([column.name for column in self.columns])
            many = "several columns" if same else "no column"
            raise Refused(
                f"the file {self.file} has {many} {name[:40]!r}, its columns are {of}: "
                "choose by name, or by number from 1"
            )
        return same[0]


def is_table(data: str) -> bool:
    """Whether a data name is that of a table, by the ending of its file."""
    return _parts(data)[0].lower().endswith(SUFFIXES)


def with_columns(data: str, columns: str | None) -> str:
    """The data name of some columns of a table; Refused where there is no table to choose from."""
    if not columns:
        return data
    if not is_table(data) or _parts(data)[1]:
        raise Refused(f"--columns chooses from a {', '.join(SUFFIXES)} file, got {data[:40]!r}")
    return f"{data}#{columns}"


def file_of(data: str) -> Path:
    """The file of a table's data name."""
    return Path(_parts(data)[0])


def read_table(data: str | Path, path: Path | None = None) -> Table:
    """The table of a data name, of its file or of another in the place of that.

    Refused as of read_sheet and Sheet.choose.
    """
    file, columns = _parts(str(data))
    return read_sheet(path or file).choose(columns)


def read_sheet(path: str | Path) -> Sheet:
    """All columns of a file.

    Refused, in one sentence, if it is no table of numbers or can be read in two ways.
    """
    path = Path(path)
    text, encoding = _text(path)
    lines, comments, separator = _lines(text)
    try:
        found = _decided([_reading(lines, *way, path.name) for way in _ways(lines, separator)], path.name)
    except csv.Error as error:
        raise Refused(f"the file {path.name} cannot be read as a table ({error})") from error
    said = [f"{SEPARATORS[found.separator]} between columns"] * (found.separator != "," and len(found.columns) > 1)
    said += [found.header, *found.marks]
    said += [f"{comments} comment line{'s' * (comments > 1)} skipped"] * (comments > 0)
    said += [f"{found.titles} line{'s' * (found.titles > 1)} above the table skipped"] * (found.titles > 0)
    return Sheet(path.name, found.columns, (*said, *encoding))


def _parts(data: str) -> tuple[str, str]:
    """The file and the columns of a table's data name, "" for all."""
    file, mark, columns = data.rpartition("#")
    return (file, columns) if mark and file.lower().endswith(SUFFIXES) else (data, "")


# ---------------------------------------------------------------- from bytes to lines


def _text(path: Path) -> tuple[str, list[str]]:
    """The text of a file, and its encoding in words where it is an unusual one."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Refused(f"the file {path.name} is larger than the {MAX_BYTES // 2**20} MB that are read of a table")
        raw = path.read_bytes()
    except OSError as error:
        raise Refused(f"the file {path.name} cannot be read ({type(error).__name__})") from error
    for begin, kind in OTHER.items():
        if raw.startswith(begin):
            raise Refused(f"the file {path.name} is {kind}, not a text file: save the table as CSV")
    encoding = _encoding(raw)
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise Refused(f"the file {path.name} is not a text file") from error
    text = text.removeprefix("\ufeff").removesuffix("\x1a")
    if re.search(r"[\x00-\x08\x0e-\x1f\x7f]", text):
        raise Refused(f"the file {path.name} is not a text file")
    return text, [] if encoding == "utf-8" else [f"read as {encoding.upper().replace('CP', 'Windows-')}"]


def _encoding(raw: bytes) -> str:
    marks = {
        codecs.BOM_UTF32_LE: "utf-32",
        codecs.BOM_UTF32_BE: "utf-32",
        codecs.BOM_UTF16_LE: "utf-16",
        codecs.BOM_UTF16_BE: "utf-16",
    }
    for mark, encoding in marks.items():  # that of UTF-32 begins as that of UTF-16 does
        if raw.startswith(mark):
            return encoding
    some = raw[:4096]
    for encoding, zeros in {"utf-16-le": some[1::2], "utf-16-be": some[::2]}.items():
        if len(some) > 3 and zeros.count(0) > 0.8 * len(zeros):  # digits and separators are ASCII
            return encoding
    for encoding in ("utf-8", "cp1252"):
        try:
            raw.decode(encoding)
            return encoding
        except UnicodeDecodeError:
            continue
    return "latin-1"


def _lines(text: str) -> tuple[list[tuple[int, str]], int, str]:
    """The numbered lines that hold cells, how many comments there are, and the separator that Excel's sep= names."""
    lines = [(number, line) for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1) if line.strip()]
    kept = [(number, line) for number, line in lines if not _comment(line)]
    separator = ""
    if kept and (named := re.fullmatch(r'"?sep=([;,\t ])"?', kept[0][1].strip(" \ufeff"), re.IGNORECASE)):
        separator = named[1]
        kept, lines = kept[1:], lines[1:]
    return kept, len(lines) - len(kept), separator


def _comment(line: str) -> bool:
    line = line.lstrip()
    return line.startswith(("#", "%")) and not line.lower().startswith(EXCEL)


# ---------------------------------------------------------------- from lines to a reading

Row = tuple[int, list[str]]  # the number of its line, and its cells


class _Reading(NamedTuple):
    """What a file is under a separator and a decimal mark.

    `header` says what became of the first line, `marks` how numbers are written, `wrong` why this is no table, "" where
    it is one. `odd` counts the lines that do not fit in, `titles` those above the table. `grouped` is the first
    (line, cell) whose mark stands between thousands here and before decimals under the other mark. `found` counts the
    cells that are numbers.
    """

    separator: str
    decimal: str
    columns: tuple[Column, ...] = ()
    header: str = ""
    marks: tuple[str, ...] = ()
    wrong: str = ""
    odd: int = 0
    titles: int = 0
    grouped: tuple[int, str] | None = None
    width: int = 1
    found: int = 0

    @property
    def numeric(self) -> int:
        """How many columns may be coordinates."""
        return sum(column.values is not None and not column.is_index for column in self.columns)


def _ways(lines: Sequence[tuple[int, str]], separator: str) -> list[tuple[str, str]]:
    """The separators and decimal marks under which lines may be a table."""
    text = "\n".join(line for _, line in lines)
    # in one column is none
    used = [separator] if separator else [mark for mark in SEPARATORS if mark in text or mark == ";"]
    return [(mark, decimal) for mark in used for decimal in (".,"[: 1 + ("," in text)])]


def _decided(readings: Sequence[_Reading], file: str) -> _Reading:
    """The reading that fits best; Refused where none fits, or two do and differ in their numbers."""
    order = list(SEPARATORS)

    def fit(reading: _Reading) -> tuple[int, ...]:
        return reading.odd + reading.titles, -min(reading.numeric, 2), order.index(reading.separator)

    valid = [reading for reading in readings if reading.numeric and not reading.wrong]
    if any(reading.separator == "\t" and reading.width > 1 and not reading.odd for reading in valid):
        valid = [reading for reading in valid if reading.separator != " "]  # spaces belong to names
    wrong = [reading for reading in readings if reading.found and reading.wrong]
    best = min(valid, key=fit, default=None)
    likely = max(wrong, key=lambda reading: (reading.width > 1, reading.found), default=None)
    if likely and (best is None or best.odd and likely.found > best.found):
        raise Refused(likely.wrong)
    if best is None:
        raise Refused(f"the file {file} has no column of numbers")
    both = {reading.decimal: reading for reading in valid if fit(reading) == fit(best)}
    if len(both) == 1 or not both["."].grouped:
        return best
    if best.separator != ";" or any("thousands" in words for words in both[","].marks):
        line, cell = both["."].grouped
        raise Refused(
            f"line {line} of {file}: the mark in {cell[:40]!r} may stand before decimals or between thousands"
        )
    return both[","]


def _reading(lines: Sequence[tuple[int, str]], separator: str, decimal: str, file: str) -> _Reading:
    way = _Reading(separator, decimal)
    rows = _rows(lines, separator)
    if not rows:
        return way
    width = max(Counter(len(cells) for _, cells in rows).items(), key=lambda item: (item[1], item[0]))[0]
    way = way._replace(width=width, found=sum(_kind(cell, decimal) == "number" for _, cells in rows for cell in cells))
    line, first = rows[0]
    if separator in " \t" and len(first) == width - 1 and all(_named(cell, decimal) for cell in first):
        rows[0] = line, ["", *first]  # as R writes it: no name above the names of the rows
    titles = next(i for i, (_, cells) in enumerate(rows) if len(cells) == width)
    if any(len(cells) > 1 or _kind(cells[0], decimal) == "number" for _, cells in rows[:titles]):
        titles = 0
    rows = rows[titles:]
    for line, cells in rows:
        if len(cells) != width:
            got = f"{len(cells)} cell{'s' * (len(cells) != 1)}"
            return way._replace(
                wrong=f"line {line} of {file} has {got}, where most lines have {width}, got {_got(lines, line)}"
            )
    quoted = _quoted_alone(lines, rows[0][0])
    header, words, wrong = _header(rows, decimal, quoted)
    if wrong:
        return way._replace(wrong=f"line {rows[0][0]} of {file} {wrong}")
    names, rows = (rows[0][1], rows[1:]) if header else ([""] * width, rows)
    columns = [_column(place, name, rows, decimal, header) for place, name in enumerate(names, 1)]
    numbers = [
        (line, cell) for line, row in rows for cell in row if not cell.isdigit() and NUMBERS[decimal].fullmatch(cell)
    ]
    other = ".,"[decimal == "."]
    grouped = next(((line, cell) for line, cell in numbers if other in cell), None)
    marks = ["decimal comma"] * (decimal == "," and any("," in cell for _, cell in numbers))
    marks += [f"{'points' if decimal == ',' else 'commas'} between thousands"] * (grouped is not None)
    fits = [
        {"number"} if column.values is not None and not column.is_index else {"number", "missing", "text"}
        for column in columns
    ]
    odd = sum(any(_kind(cell, decimal) not in fit for cell, fit in zip(cells, fits, strict=True)) for _, cells in rows)
    way = way._replace(
        columns=tuple(columns), header=words, marks=tuple(marks), odd=odd, titles=titles, grouped=grouped
    )
    alone = not any(separator in line for _, line in lines)
    return way._replace(wrong=_mistaken(way, rows, names[0] if header else "", alone, file))


def _rows(lines: Sequence[tuple[int, str]], separator: str) -> list[Row]:
    """The rows that are not empty, without the columns at the end that are."""
    words = [re.sub(r"[ \t]+", " ", line.strip()) if separator == " " else line for _, line in lines]
    reader, rows, at = csv.reader(words, delimiter=separator, skipinitialspace=True), [], 0
    for cells in reader:
        cells = [_clean(cell) for cell in cells]
        rows += [(lines[at][0], cells)] if any(cells) else []
        at = reader.line_num
    width = max((len(cells) for _, cells in rows), default=0)
    while width > 1 and not any(cells[width - 1] for _, cells in rows if len(cells) >= width):
        width -= 1
    return [(line, cells[:width]) for line, cells in rows]


def _clean(cell: str) -> str:
    """A cell with ASCII's minus and without spaces around it or, where these do not break, between thousands."""
    if cell.isascii():
        return cell.strip()
    return re.sub(r"(?<=\d)[\u00a0\u2009\u202f](?=\d)", "", cell.replace("\u2212", "-")).strip()


def _kind(cell: str, decimal: str) -> str:
    """number, missing, text or, where it begins as a number and is none, odd."""
    if NUMBERS[decimal].fullmatch(cell):
        return "number"
    if cell.lower() in MISSING or cell.lower() in EXCEL:
        return "missing"
    like = re.match(r"[+-]?[.,]?\d", cell) and not DATE.fullmatch(cell)
    return "odd" if like or not any(map(str.isalnum, cell)) else "text"


def _number(cell: str, decimal: str) -> float:
    """The number in a cell, NaN where it is none."""
    if not NUMBERS[decimal].fullmatch(cell):
        return float("nan")
    return float(cell.replace(".,"[decimal == "."], "").replace(",", ".").lower().replace("d", "e"))


def _column(place: int, name: str, rows: Sequence[Row], decimal: str, header: bool) -> Column:
    name = " ".join(name.split())
    index = header and place == 1 and ROW_INDEX.fullmatch(name) is not None
    values = np.array([_number(cells[place - 1], decimal) for _, cells in rows])
    bad = np.flatnonzero(~np.isfinite(values))
    wrong = (rows[bad[0]][0], rows[bad[0]][1][place - 1]) if len(bad) else None
    numbers = len(values) > 0 and not np.isnan(values).all()
    return Column(place, name or f"column {place}", values if numbers else None, wrong, index)


# ---------------------------------------------------------------- what the first line is


def _header(rows: Sequence[Row], decimal: str, quoted: bool) -> tuple[bool, str, str]:
    """Whether the first row holds names, what to say of it, and what is wrong with it."""
    (_, first), rest = rows[0], [cells for _, cells in rows[1:]]
    numeric = [j for j in range(len(first)) if any(NUMBERS[decimal].fullmatch(cells[j]) for cells in rest)]
    kinds = {"text" if _named(first[j], decimal) else _kind(first[j], decimal) for j in numeric or range(len(first))}
    unnamed = [j for j in numeric if not first[j]]
    blank_or_named = all(first[j] == "" or _named(first[j], decimal) for j in numeric)
    if kinds == {"text"} or kinds == {"text", "missing"} and blank_or_named:
        return True, "header skipped", ""
    if "text" in kinds and rest:  # id,2019,2020 are names, and four,4 over other whole numbers may be a point
        years = [j for j in numeric if first[j].isdecimal()]
        words = sum(_named(first[j], decimal) for j in numeric)
        whole = all(WHOLE.fullmatch(cells[j]) for cells in rest for j in years)
        if words + len(years) == len(numeric) and (words > len(years) or not whole):
            return True, "header skipped", ""
        return False, "", f"must be names or numbers, not both, got {','.join(first)[:40]!r}"
    if rest and unnamed == [0] and len(numeric) > 1 and _runs([cells[0] for cells in rest]):
        return True, "header skipped", ""  # of pandas' row index and columns that are numbered
    if not rest or kinds != {"number"}:
        return False, "no header", ""
    return _numeric_header(first, rest, numeric, decimal, quoted)


def _named(cell: str, decimal: str) -> bool:
    """Whether a cell may be a column's name, as numbers and what stands for missing ones are not."""
    kind = _kind(cell, decimal)
    return kind == "text" or kind == "odd" and any(map(str.isalpha, cell))


def _numeric_header(
    first: Sequence[str], rest: Sequence[Sequence[str]], numeric: Sequence[int], decimal: str, quoted: bool
) -> tuple[bool, str, str]:
    """The same where every cell above a column of numbers is a number."""
    names, line = [first[j] for j in numeric], ",".join(first)[:40]
    if quoted:
        return True, f"header {line} skipped, as it alone is in quotes", ""
    if not all(WHOLE.fullmatch(name) for name in names) or len(set(names)) < len(names):
        return False, "no header", ""
    whole = all(WHOLE.fullmatch(cells[j]) for cells in rest for j in numeric)
    if names == [str(j) for j in range(len(names))] and not whole:
        return True, f"first line {line} taken for column names, not for a point", ""
    if len(rest) >= MIN_ROWS and all(_far(first[j], [cells[j] for cells in rest], decimal) for j in numeric):
        if whole:
            words = "may be column names or a point far from all others: write words above the columns"
            return False, "", f"{words}, got {line!r}"
        return True, f"first line {line} taken for column names, as it lies far from all points", ""
    return False, "no header" if whole else f"no header, first line {line} taken for a point", ""


def _far(cell: str, others: Sequence[str], decimal: str) -> bool:
    """Whether a number lies beyond all others by more than these lie apart."""
    values = np.array([_number(other, decimal) for other in others])
    low, high = np.nanmin(values), np.nanmax(values)
    return bool(abs(_number(cell, decimal) - (low + high) / 2) > 1.5 * (high - low) > 0)


def _runs(cells: Sequence[str]) -> bool:
    """Whether these are whole numbers that go up by one."""
    if not all(WHOLE.fullmatch(cell) and len(cell) < 16 for cell in cells):
        return False
    return all(int(b) - int(a) == 1 for a, b in zip(cells, cells[1:], strict=False))


def _quoted_alone(lines: Sequence[tuple[int, str]], first: int) -> bool:
    """Whether of the lines from this one on it alone has quotes."""
    return [number for number, line in lines if '"' in line and number >= first] == [first]


def _mistaken(way: _Reading, rows: Sequence[Row], name: str, alone: bool, file: str) -> str:
    """What shows that a comma is the other thing than this reading takes it for, "" where nothing does.

    `name` is that of the first column, and `alone` whether nothing in the file separates it from others.
    """
    cells = [(line, cell) for line, row in rows for cell in row]
    if way.separator == "," and not any("." in cell for _, cell in cells):
        for line, cell in cells:
            if PADDED.fullmatch(cell):
                return (
                    f"line {line} of {file}: {cell[:40]!r} seems to be decimals: separate the columns by semicolons, "
                    "or write a name above a single one"
                )
    if way.decimal == "," and alone and any("," in cell for _, cell in cells):
        named = bool(name) and not set(name) & set(",;\t")
        if not named and not any(PADDED.fullmatch(cell.partition(",")[2]) for _, cell in cells):
            return (
                f"line {cells[0][0]} of {file} may be two numbers or one with a decimal comma, got {cells[0][1][:40]!r}"
            )
    return ""


# ---------------------------------------------------------------- words


def _cells(columns: str) -> list[str]:
    """The names or numbers of --columns, in quotes where they hold commas."""
    return [cell.strip() for cell in next(csv.reader([columns], skipinitialspace=True), [])]


def _got(lines: Sequence[tuple[int, str]], number: int) -> str:
    return repr(dict(lines)[number].strip()[:40])


def _listed(names: Sequence[str]) -> str:
    names = [name[:40] for name in names]
    names = [*names[:6], "..."] if len(names) > 7 else names
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _called(column: Column) -> str:
    return column.name if column.name == f"column {column.place}" else f"column {column.name[:40]}"


def _columns(chosen: Sequence[Column]) -> str:
    unnamed = all(column.name == f"column {column.place}" for column in chosen)
    names = [str(column.place) if unnamed else column.name for column in chosen]
    return f"column{'s' * (len(chosen) > 1)} {_listed(names)}"


def _why(column: Column) -> str:
    return "it numbers the rows" if column.is_index else "it holds no numbers"
