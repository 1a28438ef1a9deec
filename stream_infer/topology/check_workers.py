"""topology.check_workers: what a model says of its workers and its precision. values → *check_workers* → check_models."""

from __future__ import annotations

from stream_infer.topology.values import Findings, Section, Value

OF_PROCESSES = ("devices", "pool", "pass_s_max", "start_s_max", "restarts_max")


def check_workers(model: Section, found: Findings) -> None:
    """The settings of workers fit each other and the device."""
    device = model.maybe_text("device") or "cpu"
    precision = model.get("precision")
    workers = model.section("workers")
    devices = workers.get("devices") if workers is not None else None
    if precision is not None and precision.data == "int8" and (device != "cpu" or devices is not None):
        fix = "write `precision: bfloat16` for a GPU, or `device: cpu`"
        found.at(precision, f"{model.label}: `precision: int8` on a GPU", expected="int8 on a CPU only", fix=fix)
    on_gpu_process = workers is not None and workers.maybe_text("where") == "process" and (device != "cpu" or devices is not None)
    compiles = model.get("compile")
    if compiles is not None and model.flag("compile") and not on_gpu_process:
        what = f"{model.label}: `compile` without a GPU and a process"
        expected = "`compile` with `device: cuda` and `workers: {where: process}`, where it goes on beside the passes"
        found.at_name(compiles, what, expected=expected, fix="remove `compile`, or add both")
    if workers is None:
        return
    label = f"{model.label}: workers"
    in_process = workers.maybe_text("where") == "process"
    for name in OF_PROCESSES:
        value = workers.get(name)
        if value is not None and name in workers.given and not in_process:
            what = f"{label}: `{name}` without `where: process`"
            found.at_name(value, what, expected=f"`{name}` with processes only", fix=f"add `where: process`, or remove `{name}`")
    if devices is not None and in_process:
        _check_devices(model, devices, label, found)


def _check_devices(model: Section, devices: Value, label: str, found: Findings) -> None:
    names = [item.data for item in devices.data if isinstance(item.data, str)] if isinstance(devices.data, list) else []
    if len(set(names)) != len(names):
        fix = f"write `devices: [{', '.join(dict.fromkeys(names))}]` and `count: …`"
        found.at(devices, f"{label}: a device stands there twice", expected="each device once", fix=fix)
    if "device" in model.given:
        device = model.get("device")
        assert device is not None
        what = f"{label}: `devices` with `device`"
        found.at_name(device, what, expected="one of the two", fix="remove `device`, or `devices`")
