#!/usr/bin/env python3
"""Word error of whole files, through the command line or the REST API. Needs nothing but Python.

    scripts/word_error.py cli FOLDER [--binary target/release/stenopool]
    scripts/word_error.py rest FOLDER [--url http://127.0.0.1:8080] [--format json]
"""
import argparse
import json
import subprocess
import sys
import urllib.request
import uuid

import scoring


def by_cli(rows, args):
    files = [str(row["path"]) for row in rows]
    command = [args.binary, "transcribe", "--format", "json", *files]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    texts = [json.loads(line)["text"] for line in run.stdout.splitlines()]
    assert len(texts) == len(rows), f"{len(rows)} files gave {len(texts)} answers"
    return texts


def by_rest(rows, args):
    return [post(args.url, row["path"], args.format) for row in rows]


def post(url, path, response_format):
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
    tail = f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="response_format"\r\n\r\n{response_format}\r\n--{boundary}--\r\n'
    request = urllib.request.Request(f"{url}/v1/audio/transcriptions", head.encode() + path.read_bytes() + tail.encode())
    request.add_header("Content-Type", f"multipart/form-data; boundary={boundary}")
    with urllib.request.urlopen(request) as response:
        return json.load(response)["text"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("via", choices=["cli", "rest"])
    parser.add_argument("folder")
    parser.add_argument("--binary", default="target/release/stenopool")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--format", default="json", choices=["json", "verbose_json"])
    parser.add_argument("--show", action="store_true", help="print each recording that was misheard")
    args = parser.parse_args()
    rows = scoring.recordings(args.folder)
    heard = list(zip(rows, (by_cli if args.via == "cli" else by_rest)(rows, args)))
    if args.show:
        for row, text in heard:
            if scoring.words(row["text"]) != scoring.words(text):
                print(f"{row['file']}\n  said:  {row['text']}\n  heard: {text}")
    sys.exit(1 if scoring.report(heard) else 0)


main()
