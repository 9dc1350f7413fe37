"""What a program with the package openai gets of a route that rotates its vectors.

Usage: openai_embeddings.py BASE_URL TOKEN
"""

import math
import sys

import openai

base, token = sys.argv[1:]
client = openai.OpenAI(base_url=base + "/v1", api_key=token, max_retries=0, timeout=20)

packed = client.embeddings.create(model="m", input=["a", "b"])  # asks for base64, and unpacks it
plain = client.embeddings.create(model="m", input=["a", "b"], encoding_format="float")
for one, other in zip(packed.data, plain.data):
    assert len(one.embedding) == 2 and one.embedding != [1.0, -2.0], one
    assert all(abs(a - b) < 1e-6 for a, b in zip(one.embedding, other.embedding)), (one, other)
    assert abs(math.hypot(*one.embedding) - math.hypot(1, 2)) < 1e-5, one
raw = client.embeddings.with_raw_response.create(model="m", input="a")
assert "rotated=1" in raw.headers["pavise-fields"], raw.headers
print("works: rotated embeddings")
