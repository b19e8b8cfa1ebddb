"""Small helpers that every week would otherwise repeat. Each module does one thing and imports no week."""

import sys

if sys.argv[:1] == ["-m"]:  # Python is on its way to a program: python -m week01_numpy_mlp.train
    from shared import starting  # noqa: F401
