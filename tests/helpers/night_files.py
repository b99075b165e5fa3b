"""What must be the same in every night of a plan."""

import hashlib


def night_files(folder):
    """SHA-256 of every file by its place; the queue, the account of times and the working store apart."""
    files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    apart = ("work/", "night.sqlite3", "night.json")
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if not name.startswith(apart)}
