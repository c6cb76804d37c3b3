// A model server from its start to its end: all parts and their order.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

#include "model-server/rpc/backend.h"

namespace model_server {

struct ServerOptions {
  std::string model;
  std::vector<std::string> served_names;
  std::string bind_address = "127.0.0.1";
  int grpc_port = 8001;
  std::string grpc_socket;
  bool reflection = false;
  int ops_port = 8002;
  int threads = 0;
  std::string isa = "auto";
  int max_model_len = 0;
  int64_t kv_cache_bytes = 0;
  int kv_blocks = 0;
  int sequences_max = 16;
  int queue_max = 1024;
  absl::Duration request_deadline_default = absl::Seconds(600);
  DrainTimes drain{.grace = absl::Seconds(15), .timeout = absl::Seconds(300)};
  std::string metrics_alias = "vllm";
  std::string version;
};

// Blocks until the server has been drained (SIGTERM, SIGINT or a Drain call). Returns the exit
// code: 0 drained, 3 does not fit into memory, 4 bad or missing model files, 70 internal, 71
// stalled. Needs base::BlockStopSignals().
int Serve(const ServerOptions& options);

}  // namespace model_server
