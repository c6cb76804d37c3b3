"""The openai package against a gateway: python openai_client.py http://host:port/v1"""

import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0, timeout=60)

models = [model.id for model in client.models.list()]
assert models, "no models"

question = [{"role": "user", "content": "What is the capital of France?"}]
whole = client.chat.completions.create(
    model=models[0], messages=question, temperature=0, max_tokens=16)
text = whole.choices[0].message.content
assert "Paris" in text, text
assert whole.usage.completion_tokens > 0
assert whole.choices[0].finish_reason in ("stop", "length")

pieces, usage = [], None
for chunk in client.chat.completions.create(
        model=models[0], messages=question, temperature=0, max_tokens=16, stream=True,
        stream_options={"include_usage": True}):
    if chunk.choices and chunk.choices[0].delta.content:
        pieces.append(chunk.choices[0].delta.content)
    if chunk.usage:
        usage = chunk.usage
assert "".join(pieces) == text, ("".join(pieces), text)
assert usage.completion_tokens == whole.usage.completion_tokens

completion = client.completions.create(
    model=models[0], prompt="The capital of France is", temperature=0, max_tokens=4)
assert "Paris" in completion.choices[0].text, completion.choices[0].text

try:
    client.chat.completions.create(model="no-such-model", messages=question)
    raise AssertionError("an unknown model was accepted")
except openai.NotFoundError as error:
    assert error.body["code"] == "model_not_found", error.body
try:
    client.chat.completions.create(model=models[0], messages=question, temperature=3)
    raise AssertionError("temperature 3 was accepted")
except openai.BadRequestError as error:
    assert error.body["param"] == "temperature", error.body
print("all good")
