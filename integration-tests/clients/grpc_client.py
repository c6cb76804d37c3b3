"""A client made from the protos alone: python grpc_client.py PROTO_FOLDER HOST:PORT"""

import sys
import tempfile

from grpc_tools import protoc

folder = tempfile.mkdtemp()
PROTO = sys.argv[1] + "/kaito/inference/v1/inference.proto"
assert protoc.main(["protoc", f"-I{sys.argv[1]}", f"--python_out={folder}",
                    f"--grpc_python_out={folder}", PROTO]) == 0
sys.path.insert(0, folder)

import grpc  # noqa: E402
from kaito.inference.v1 import inference_pb2 as pb  # noqa: E402
from kaito.inference.v1 import inference_pb2_grpc as rpc  # noqa: E402

channel = grpc.insecure_channel(sys.argv[2])
inference, admin = rpc.InferenceStub(channel), rpc.ModelAdminStub(channel)

info = admin.GetModelInfo(pb.GetModelInfoRequest(), timeout=10)
assert info.architecture and info.vocabulary > 0, info
facts = admin.GetServerFacts(pb.GetServerFactsRequest(), timeout=10)
assert facts.kv_blocks_total > 0, facts

tokens = inference.Tokenize(pb.TokenizeRequest(text="Hello world"), timeout=10)
back = inference.Detokenize(pb.DetokenizeRequest(ids=tokens.ids), timeout=10)
assert back.text == "Hello world", back.text

greedy = pb.Sampling(temperature=0, max_tokens=8)
chunks = list(inference.Generate(
    pb.GenerateRequest(text="The capital of France is", sampling=greedy), timeout=30))
assert chunks[0].HasField("accepted")
assert "Paris" in "".join(chunk.text for chunk in chunks)
assert chunks[-1].HasField("finish") and chunks[-1].usage.completion_tokens == 8, chunks[-1]

chat = list(inference.Chat(pb.ChatRequest(
    messages=[pb.Message(role="user", content="What is the capital of France?")],
    sampling=pb.Sampling(temperature=0, max_tokens=16)), timeout=30))
assert "Paris" in "".join(chunk.content for chunk in chat)

stream = inference.Generate(pb.GenerateRequest(
    text="Once upon a time", sampling=pb.Sampling(max_tokens=1000, ignore_eos=True)), timeout=30)
next(stream)
stream.cancel()
try:
    inference.Generate(pb.GenerateRequest(model="no-such-model", text="x"), timeout=10).next()
    raise AssertionError("an unknown model was accepted")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.NOT_FOUND, error
state = next(iter(admin.WatchState(pb.WatchStateRequest(), timeout=10)))
assert state.state == pb.ServerState.STATE_SERVING, state
print("all good")
