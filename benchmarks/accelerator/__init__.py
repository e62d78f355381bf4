"""Judge the package on this machine's accelerator, with the active backend, in less than eight minutes.

    KERAS_BACKEND=torch python -m benchmarks.accelerator [--part facts,kernels] [--quick] [--again]

Every part is a process with a time limit of its own. Results are appended to a file of JSON lines as they come, and a
page in Markdown is made from it at the end. The command continues after a kill: parts that have ended well are not
repeated, unless `--again` asks for it. A part that fails, or that runs out of time, is reported as that, and the others
go on. The exit status is 1 if a check of `correctness` or `parity` failed, or if one of them did not come to its end.

On a CPU every size is small. `--quick` makes fewer checks and measurements, also on an accelerator.
"""
