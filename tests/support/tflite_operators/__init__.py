"""One-operator TFLite networks by name, float32 and int8: what the importer is held to against LiteRT.

forms.py         operators and their options
movement.py      what moves elements, of any type
floats.py        float32
int8.py          int8, bytes at a model's ends
on_constants.py  what constants decide, of several operators
"""
