// The engine: one thread that computes the tokens of all requests, step by step.

#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

#include "common/base/clock.h"
#include "model-server/engine/engine_core.h"
#include "model-server/engine/token_stream.h"

namespace model_server {

// Thread-safe.
class Engine {
 public:
  // Allocates the model's cache. The references must outlive the engine; from here on the model
  // belongs to its thread. kResourceExhausted when the cache has no room.
  static absl::StatusOr<std::unique_ptr<Engine>> Start(Model& model, const EngineOptions& options,
                                                       const base::Clock& clock,
                                                       EngineMetrics& metrics);
  // Ends all requests with kUnavailable.
  ~Engine();

  // Queues a request, whose tokens then come through `stream`. A max_tokens of 0 becomes the rest
  // of the context. Errors, after which nothing comes: kInvalidArgument for what can never run
  // (code context_length_exceeded), kResourceExhausted with a time to retry when the queue is full
  // or too slow.
  absl::Status Submit(GenerationRequest request, std::shared_ptr<TokenStream> stream);

  // Ends the requests of this id as if from outside; false when there is none.
  bool Abort(const std::string& id);

  // Ends all requests with this error.
  void EndAll(const absl::Status& error);

  // Looks at the requests' flags now rather than at the next step: after TokenStream::Cancel() or
  // when a reader has caught up.
  void Wake();

  int requests_waiting() const { return waiting_; }
  int requests_running() const { return running_; }
  int context_tokens_max() const { return context_tokens_max_; }
  const EngineOptions& options() const { return options_; }

  // Time since a step ended or there was nothing to do; zero while idle.
  absl::Duration since_progress() const;
  // How long the running step should take.
  absl::Duration predicted_step() const { return absl::Nanoseconds(predicted_step_ns_.load()); }

 private:
  struct Incoming {
    GenerationRequest request;
    std::shared_ptr<TokenStream> stream;
    absl::Duration arrived;
  };

  Engine(Model& model, const EngineOptions& options, const base::Clock& clock,
         EngineMetrics& metrics);
  absl::Status Check(GenerationRequest& request) const;
  absl::Status Refuse(int waiting);
  void Run(const std::stop_token& stop);
  void TakeIncoming(bool may_wait);
  void Publish(bool idle);

  Model& model_;
  const EngineOptions options_;
  const base::Clock& clock_;
  EngineMetrics& metrics_;
  const int context_tokens_max_;
  EngineCore core_;  // The engine thread's.

  absl::Mutex mutex_;
  std::vector<Incoming> inbox_ ABSL_GUARDED_BY(mutex_);
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_all_ ABSL_GUARDED_BY(mutex_);
  std::multimap<std::string, std::weak_ptr<TokenStream>> by_id_ ABSL_GUARDED_BY(mutex_);

  std::atomic<int> waiting_ = 0;  // In the inbox too.
  std::atomic<int> running_ = 0;
  std::atomic<int64_t> request_ns_ = 0;
  std::atomic<int64_t> predicted_step_ns_ = 0;
  std::atomic<int64_t> progress_ns_ = 0;
  std::atomic<bool> idle_ = true;
  std::jthread thread_;  // Last: it uses all of the above.
};

}  // namespace model_server
