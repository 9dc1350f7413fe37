"""Honest callers by the package openai: openai_honest.py BASE_URL TOKEN FILE. Each line of the
file is asked, every third one as a stream, and gets the model's own answer."""

import sys

import openai

base, token, path = sys.argv[1:]
client = openai.OpenAI(base_url=base + "/v1", api_key=token, max_retries=0, timeout=20)
with open(path) as f:
    lines = [line.rstrip("\n") for line in f if line.strip() and not line.startswith("#")]
for n, line in enumerate(lines):
    asked = [{"role": "system", "content": "You help people with their work."}, {"role": "user", "content": line}]
    if n % 3 == 0:
        stream = client.chat.completions.create(model="m", messages=asked, stream=True)
        got = "".join(e.choices[0].delta.content or "" for e in stream if e.choices)
    else:
        got = client.chat.completions.create(model="m", messages=asked).choices[0].message.content
    assert got == "hello", (line, got)
print("answered:", len(lines))
