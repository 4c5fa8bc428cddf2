"""The probe's application: one way to end for each `mode`. `number` is seconds, an exit code or a count."""

import json
import os
import sys
import time
from pathlib import Path

job = Path("/job")
parameters = json.loads((job / "parameters.json").read_text())
mode, number = parameters["mode"], parameters["number"]
result = job / "outputs" / "result.txt"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if mode == "exit":
    say("about to fail, as asked")
    sys.exit(number or 1)
if mode == "data":
    problem = {
        "code": "bad-value",
        "message": "row 3, column amount: 'seven' is not a decimal",
        "hint": "correct the cell, or declare the column as text",
        "file": "table.csv",
        "row": 3,
        "column": "amount",
        "value": "seven",
    }
    say(json.dumps(problem))
    sys.exit(65)
if mode == "memory":
    say("eating memory")
    eaten = []
    while True:
        eaten.append(bytearray(os.urandom(1 << 20)))
if mode == "chatter":
    for line in range(number or 5):
        say(f"line {line}")
        say(f"progress: {line / (number or 5):.2f} talking")
        time.sleep(0.05)
if mode in ("wait", "silent"):
    if mode == "wait":
        say("waiting")
    time.sleep(number or 30)
if mode == "link":
    (job / "outputs" / "leak").symlink_to("/etc/shadow")
rows = sum(len(path.read_bytes().splitlines()) for path in sorted((job / "inputs").iterdir()))
chance = os.urandom(8).hex() if mode == "random" else ""
result.write_text(f"{mode} {number} {rows}{chance}\n")
