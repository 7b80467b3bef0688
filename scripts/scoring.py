"""Word error by kind of recording. A folder of recordings has a transcripts.tsv with `file`, `text` and, if known, `kind`."""
import csv
import re
from pathlib import Path


def recordings(folder, table="transcripts.tsv"):
    """The rows of FOLDER/TABLE, each with the path of its file under `path`."""
    with open(Path(folder) / table, newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [dict(row, path=Path(folder) / row["file"], kind=row.get("kind", "all")) for row in rows]


def words(text):
    """Words alone: lower case, no punctuation, hyphens as spaces."""
    return re.findall(r"[a-z']+", text.lower().replace("-", " "))


def errors(reference, hypothesis):
    """Substitutions, insertions and deletions between two lists of words (Levenshtein distance)."""
    row = list(range(len(hypothesis) + 1))
    for i, expected in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, heard in enumerate(hypothesis, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (expected != heard))
    return row[-1]


def report(heard):
    """Prints a table for (row, text) pairs; returns how many recordings without speech gave text."""
    kinds = {}
    for row, text in heard:
        tally = kinds.setdefault(row["kind"], dict(files=0, errors=0, words=0, exact=0, phantoms=0))
        tally["files"] += 1
        tally["errors"] += errors(words(row["text"]), words(text))
        tally["words"] += len(words(row["text"]))
        tally["exact"] += row["text"].strip() == text.strip()
        tally["phantoms"] += bool(text.strip()) and not row["text"].strip()
    print("| kind | files | word error | exact text |\n|---|---|---|---|")
    for kind, tally in kinds.items():
        if tally["words"]:
            rate = f"{100 * tally['errors'] / tally['words']:.1f} % ({tally['errors']}/{tally['words']})"
            exact = f"{100 * tally['exact'] / tally['files']:.0f} %"
        else:
            rate, exact = f"{tally['phantoms']} of {tally['files']} gave text", ""
        print(f"| {kind} | {tally['files']} | {rate} | {exact} |")
    return sum(tally["phantoms"] for tally in kinds.values())
