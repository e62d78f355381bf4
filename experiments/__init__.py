"""The paper's experiments at a size that two CPU cores can train.

    python -m experiments                                  every experiment
    python -m experiments selective_copying --scale smoke  one of them, in seconds

The benchmarks measure time; these measure learning, but for `sampling`, which is run alone. An experiment names its
claims, each a sentence of the paper and a function of the results, before its first run. The report then prints a
verdict for every claim, whatever it is.

A finished run is not repeated, and an interrupted one resumes. The committed results count as finished, unless
`--output` names another folder. Processes started with the same command share the work, since each takes a run that no
other has:

    taskset -c 0 python -m experiments & taskset -c 1 python -m experiments
"""

import keras_griffin  # noqa: F401  Chooses a backend that is installed; Keras would take TensorFlow.
