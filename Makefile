# Two commands: `make demo` and `make test`. Both need git, make and Python 3.11 or newer, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INPUTS := pyproject.toml constraints.txt
# Workers that spin while they wait take the cores from everybody beside them.
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test check native native-sanitized clean

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

# The C library: built with CMake, held against the Python runtime. .ci/debian-packages lists what it needs.
native: $(VENV)/dev
	PHYSEDGE_NO_SKIPS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/native

# The same tests with address and undefined-behaviour sanitizers in the library and its programs.
SANITIZED := build/native-sanitized
native-sanitized: $(VENV)/dev
	cmake -S runtime/native -B $(SANITIZED) -DCMAKE_BUILD_TYPE=Debug -DPHYSEDGE_SANITIZE=address,undefined \
	  -DOpenVINO_DIR=$$($(BIN)/python -c 'import openvino, pathlib; print(pathlib.Path(openvino.__file__).parent / "cmake")')
	cmake --build $(SANITIZED) --parallel 2
	LD_PRELOAD=$$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0:alloc_dealloc_mismatch=0 OMP_NUM_THREADS=1 \
	  PHYSEDGE_NATIVE_BUILD=$(SANITIZED) PHYSEDGE_SANITIZED=1 $(BIN)/python -m pytest tests/native

clean:
	rm -rf build runs $(VENV)
