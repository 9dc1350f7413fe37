"""A model of MLServer: softmax of two numbers times a matrix."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

WEIGHTS = np.array([[1, 0, -1], [0, 2, 0]], dtype=np.float32)


class Risk(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        z = np.asarray(x, dtype=np.float32) @ WEIGHTS
        e = np.exp(z - z.max(axis=1, keepdims=True))
        scores = (e / e.sum(axis=1, keepdims=True)).astype(np.float32)
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=[NumpyCodec.encode_output("scores", scores)])
