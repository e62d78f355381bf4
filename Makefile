# make quickstart   train a small Griffin on this machine's Python standard library and sample from it
# make test         run every test on JAX, PyTorch and TensorFlow, and inference tests on NumPy
# make parity       compare logits, greedy tokens and files with transformers and DeepMind's recurrentgemma
# make clients      ask a server of python_tiny by openai's and LangChain's clients
# make ray          train in workers of Ray, one of which is killed
# make lint         check format, lint and types
# make bench        run the benchmarks, into benchmarks/results/
# make experiments  repeat the paper's experiments at a small size, into experiments/results/
# make accelerator  judge kernels and models on this GPU or TPU in eight minutes, into runs/accelerator
# make notebooks    execute every notebook's source, into the .ipynb next to it
# make notebooks-small  run every notebook's source with small settings, two on each backend; write nothing
# make demo         build a web page that runs python_tiny in the browser, into runs/demo; needs npm
# make figures      draw the documentation's figures, into docs/figures
# make docs         build the documentation, into site/
# make compatibility  run a short set of tests with the oldest and the newest Keras, JAX, PyTorch and TensorFlow
# make wheel        run README's examples with the wheel, in an empty environment with one backend
#
# Each target creates .venv and installs missing dependencies. parity also creates .venv-parity, for the packages that
# it compares with, clients .venv-clients, and ray .venv-ray; compatibility has .venv-oldest and .venv-newest alone;
# wheel uses a temporary environment.
# PYTHON sets the interpreter, BACKEND the backend, WHEEL an existing wheel. OUTPUT sets the folder of quickstart, which
# replaces runs/quickstart, the default, and refuses a named folder that holds a run.

PYTHON ?= python3
BACKEND ?= jax
MINUTES ?= 3
OUTPUT ?= runs/quickstart
# What the user has set.
GIVEN_PLATFORMS := $(JAX_PLATFORMS)
# JAX computes on the CPU here. The TPU compiler, installed for the tests, would make it look for a TPU.
export JAX_PLATFORMS ?= cpu
# A model that trains in three minutes on two cores.
SIZE = --vocabulary 1024 --width 128 --layers 3 --heads 2 --window 64 --sequence-length 128 --batch-size 16 --learning-rate 4e-3
# A second quickstart replaces the first one, but no run in a folder that the user names.
AGAIN = $(if $(filter file,$(origin OUTPUT)),--overwrite)

ifeq ($(filter jax torch tensorflow,$(BACKEND)),)
$(error BACKEND must be jax, torch or tensorflow. Got $(BACKEND))
endif

install = @$(PYTHON) scripts/environment.py
run = .venv/bin/python

.PHONY: help quickstart test parity clients lint format bench experiments accelerator notebooks notebooks-small figures docs wheel compatibility demo ray

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

quickstart:
	$(install) $(BACKEND) viz tokenizers
	KERAS_BACKEND=$(BACKEND) $(run) -m keras_griffin train --minutes $(MINUTES) --output $(OUTPUT) $(AGAIN) $(SIZE)

test:
	$(install) jax torch tensorflow viz export dev docs tpu-check gpu-check
	$(run) tests/run_backends.py $(ARGUMENTS)

parity:
	$(install) jax torch tensorflow orbax
	$(install) --into .venv-parity parity
	$(run) -m parity.run $(ARGUMENTS)

clients:
	$(install) $(BACKEND) serve tokenizers
	$(install) --into .venv-clients clients $(if $(findstring --replicas,$(ARGUMENTS)),replicas)
	KERAS_BACKEND=$(BACKEND) .venv-clients/bin/python scripts/try_clients.py $(ARGUMENTS)

ray:
	$(install) --into .venv-ray jax torch compatibility ray
	KERAS_BACKEND=jax .venv-ray/bin/python -m pytest -q tests/distribution/test_ray.py
	KERAS_BACKEND=torch .venv-ray/bin/python -m pytest -q tests/distribution/test_ray.py

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

experiments:
	$(install) $(BACKEND) viz tokenizers experiments
	KERAS_BACKEND=$(BACKEND) $(run) -m experiments $(ARGUMENTS)

# JAX looks for the device itself. Where the TPU compiler is installed without a TPU, JAX_PLATFORMS=cuda names it.
accelerator: JAX_PLATFORMS = $(GIVEN_PLATFORMS)
accelerator:
	$(install) $(BACKEND)
	KERAS_BACKEND=$(BACKEND) $(run) -m benchmarks.accelerator $(ARGUMENTS)

notebooks:
	$(install) jax torch tensorflow dev examples
	$(run) notebooks/execute.py $(ARGUMENTS)

notebooks-small:
	$(install) jax torch tensorflow dev examples
	$(run) notebooks/run_small.py $(ARGUMENTS)

figures:
	$(install) $(BACKEND) viz
	PYTHONPATH=. KERAS_BACKEND=$(BACKEND) $(run) scripts/figures.py

demo:
	$(install) torch export tokenizers
	PYTHONPATH=. KERAS_BACKEND=torch $(run) scripts/demo.py $(ARGUMENTS)

docs:
	$(install) docs
	$(run) scripts/notebook_pages.py
	NO_MKDOCS_2_WARNING=1 $(run) -m mkdocs build --strict

compatibility:
	@$(PYTHON) scripts/compatibility.py $(ARGUMENTS)

wheel:
	@$(PYTHON) scripts/try_wheel.py $(BACKEND) $(WHEEL)
