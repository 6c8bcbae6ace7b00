"""Tiles by measurement: what `lepton compile --tune SECONDS` and `--tuning FILE` do.

layers.py     the layers of a program that have several legal tiles, each once, the most expensive first
bench.py      one of them with several tiles, compiled together, timed in turns
search.py     which tiles are tried within the time, and when one has won; no clock and no compiler of its own
network.py    the whole network with the table's tiles and with the winners, in turns
records.py    what was found, as a file: read strictly, written in a stable order
tune.py       the steps together, for one CPU; request.py: what `compile` asks, for all its targets
progress.py   a bar of the time; report.py: what is told in the end
"""
