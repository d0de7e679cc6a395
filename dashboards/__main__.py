"""Write the dashboards' JSON into salt/dcgm/grafana/files; with the word ``pictures`` those of the docs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "_utils"))

from dashboards import every


def main() -> None:
    """Write the files of all dashboards, and remove those of none."""
    texts = every.texts()
    every.FOLDER.mkdir(parents=True, exist_ok=True)
    for path in every.FOLDER.glob("*.json"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        (every.FOLDER / name).write_text(text)
        print(f"{(every.FOLDER / name).relative_to(every.REPOSITORY)} is written")


if __name__ == "__main__":
    if sys.argv[1:2] == ["pictures"]:
        from dashboards import pictures

        pictures.main(*sys.argv[2:])
    else:
        main()
