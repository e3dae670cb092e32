"""A trained model as a NumPy file and as ONNX: the same numbers without torch.

The `.npz` holds float32 arrays and one JSON text, `meta`: columns and their treatment, targets, horizons, period and
receptive field. Nothing in it can run code. The ONNX graph takes prepared inputs (1, columns, rows) and gives (1,
outputs, rows), for any number of rows; `meta` is among its properties.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from training.files import replacing
from training.model import CLAMP

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config
    from training.dataset import Dataset
    from training.model import Forecaster

    Weights = dict[str, NDArray[np.float32]]


def describe(config: Config, dataset: Dataset) -> dict[str, Any]:
    """What a program needs to know to use the model."""
    return {
        "format": 1,
        "columns": [list(column) for column in dataset.columns],
        "targets": list(config.targets),
        "horizons": list(config.horizons),
        "task": config.task,
        "raw_level": config.raw_level,
        "period_ns": dataset.period_ns,
        "kernel": config.kernel,
        "levels": config.levels,
        "network_field": config.network_field,
        "receptive_field": config.receptive_field,
        "clamp": CLAMP,
        "fingerprint": dataset.fingerprint,
        "settings": dataset.settings,
    }


def weights_of(model: Forecaster) -> Weights:
    """All arrays of the model, weight norm resolved."""
    found = {name: getattr(model, name) for name in ("mean", "std", "center", "scale", "gain")}
    for number, block in enumerate(model.tcn.blocks):
        for name in ("first", "second", "around"):
            layer = getattr(block, name)
            if hasattr(layer, "weight"):
                found |= {f"{number}.{name}.weight": layer.weight, f"{number}.{name}.bias": layer.bias}
    found |= {"head.weight": model.tcn.head.weight, "head.bias": model.tcn.head.bias}
    return {name: tensor.detach().cpu().numpy().astype(np.float32) for name, tensor in found.items()}


def write_npz(path: Path, weights: Weights, meta: dict[str, Any]) -> None:
    """For `stepper`."""
    arrays: dict[str, Any] = {**weights, "meta": np.array(json.dumps(meta))}
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **arrays)


def write_onnx(path: Path, weights: Weights, meta: dict[str, Any]) -> None:
    """For onnxruntime and its like. The graph is written down node by node: it needs neither torch nor tracing."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants = {name: array for name, array in weights.items() if name not in {"scale", "gain"}}
    constants["factor"] = weights["gain"] * weights["scale"]
    constants |= {"low": np.array(-CLAMP, np.float32), "high": np.array(CLAMP, np.float32)}

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def conv(x: str, name: str, dilation: int = 1) -> str:
        history = (weights[f"{name}.weight"].shape[-1] - 1) * dilation
        inputs = [x, f"{name}.weight", f"{name}.bias"]
        return node("Conv", inputs, f"{name}.out", dilations=[dilation], pads=[history, 0])

    x = node("Div", [node("Sub", ["inputs", "mean"], "shifted"), "std"], "scaled")
    x = node("Clip", [x, "low", "high"], "clipped")
    for number in range(meta["levels"]):
        y = node("Relu", [conv(x, f"{number}.first", 2**number)], f"{number}.a")
        y = node("Relu", [conv(y, f"{number}.second", 2**number)], f"{number}.b")
        around = conv(x, f"{number}.around") if f"{number}.around.weight" in weights else x
        x = node("Relu", [node("Add", [y, around], f"{number}.sum")], f"{number}.out")
    x = node("Mul", [conv(x, "head"), "factor"], "unshifted")
    node("Add", [x, "center"], "outputs")

    def value(name: str, channels: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, "rows"])

    graph = helper.make_graph(
        nodes,
        "tcn",
        [value("inputs", weights["mean"].shape[0])],
        [value("outputs", weights["center"].shape[0])],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"meta": json.dumps(meta)})
    onnx.checker.check_model(model)
    with replacing(path) as unfinished:
        onnx.save(model, str(unfinished))
