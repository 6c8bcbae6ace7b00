"""The `lepton` command.

    main.py         the root: finds the command asked for, loads only that one, turns errors into exit codes
    extensions.py   commands of other packages, by entry points, with the extras they need
    output.py       one JSON object, or tables for people

A file a command: targets.py, keygen.py, inspect.py, verify.py, run.py, bench.py, evaluate.py, device.py.
"""
