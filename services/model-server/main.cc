// The binary `model-server`: one model, served over gRPC.

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"

#include "common/base/flags.h"
#include "common/base/log.h"
#include "common/base/signals.h"
#include "model-server/server.h"

namespace {

constexpr int kBadFlags = 2;

struct Flags {
  model_server::ServerOptions options;
  std::string log_level = "info";
  std::string log_format = "json";
};

void Define(base::FlagSet& set, Flags& flags) {
  model_server::ServerOptions& options = flags.options;
  set.Add("model", &options.model, "a .gguf file, or a folder that holds exactly one");
  set.Add("served_model_name", &options.served_names,
          "names under which it is served; the first one is in answers; default: the file's name");
  set.Add("bind_address", &options.bind_address, "address of both ports");
  set.Add("grpc_port", &options.grpc_port, "port of gRPC; 0: any free one");
  set.Add("grpc_socket", &options.grpc_socket, "also serve gRPC on this Unix socket");
  set.Add("grpc_reflection", &options.reflection, "answer gRPC reflection");
  set.Add("ops_port", &options.ops_port, "port of /livez, /readyz and /metrics; 0: any free one");
  set.Add("threads", &options.threads, "threads that compute; 0: the cores of the cgroup's quota");
  set.Add("isa", &options.isa, "instruction set: auto, avx512-vnni, avx2 or plain");
  set.Add("max_model_len", &options.max_model_len,
          "longest prompt and answer together; 0: what the model was trained for");
  set.Add("kv_cache_bytes", &options.kv_cache_bytes,
          "memory for keys and values; 0: eight full contexts, at most a quarter of what is free");
  set.Add("kv_blocks", &options.kv_blocks, "the same as a number of blocks; 0: by bytes");
  set.Add("sequences_max", &options.sequences_max, "answers that are computed at the same time");
  set.Add("queue_max", &options.queue_max, "requests that may wait; more are refused");
  set.Add("request_deadline_default", &options.request_deadline_default,
          "for calls that have no deadline");
  set.Add("drain_grace", &options.drain.grace,
          "after SIGTERM, how long new requests are still served");
  set.Add("drain_timeout", &options.drain.timeout,
          "after SIGTERM, how long running requests may take");
  set.Add("metrics_alias", &options.metrics_alias, "vllm: also under vLLM's names; or none");
  set.Add("log_level", &flags.log_level, "debug, info, warning or error");
  set.Add("log_format", &flags.log_format, "json or text");
  set.AddExample("model-server --model=SmolLM2-135M-Instruct.Q4_1.gguf");
  set.AddExample("model-server --model=/workspace/weights --served_model_name=smollm2 --threads=2");
}

int BadFlag(std::string_view message) {
  std::fputs(absl::StrFormat("model-server: %s\n", message).c_str(), stderr);
  return kBadFlags;
}

}  // namespace

int main(int argc, char** argv) {
  base::BlockStopSignals();
  Flags flags;
  base::FlagSet set("model-server", "Serves one language model over gRPC.");
  Define(set, flags);
  const std::vector<std::string> rest = set.ParseOrExit(argc, argv, KAITO_VERSION);
  if (!rest.empty()) {
    return BadFlag(absl::StrFormat("unexpected argument \"%s\"; see --help", rest[0]));
  }
  if (flags.options.model.empty()) return BadFlag("--model is missing: name a .gguf file");
  if (flags.log_format != "json" && flags.log_format != "text") {
    return BadFlag("--log_format is json or text");
  }
  if (flags.options.metrics_alias != "vllm" && flags.options.metrics_alias != "none") {
    return BadFlag("--metrics_alias is vllm or none");
  }
  base::InitLog(
      {.level = base::ParseLogLevel(flags.log_level),
       .format = flags.log_format == "text" ? base::LogFormat::kText : base::LogFormat::kJson,
       .logger = "model-server"});
  for (const auto& [name, value] : set.Values()) {
    base::LogDebug("flag", {{"name", name}, {"value", value}});
  }
  flags.options.version = KAITO_VERSION;
  return model_server::Serve(flags.options);
}
