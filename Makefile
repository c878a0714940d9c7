# Two commands: `make demo` and `make test`. Both need git, make and Python 3.11 or newer, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INPUTS := pyproject.toml constraints.txt
# Workers that spin while they wait take the cores from everybody beside them.
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test check dist native native-sanitize native-attack clean

demo: $(VENV)/demo
	$(BIN)/physedge demo

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not soak and not gpu"

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

$(VENV)/demo: $(INPUTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[export,camera]'
	touch $@

$(VENV)/dev: $(INPUTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/demo

# The wheel that a device or another machine installs: pip install dist/physedge-*.whl
dist:
	rm -rf dist
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir dist .

# The C library: built with CMake, held against the Python runtime. .ci/debian-packages lists what it needs.
native: $(VENV)/dev
	PHYSEDGE_NO_SKIPS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/native

# Every misuse of the C library under the address, undefined-behaviour and thread sanitizers, and the fuzzers for a
# minute and a third of one, in builds of their own.
native-attack: $(VENV)/dev
	PHYSEDGE_NO_SKIPS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile tests/native/test_native_misuse.py tests/native/test_native_fuzz.py

# The same tests with address and undefined-behaviour sanitizers in the library and its programs; these are loaded in front of
# Python too, which itself leaves memory behind at its end. The fuzzer has a build of its own, with sanitizers.
native-sanitize: $(VENV)/dev
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 TBB_ENABLE_SANITIZERS=1 \
	PHYSEDGE_NATIVE_SANITIZE=address,undefined PHYSEDGE_NO_SKIPS=1 OMP_NUM_THREADS=1 \
	$(BIN)/python -m pytest tests/native --ignore tests/native/test_native_fuzz.py --ignore tests/native/test_native_arm.py

clean:
	rm -rf build runs $(VENV)
