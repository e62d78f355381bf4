"""How many kernels a training step and a decoding step launch on PyTorch, and the ten that take longest."""

import numpy as np
from timing import BACKEND, has_events, wait

from benchmarks.accelerator.hardware import is_small
from benchmarks.accelerator.models import LARGE_BATCH, SMALL_BATCH, batch_of, model_of, trainer, training_policy

PRESET = "griffin_100m"
LONGEST = 10
#: Tokens that make PyTorch record a step, and of the two calls whose difference counts.
WARM_UP, FEW, MANY = 40, 4, 12


def run(record):
    """Profile both steps."""
    if BACKEND != "torch":
        record.note(f"It profiles PyTorch: on {BACKEND} nothing is measured.")
        return
    if not has_events():
        record.note("On a CPU no kernel is launched: the numbers are of PyTorch's own operations.")
    small = is_small(record)
    language_model = model_of(None if small else PRESET, training_policy())
    model = trainer(language_model, jit_compile=False)
    batch = batch_of(language_model.config.vocabulary_size, SMALL_BATCH if small else LARGE_BATCH)
    for _ in range(2):
        model.train_on_batch(*batch)
    write(record, "training step, eager", launches(model.train_on_batch, *batch), 1)

    prompt = np.ones((1, 4), "int32")
    language_model.generate(prompt, WARM_UP)
    few, many = (launches(language_model.generate, prompt, steps) for steps in (FEW, MANY))
    write(record, "decoding step, recorded", difference(many, few), MANY - FEW)


def launches(function, *arguments) -> dict[str, list]:
    """How often each kernel is launched in a call, and its microseconds altogether."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    on_device = has_events()
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_device]
    with profile(activities=activities) as profiled:
        wait(function(*arguments))
    found = {}
    for event in profiled.events():
        is_kernel = event.device_type == DeviceType.CUDA and not event.is_user_annotation
        is_kernel = is_kernel and not event.name.startswith(("Memcpy", "Memset"))
        if is_kernel if on_device else event.cpu_parent is None:
            count_and_time = found.setdefault(event.name, [0, 0.0])
            count_and_time[0] += 1
            count_and_time[1] += event.time_range.elapsed_us()
    return found


def difference(many, few):
    """What the longer call launches more often."""
    less = {name: few.get(name, (0, 0.0)) for name in many}
    more = {name: [a - b for a, b in zip(many[name], less[name], strict=True)] for name in many}
    return {name: values for name, values in more.items() if values[0] > 0}


def write(record, step, found, steps):
    """The sums, and the longest kernels."""
    if not found:
        record.note(f"Of a {step} the profiler has seen no kernel; in a container it may not be permitted to look.")
        return
    count, microseconds = (sum(values) for values in zip(*found.values(), strict=True))
    record.row("Launches", step=step, kernels=count / steps, **{"kernels' ms": microseconds / steps / 1e3})
    for name, (count, microseconds) in sorted(found.items(), key=lambda item: -item[1][1])[:LONGEST]:
        cells = {"kernel": f"`{name[:80]}`", "launches": count / steps, "ms": microseconds / steps / 1e3}
        record.row(f"The longest of a {step}", **cells)
