# make quickstart   train a small Griffin on this machine's own Python library, and let it write
# make test         every test on JAX, PyTorch and TensorFlow, and inference on NumPy
# make parity       logits, greedy tokens and files beside those of transformers and DeepMind's recurrentgemma
# make lint         format, lint and types
# make bench        the benchmarks, into benchmarks/results/
# make notebooks    every notebook's source, executed, into the .ipynb beside it
# make notebooks-small  every notebook's source with small settings, the first four on each backend; writes nothing
# make figures      the documentation's figures, into docs/figures
# make docs         the documentation, into site/
# make wheel        README's examples with the wheel, in an empty environment with one backend
#
# Each makes .venv (parity also .venv-parity, for the packages it compares with; wheel one that it removes again) and
# installs what it needs when missing.
# PYTHON names the interpreter, BACKEND the backend, WHEEL a wheel that is built already.

PYTHON ?= python3
BACKEND ?= jax
MINUTES ?= 3
OUTPUT ?= runs/quickstart
# The environments' JAX computes on the CPU. With the compiler of TPUs beside it, for the tests, it would look for one.
export JAX_PLATFORMS ?= cpu
# A model for which three minutes on two cores are enough.
SIZE = --width 128 --layers 3 --heads 2 --window 64 --sequence-length 128 --batch-size 16 --learning-rate 4e-3

ifeq ($(filter jax torch tensorflow,$(BACKEND)),)
$(error BACKEND must be jax, torch or tensorflow. Got $(BACKEND))
endif

install = @$(PYTHON) scripts/environment.py
run = .venv/bin/python

.PHONY: help quickstart test parity lint format bench notebooks notebooks-small figures docs wheel

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

quickstart:
	$(install) $(BACKEND) viz
	KERAS_BACKEND=$(BACKEND) $(run) -m keras_griffin train --minutes $(MINUTES) --output $(OUTPUT) $(SIZE)

test:
	$(install) jax torch tensorflow viz dev docs examples tpu-check gpu-check
	$(run) tests/run_backends.py $(ARGUMENTS)

parity:
	$(install) jax torch tensorflow orbax
	$(install) --into .venv-parity parity
	$(run) -m parity.run $(ARGUMENTS)

lint:
	$(install) dev
	$(run) -m ruff format --check .
	$(run) -m ruff check .
	$(run) -m mypy

format:
	$(install) dev
	$(run) -m ruff format .
	$(run) -m ruff check --fix .

bench:
	$(install) jax torch tensorflow viz
	$(run) benchmarks/run.py $(ARGUMENTS)

notebooks:
	$(install) jax torch tensorflow orbax dev examples
	$(run) notebooks/execute.py $(ARGUMENTS)

notebooks-small:
	$(install) jax torch tensorflow orbax dev examples
	$(run) notebooks/run_small.py $(ARGUMENTS)

figures:
	$(install) $(BACKEND) viz
	PYTHONPATH=. KERAS_BACKEND=$(BACKEND) $(run) scripts/figures.py

docs:
	$(install) docs
	$(run) scripts/notebook_pages.py
	NO_MKDOCS_2_WARNING=1 $(run) -m mkdocs build --strict

wheel:
	@$(PYTHON) scripts/try_wheel.py $(BACKEND) $(WHEEL)
