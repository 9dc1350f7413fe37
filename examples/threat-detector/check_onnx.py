"""Compare ONNX Runtime with answers that Pavise gave.

    python3 check_onnx.py model.onnx answers.json

answers.json holds {"flow": rows, "probabilities": rows}. The model must pass the
ONNX checker with full shape inference, and no probability may differ by more
than 1e-5. Needs onnx, onnxruntime and numpy. TestONNXRuntime writes the answers.
"""

import json
import sys

import numpy
import onnx
import onnxruntime

LARGEST = 1e-5


def main(model_path, answers_path):
    onnx.checker.check_model(onnx.load(model_path), full_check=True)
    with open(answers_path) as f:
        answers = json.load(f)
    rows = numpy.array(answers["flow"], dtype=numpy.float32)
    ours = numpy.array(answers["probabilities"], dtype=numpy.float32)
    session = onnxruntime.InferenceSession(model_path, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(["probabilities"], {"flow": rows})
    difference = float(numpy.abs(ours - theirs).max())
    print(f"onnxruntime {onnxruntime.__version__}: {len(rows)} rows, largest difference {difference:.2e}")
    if not difference <= LARGEST:
        sys.exit(f"probabilities differ by {difference:.2e}, more than {LARGEST:.0e}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
