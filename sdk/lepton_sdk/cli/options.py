"""Options that several commands share, worded once."""

from __future__ import annotations

from typing import Any

import typer

TARGET: Any = typer.Option(
    "--target", help="Whose code of those in the bundle to run; the best for this CPU without it."
)
