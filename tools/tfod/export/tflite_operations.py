"""Lists the operations of a `.tflite`, which decide what an accelerator can run."""

from __future__ import annotations

from collections import Counter


def count_operations(network: bytes) -> dict[str, int]:
    """Counts the operations of a `.tflite` by name, the most frequent first.

    Names are those of TFLite's schema. Custom operations, which delegates leave to the CPU, have
    their own name and "(custom)". TensorFlow's `lite.experimental.Analyzer` has an option for GPU
    delegates, but in TensorFlow 2.20 it calls every model compatible.

    Args:
      network: the content of the file, with or without metadata.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(network)
    builtin = {number: name for name, number in vars(schema.BuiltinOperator).items()}
    names = []
    for index in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(index)
        custom = code.CustomCode()
        names.append(f"{custom.decode()} (custom)" if custom else builtin[code.BuiltinCode()])
    graph = model.Subgraphs(0)
    nodes = (graph.Operators(index) for index in range(graph.OperatorsLength()))
    return dict(Counter(names[node.OpcodeIndex()] for node in nodes).most_common())
