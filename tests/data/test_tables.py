"""Tables: what was written is what is read, in every dialect, or the refusal is one sentence that names the line."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddgan.data.tables import file_of, is_table, read_sheet, read_table, with_columns
from ddgan.errors import Refused

ROWS = "\n".join(f"0.{i}691,-0.{i}643" for i in range(12)) + "\n"
words = st.text(st.characters(categories=["L"]), min_size=2, max_size=8).filter(
    lambda name: name.lower() not in ("na", "nan", "inf", "null", "none", "infinity") and name.isprintable()
)
names = words | st.tuples(words, words).map(" ".join)
numbers = {
    "whole": st.integers(-(10**6), 10**6).map(str),
    "fixed": st.decimals(-(10**4), 10**4, places=4, allow_nan=False, allow_infinity=False).map(str),
    "short": st.floats(-100, 100).map(lambda v: f"{v:.1f}"),
    "exact": st.floats(-1e6, 1e6).map(repr),
    "savetxt": st.floats(-1e3, 1e3).map(lambda v: f"{v:.18e}"),
}


@st.composite
def tables(draw):
    """(the bytes of a table, its numbers, its names, whether a first line of whole numbers may be read in two ways)."""
    separator, decimal = draw(st.sampled_from([",", ";", "\t", " "])), draw(st.sampled_from([".", ","]))
    n, k = draw(st.integers(2, 30)), draw(st.integers(1, 2))
    form = draw(st.sampled_from([*numbers]))
    cells = draw(st.lists(st.lists(numbers[form], min_size=k, max_size=k), min_size=n, max_size=n))
    values = [[float(cell) for cell in row] for row in cells]
    header = draw(st.lists(names, min_size=k, max_size=k, unique=True)) if draw(st.booleans()) else []
    index = bool(header) and draw(st.booleans())
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, quoting=quoting, lineterminator="\n")
    if header:
        writer.writerow([""] * index + header)
    for i, row in enumerate(cells):
        writer.writerow([str(i)] * index + [cell.replace(".", decimal) for cell in row])
    lines = file.getvalue().splitlines()
    if index and separator == " ":  # as R writes it: an empty cell between spaces could not be seen
        lines[0] = lines[0].removeprefix('""').lstrip()
    if separator == " ":
        pad = draw(st.sampled_from(["", " ", "  "]))
        lines = [pad + line.replace(" ", " " + pad) + pad for line in lines]
    elif draw(st.booleans()):
        lines = [line + separator for line in lines]
    above = [""] * draw(st.integers(0, 2)) + [f"# made in {i}" for i in range(draw(st.integers(0, 2)))]
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join([*above, *lines]) + draw(
        st.sampled_from(["", "\n", "\n\n"])
    )
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]))
    if encoding == "utf-16-le" and not text.isascii():
        encoding = "utf-16"
    unsure = not header and (form == "whole" or k == 1) or decimal == "," == separator or form == "whole" and k == 1
    return text.encode(encoding), values, header, unsure


def as_written(path, table):
    """The points of a table are those that were written,
    or the refusal of one that may be read in two ways is a sentence.
    """
    raw, values, header, unsure = table
    path.write_bytes(raw)
    try:
        found = read_table(path)
    except Refused as error:
        assert unsure, (raw, str(error))
        assert "\n" not in str(error) and len(str(error)) < 200 and "table.csv" in str(error)
        return
    if len(found.names) > len(values[0]):
        assert unsure and not header  # one column of 1,5 is two of whole numbers, as good as it can be told
        return
    # "0,0" over 1 has to be in quotes, "1,5" over 1e-3 is no number
    words = ("as it alone is in quotes", "header skipped")
    quoted = not header and any(word in found.said for word in words)
    if quoted or "taken for column names" in found.said:
        assert unsure
        values = values[1:]
    assert found.points.tolist() == values, (raw, found.said)
    assert not header or list(found.names) == header
    assert found.said.startswith(f"{len(values):,} point{'s' * (len(values) != 1)}, column")


@settings(max_examples=100)
@given(tables())
def test_every_dialect_is_read_as_it_was_written_or_refused_in_one_sentence(tmp_path_factory, table):
    as_written(tmp_path_factory.getbasetemp() / "table.csv", table)


@pytest.mark.slow
@settings(max_examples=2000)
@given(tables())
def test_two_thousand_tables_are_read_as_they_were_written(tmp_path_factory, table):
    as_written(tmp_path_factory.getbasetemp() / "table.csv", table)


@settings(max_examples=500)
@given(st.one_of(st.binary(max_size=60), st.text('0123456789,;.-e \t\n"#xNA', max_size=60).map(str.encode)))
def test_any_bytes_are_a_table_of_finite_numbers_or_one_sentence(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "table.csv"
    path.write_bytes(raw)
    try:
        found = read_table(path)
    except Refused as error:
        assert len(str(error).splitlines()) == 1 and len(str(error)) < 240
        return
    assert np.isfinite(found.points).all() and found.points.shape[1] == len(found.names) in (1, 2)


def written(tmp_path, content, name="p.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "first", "said"),
    [
        ("x,y\n" + ROWS, (0.0691, -0.0643), "12 points, columns x and y, header skipped"),
        (ROWS, (0.0691, -0.0643), "12 points, columns 1 and 2, no header"),
        ("0,1\n" + ROWS, (0.0691, -0.0643),
         "12 points, columns 0 and 1, first line 0,1 taken for column names, not for a point"),
        ("2019,2020\n" + ROWS, (0.0691, -0.0643),
         "12 points, columns 2019 and 2020, first line 2019,2020 taken for column names, "
         "as it lies far from all points"),
        ("1,2\n" * 3 + "3,4\n", (1, 2), "4 points, columns 1 and 2, no header"),
        ("0,1\n1,0\n2,5\n", (0, 1), "3 points, columns 1 and 2, no header"),
        ("1,0\n" + ROWS, (1, 0), "13 points, columns 1 and 2, no header, first line 1,0 taken for a point"),
        ('"2019","2020"\n0,1\n5,5\n', (0, 1),
         "2 points, columns 2019 and 2020, header 2019,2020 skipped, as it alone is in quotes"),
        ("\n\n# a\n%b\nx;y\n0,0691;-0,5\n1;2\n", (0.0691, -0.5),
         "2 points, columns x and y, semicolons between columns, header skipped, decimal comma, "
         "2 comment lines skipped"),
        (",length\n0,0.5\n1,0.25\n", (0.5,),
         "2 points, column length, header skipped, column 1 left out: it numbers the rows"),
        (",0,1\n0,5,7\n1,6,7\n", (5, 7),
         "2 points, columns 0 and 1, header skipped, column 1 left out: it numbers the rows"),
        ("Unnamed: 0,a,b\n0,0.5,1\n1,0.25,2\n", (0.5, 1),
         "2 points, columns a and b, header skipped, column Unnamed: 0 left out: it numbers the rows"),
        ('"x" "y"\n"1" 0.5 1\n"2" 0.25 2\n', (0.5, 1),
         "2 points, columns x and y, spaces between columns, header skipped, column 1 left out: it numbers the rows"),
        ("name,x,y,\nanna,1,2,\nNA,3,4,\n,,,\n", (1, 2),
         "2 points, columns x and y, header skipped, column name left out: it holds no numbers"),
        ("when,x\n2020-01-31,1.5\n2020-02-01,2\n", (1.5,),
         "2 points, column x, header skipped, column when left out: it holds no numbers"),
        ("sep=;\nx;y\n1;2\n", (1, 2), "1 point, columns x and y, semicolons between columns, header skipped"),
        ("Made by hand\nx,y\n1,2\n3,4\n", (1, 2),
         "2 points, columns x and y, header skipped, 1 line above the table skipped"),
        ("length\n0,5\n1\n", (0.5,), "2 points, column length, header skipped, decimal comma"),
        ("length\n-0,5\n1,7\n-2,3\n", (-0.5,), "3 points, column length, header skipped, decimal comma"),
        ("171,52\n182,13\n", (171, 52), "2 points, columns 1 and 2, no header"),
        ("0,0691\n0,1643\n", (0.0691,), "2 points, column 1, no header, decimal comma"),
        ("1,23e-07\n-4,56E+02\n", (1.23e-7,), "2 points, column 1, no header, decimal comma"),
        ("1,05e-12\n4,5e-12\n", (1.05e-12,), "2 points, column 1, no header, decimal comma"),
        ("1,5e-07\n4,2e+01\n", (1, 5e-7), "2 points, columns 1 and 2, no header"),
        ('a;b\n"1.234,5";6\n7;8\n', (1234.5, 6),
         "2 points, columns a and b, semicolons between columns, header skipped, decimal comma, "
         "points between thousands"),
        ('a,b\n"1,234.5",6\n7,8\n', (1234.5, 6), "2 points, columns a and b, header skipped, commas between thousands"),
        ("größe\th\n1\t2\n".encode("latin-1"), (1, 2),
         "1 point, columns größe and h, tabs between columns, header skipped, read as Windows-1252"),
        ("x\ty\n\u22121,5\t1\u00a0234,5\n2\t3\n", (-1.5, 1234.5),
         "2 points, columns x and y, tabs between columns, header skipped, decimal comma"),
        ("x,y\r1,2\r3,4\r".encode("utf-16"), (1, 2), "2 points, columns x and y, header skipped, read as UTF-16"),
        ("  1.5D+00   2\n -1  3 \n", (1.5, 2), "2 points, columns 1 and 2, spaces between columns, no header"),
    ],
)  # fmt: skip
def test_what_was_understood_is_what_is_said(tmp_path, content, first, said):
    found = read_table(written(tmp_path, content))
    assert tuple(found.points[0]) == first
    assert found.said == said


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("NA,0.5\n0,0\n1,1\n2,4\n", "line 1 of p.csv must hold a finite number in column 1, got 'NA'"),
        (",0.5\n0,0\n7,1\n2,4\n", "line 1 of p.csv must hold a finite number in column 1, got an empty cell"),
        ("x,y\n1,2\n3,four\n", "line 3 of p.csv must hold a finite number in column y, got 'four'"),
        ("x,y\n1,2\n3,\n", "line 3 of p.csv must hold a finite number in column y, got an empty cell"),
        ("x,y\n1,2\n#N/A,4\n", "line 3 of p.csv must hold a finite number in column x, got '#N/A'"),
        ("x,y\n1,2\n1e999,4\n", "line 3 of p.csv must hold a finite number in column x, got '1e999'"),
        ("x,y\n1,2\n1_0,4\n", "line 3 of p.csv must hold a finite number in column x, got '1_0'"),
        ("x,y\n1,2\n3\n4,5\n", "line 3 of p.csv has 1 cell, where most lines have 2, got '3'"),
        ("1,2,3\n4,5\n6,7\n", "line 1 of p.csv has 3 cells, where most lines have 2, got '1,2,3'"),
        ("x,2019\n1,2\n3,4\n", "line 1 of p.csv must be names or numbers, not both, got 'x,2019'"),
        ("2019,2020\n" + "1,2\n3,4\n" * 9, "line 1 of p.csv may be column names or a point far from all others"),
        ("0,0691,0,1643\n0,25,0,5\n", "'0691' seems to be decimals: separate the columns by semicolons"),
        (
            "1,7\n-0,5\n-2,3\n",
            "line 2 of p.csv: '-0' seems to be decimals: separate the columns by semicolons, "
            "or write a name above a single one",
        ),
        (
            'a,b\n"1,234","2,345"\n',
            "line 2 of p.csv: the mark in '1,234' may stand before decimals or between thousands",
        ),
        (
            "996\t988\n1,033\t999\n",
            "line 2 of p.csv: the mark in '1,033' may stand before decimals or between thousands",
        ),
        (
            "x,y,label\n1,2,0\n3,4,1\n",
            "p.csv has 3 columns of numbers, x, y and label: choose two, as in --columns 1,2",
        ),
        ("x,y\n", "p.csv has no column of numbers"),
        ("", "p.csv has no column of numbers"),
        (
            ",0.5\n" + f"{'9' * 5000},1\n" * 3,
            "line 1 of p.csv must hold a finite number in column 1, got an empty cell",
        ),
        ("once upon a time\nthere was\na law\n", "p.csv has no column of numbers"),
        (b"\x89PNG\xff\xfe\x00", "p.csv is not a text file"),
        (b"PK\x03\x04 and so on", "p.csv is a workbook or a zip archive, not a text file: save the table as CSV"),
    ],
)
def test_what_cannot_be_decided_is_refused_with_its_line(tmp_path, content, sentence):
    with pytest.raises(Refused) as caught:
        read_table(written(tmp_path, content))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "names", "first"),
    [
        ("\tbody height\n0\t171.5\n1\t182.1\n2\t165.0\n", ("body height",), (171.5,)),  # as pandas writes it
        ("\tbody height\nrow 1\t171,5\nrow 2\t182,1\n", ("body height",), (171.5,)),
        ("body height\tage in years\n171.5\t30\n182.1\t40\n", ("body height", "age in years"), (171.5, 30)),
        ("1 \t2\n3 \t4\n", ("column 1", "column 2"), (1, 2)),
        ("1.5 2.5\t\n3.5 4.5\t\n", ("column 1", "column 2"), (1.5, 2.5)),  # no tab between these
    ],
)
def test_where_tabs_separate_a_space_is_part_of_a_name(tmp_path, content, names, first):
    found = read_table(written(tmp_path, content))
    assert found.names == names and tuple(found.points[0]) == first


def test_tabs_and_spaces_between_numbers_both_separate(tmp_path):
    assert [column.place for column in read_sheet(written(tmp_path, "1 2\t3\n4 5\t6\n")).numbers] == [1, 2, 3]


def test_a_missing_file_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(Refused, match="none.csv cannot be read"):
        read_table(tmp_path / "none.csv")


MANY = 'id,height,"weight, kg",2,note\n7,1.5,60,0.1,a\n8,1.75,,0.2,b\n9,2.0,80,0.3,c\n'


@pytest.mark.parametrize(
    ("columns", "names", "first"),
    [
        ("id,height", ("id", "height"), (7, 1.5)),
        ("HEIGHT , id", ("height", "id"), (1.5, 7)),
        ("1", ("id",), (7,)),
        ("2,1", ("2", "id"), (0.1, 7)),  # a name comes before a number
    ],
)
def test_columns_are_chosen_by_name_or_number_and_the_others_need_not_be_whole(tmp_path, columns, names, first):
    path = written(tmp_path, MANY)
    found = read_table(with_columns(str(path), columns))
    assert found.names == names and tuple(found.points[0]) == first and len(found.points) == 3


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ("height,age", "p.csv has no column 'age', its columns are id, height, weight, kg, 2 and note"),
        ('id,"weight, kg"', "line 3 of p.csv must hold a finite number in column weight, kg, got an empty cell"),
        ("id,note", "column note of p.csv holds no numbers"),
        ("1,1", "choose one column or two different ones of p.csv"),
        ("1,2,4", "choose one column or two different ones of p.csv"),
        ("9", "p.csv has no column '9'"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_in_a_sentence(tmp_path, columns, sentence):
    with pytest.raises(Refused) as caught:
        read_table(with_columns(str(written(tmp_path, MANY)), columns))
    assert sentence in str(caught.value)


def test_the_names_of_tables_and_of_their_columns():
    assert all(map(is_table, ["a.csv", "A.CSV", "b/c.txt", "x.tsv", "a.csv#x,y", "a#b.csv", "a.csv#1.5"]))
    assert not any(map(is_table, ["rings", "a.npz", "csv", "points:AAAA", "run/card.json"]))
    assert file_of("a#b.csv").name == "a#b.csv" and file_of("a#b.csv#x").name == "a#b.csv"
    assert with_columns("a.csv", None) == "a.csv"
    for data in ("rings", "a.csv#x"):
        with pytest.raises(Refused, match="--columns chooses from a .csv, .tsv, .txt file"):
            with_columns(data, "x,y")


def test_a_sheet_offers_its_columns_of_numbers(tmp_path):
    sheet = read_sheet(written(tmp_path, MANY))
    assert [column.name for column in sheet.numbers] == ["id", "height", "weight, kg", "2"]
    assert sheet.at(4, 2).names == ("2", "height")
