"""What one core of this machine can do, by loops that do nothing else, for `lepton bench`.

peak.py    multiply-accumulates
memory.py  bytes read from each level
"""
