// What the gRPC services answer with, once it is loaded.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/llm/chat_template.h"
#include "common/llm/tokenizer.h"
#include "model-server/engine/engine.h"
#include "model-server/model/model.h"
#include "model-server/ops/server_state.h"
#include "model-server/text/prompt_builder.h"

namespace model_server {

// A loaded model and all that serves it. Does not change; the parts are thread-safe.
struct Backend {
  std::vector<std::string> served_names;  // The first is the one that answers carry.
  std::string fingerprint;                // "fp_" and ten hexadecimal digits.
  absl::Time created;
  ModelFacts facts;
  const llm::Tokenizer* tokenizer = nullptr;
  const PromptBuilder* prompts = nullptr;
  Engine* engine = nullptr;
  std::vector<std::pair<std::string, uint64_t>> memory;         // Bytes by owner.
  std::vector<std::pair<std::string, absl::Duration>> startup;  // Time by phase.

  bool Serves(const std::string& name) const {
    if (name.empty()) return true;
    for (const std::string& served : served_names) {
      if (served == name) return true;
    }
    return false;
  }
};

struct DrainTimes {
  absl::Duration grace;    // Late arrivals are still served for so long.
  absl::Duration timeout;  // Running requests are cut off after so long.
};

// What all services share. Thread-safe.
class ServiceContext {
 public:
  ServiceContext(ServerState& state, const base::Clock& clock) : state(state), clock(clock) {}

  // nullptr until the model is loaded.
  std::shared_ptr<const Backend> backend() const {
    absl::MutexLock lock(&mutex_);
    return backend_;
  }
  void set_backend(std::shared_ptr<const Backend> backend) {
    absl::MutexLock lock(&mutex_);
    backend_ = std::move(backend);
  }

  ServerState& state;
  const base::Clock& clock;
  std::string version;
  // False: new requests are refused although the model is there.
  std::atomic<bool> admitting = true;
  // Streams that are open; beyond the limit new ones are refused before anything is done for them.
  std::atomic<int> calls_open = 0;
  int calls_max = 2048;
  absl::Duration deadline_default = absl::Seconds(600);
  absl::Duration deadline_max = absl::Seconds(3600);
  DrainTimes drain_default{.grace = absl::Seconds(15), .timeout = absl::Seconds(300)};
  // Begins what SIGTERM begins.
  std::function<void(const DrainTimes&)> begin_drain = [](const DrainTimes&) {};

 private:
  mutable absl::Mutex mutex_;
  std::shared_ptr<const Backend> backend_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace model_server
