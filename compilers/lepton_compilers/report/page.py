"""The report as one HTML file: no script, nothing loaded, light and dark, narrow and wide."""

from __future__ import annotations

from collections.abc import Sequence

from lepton_compilers.report import charts
from lepton_compilers.report.fidelity import LayerFidelity
from lepton_compilers.report.judgement import Judgement
from lepton_compilers.report.report import Report
from lepton_compilers.report.sensitivity import sensitivity
from lepton_compilers.report.style import STYLE
from lepton_compilers.report.tables import bar, cell, frame, table
from lepton_compilers.report.text import count, decibel, escaped, percent, shortened, size
from lepton_compilers.report.timing import timing

FULL_SCALE_DB = 60.0
"""SQNR that fills a bar."""
LONGEST_NAME = 28
"""Letters of a layer's name in the table of layers; the graph has it in full."""
WHOLE_MATRIX = 30
"""Classes up to which the confusion matrix is drawn whole; beyond, its largest confusions are listed."""


def page(report: Report) -> str:
    """The whole file; also well-formed XML."""
    sections = [
        _head(report),
        _remedies(report),
        _sizes(report),
        _judgement(report.judgement),
        _layers(report),
        timing(report.timing),
        _ranges(report),
        sensitivity(report.options.get("sensitivity")),
        _float_layers(report),
        _graph(report),
        _origin(report),
    ]
    title = escaped(f"{report.name}: report")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/>'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(filter(None, sections))
        + "\n</main></body></html>\n"
    )


def _head(report: Report) -> str:
    tiles = [
        ("kind", report.kind),
        ("bundle", size(report.bytes)),
        ("weights", size(report.weights_bytes)),
        ("multiply-adds", count(report.macs)),
        ("layers", str(len(report.layers))),
    ]
    if report.source_bytes is not None:
        tiles.append(("float source", size(report.source_bytes)))
    if report.fidelity:
        last = report.fidelity[-1]
        tiles.append(("SQNR at the end", f"{decibel(last.sqnr_db, last.exact)} dB"))
    if (j := report.judgement) is not None:
        if j.accuracy is not None:
            tiles.append(("accuracy", percent(j.accuracy)))
        if j.float_accuracy is not None:
            tiles.append(("accuracy in float", percent(j.float_accuracy)))
        if j.agreement is not None:
            tiles.append(("same class as float", percent(j.agreement)))
    cells = "".join(f"<div><dt>{escaped(k)}</dt><dd>{escaped(v)}</dd></div>" for k, v in tiles)
    ends = f"{', '.join(report.inputs)} → {', '.join(report.outputs)}"
    return (
        f'<h1>{escaped(report.name)}</h1><p class="quiet">{escaped(ends)}</p><dl class="tiles">{cells}</dl>'
    )


def _remedies(report: Report) -> str:
    if report.remedies:
        items = "".join(f"<li>{escaped(text)}</li>" for text in report.remedies)
        return f"<h2>What to do</h2><ul>{items}</ul>"
    if report.fidelity:
        return "<h2>What to do</h2><p>Nothing stands out.</p>"
    return ""


def _sizes(report: Report) -> str:
    rows = [
        (
            f"{t.target}, {t.precision}" if t.precision else t.target,
            *(size(t.code_bytes), size(t.weights_bytes), size(t.variables_bytes), size(t.arena_bytes)),
        )
        for t in report.targets
    ]
    head = ("target", "code", "weights", "variables", "working memory")
    sizes = table(head, rows) if rows else "<p>The bundle holds no machine code.</p>"
    before = ""
    if report.source_bytes is not None:
        before = (
            f'<p class="quiet">The float source is a file of {escaped(size(report.source_bytes))}; the '
            f"program's constants are {escaped(size(report.weights_bytes))}.</p>"
        )
    return f"<h2>Sizes by target</h2>{before}{sizes}"


def _judgement(judgement: Judgement | None) -> str:
    if judgement is None or judgement.confusion_matrix is None:
        return ""
    j, matrix, names = judgement, judgement.confusion_matrix, judgement.class_names
    per_class = [
        (
            _named(int(row["class"]), names),
            f"{row['examples']:,}",
            percent(row["precision"]),
            percent(row["recall"]),
            percent(row["f1"]),
        )
        for row in j.per_class or ()
        if row["examples"] or row["predictions"]
    ]
    head = ("class", "examples", "precision", "recall", "F1")
    curves = charts.roc(j.roc_curves, names) if j.roc_curves else ""
    area = f"<p>Area under the ROC curve: {j.roc_auc:.4f}</p>" if j.roc_auc is not None else ""
    confusions = _matrix(matrix, names) if len(matrix) <= WHOLE_MATRIX else _confusions(matrix, names)
    return (
        f"<h2>Accuracy on {j.n:,} examples</h2>{table(head, per_class)}"
        f"<h3>Confusion</h3>{confusions}<h3>ROC</h3>{area}{curves}"
    )


def _matrix(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    head = "".join(f"<th>{number}</th>" for number in range(len(matrix)))
    body = []
    for number, row in enumerate(matrix):
        total = max(sum(row), 1)
        cells = "".join(
            f'<td class="{"hit" if i == number else "miss"}" style="--share:{value / total * 100:.0f}%">'
            f"{value or ''}</td>"
            for i, value in enumerate(row)
        )
        body.append(f"<tr><th>{escaped(_named(number, names))}</th>{cells}</tr>")
    return (
        f'<div class="scroll"><table class="matrix"><thead><tr><th>is ↓ taken for →</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _confusions(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    pairs = [(n, i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j and n]
    largest = sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))[:20]
    return table(
        ("is", "taken for", "times"), [(_named(i, names), _named(j, names), n) for n, i, j in largest]
    )


def _layers(report: Report) -> str:
    fidelity = {row.step: row for row in report.fidelity}
    total = max(report.macs, 1)
    measured = ("SQNR dB", "lost here") if fidelity else ()
    head = ("step", "operation", "result", *measured, "multiply-adds", "weights", "type")
    rows = []
    for layer in report.layers:
        shape = "×".join(map(str, layer.shape))
        cells = [
            cell(layer.step),
            cell(layer.operation),
            cell(shortened(layer.output, LONGEST_NAME)),
        ]
        if fidelity:
            row = fidelity.get(layer.step)
            db = row.sqnr_db if row else None
            share = 1.0 if row and row.exact else max(db or 0.0, 0.0) / FULL_SCALE_DB
            cells.append(bar(decibel(db, row is not None and row.exact), share))
            cells.append(cell(decibel(row.loss_db if row else None), "n"))
        cells.append(bar(count(layer.macs) if layer.macs else "", layer.macs / total))
        cells.append(cell(size(layer.weights_bytes) if layer.weights_bytes else ""))
        cells.append(cell(f"{layer.dtype} {shape}"))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    note = ""
    if fidelity:
        note = (
            '<p class="quiet">Signal against quantisation noise (SQNR) of each integer result, measured on '
            f"the float source over {report.examples:,} examples. It holds what earlier layers lost; “lost "
            "here” is the layer's own share. A dash: the float source has no tensor of that name and shape."
            "</p>"
        )
    elif any(layer.dtype in ("int8", "int16") for layer in report.layers):
        note = '<p class="quiet">With --model and --data, each integer layer is measured against float.</p>'
    return f"<h2>Layers</h2>{note}{frame(head, rows)}"


def _ranges(report: Report) -> str:
    if not report.fidelity:
        return ""
    figures = "".join(
        f"<figure><figcaption><b>{row.step}</b> {escaped(row.output)}</figcaption>{charts.histogram(row)}"
        f'<p class="quiet">float {row.float_low:.3g} … {row.float_high:.3g}; {percent(row.used)} of the '
        f"integers used{_saturating(row.saturated)}{_notes(row)}</p></figure>"
        for row in report.fidelity
    )
    return (
        "<h2>Ranges</h2>"
        '<p class="quiet">The float values of each layer over the range that its integers can say, counts on '
        f'a logarithmic scale; red edges where values lie outside.</p><div class="figures">{figures}</div>'
    )


def _notes(row: LayerFidelity) -> str:
    scaled = f"; equalisation rescaled {row.rescaled_channels} channels" if row.rescaled_channels else ""
    return f"{scaled}{'; low values do not count in a softmax' if row.into_softmax else ''}"


def _saturating(share: float) -> str:
    if not share:
        return ""
    return f", {share:.2%} saturate" if share >= 0.0001 else ", less than 0.01% saturate"


def _float_layers(report: Report) -> str:
    if not report.float_layers:
        return ""
    if len(report.float_layers) == len(report.layers):
        return f"<h2>What stays float</h2><p>Everything: {escaped(report.float_layers[0].reason)}.</p>"
    rows = [(row.step, row.operation, row.output, row.reason) for row in report.float_layers]
    return f"<h2>What stays float</h2>{table(('step', 'operation', 'result', 'why'), rows)}"


def _graph(report: Report) -> str:
    opened = ' open="open"' if len(report.layers) <= WHOLE_MATRIX else ""
    return (
        f"<details{opened}><summary><h2>Graph</h2></summary>"
        '<p class="quiet"><span class="key integer"></span> int8, int16 <span class="key real"></span> other '
        f"types; names in full on hover.</p>{charts.graph(report.layers, report.inputs)}</details>"
    )


def _origin(report: Report) -> str:
    same = {None: "", True: " (this float source)", False: " (another file than this float source)"}
    source = f"{report.source_format}{same[report.same_source]}"
    rows = [("digest", report.digest), ("compiled from", source), ("compiler", report.compiler)]
    options = {name: value for name, value in report.options.items() if name != "sensitivity"}
    rows += [(f"option {name}", value) for name, value in options.items() if value is not None]
    return f"<h2>Origin</h2>{table(('', ''), rows)}"


def _named(number: int, names: Sequence[str]) -> str:
    return f"{number} {names[number]}" if number < len(names) else str(number)
