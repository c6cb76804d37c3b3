// Requests, sequences and steps: the engine without its thread.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

#include "common/base/clock.h"
#include "model-server/engine/block_pool.h"
#include "model-server/engine/engine_metrics.h"
#include "model-server/engine/sampler.h"
#include "model-server/engine/sampling.h"
#include "model-server/engine/scheduler.h"
#include "model-server/engine/step_cost.h"
#include "model-server/engine/token_stream.h"
#include "model-server/model/model.h"

namespace model_server {

struct EngineOptions {
  int kv_blocks = 0;               // Blocks of the KV cache; at least 1.
  int sequences_max = 16;          // That compute at the same time. More wait in the queue.
  int queue_max = 1024;            // Requests that may wait; the next one is refused.
  int step_tokens_max = 512;       // Tokens in one step.
  int tile = 48;                   // Chunks of prompts are multiples of it.
  int preemptions_max = 3;         // Of one sequence, while others are left.
  int answer_blocks_tokens = 256;  // Of an answer, so much must have room at admission.
  absl::Duration token_gap_target = absl::Milliseconds(250);  // A prompt's chunk stretches a step
                                                              // of others to no more than this.
  absl::Duration pause_max = absl::Seconds(30);               // Of a reader that is behind.
  absl::Duration queue_wait_max = absl::Seconds(60);          // Predicted; beyond: refused at once.
  absl::Duration priority_step = absl::Seconds(10);  // Of waiting improves the priority by one.

  std::vector<int32_t> end_tokens;  // That end an answer.
  int tokens_used = 0;              // Of the vocabulary; 0: all. The rest is padding.
};

// One prompt and how to continue it; checked before.
struct GenerationRequest {
  std::string id;
  std::vector<int32_t> prompt;  // At least one; with max_tokens no longer than context and cache.
  Sampling sampling;
  int priority = 0;  // Lower goes first.
  std::string cache_salt;
  absl::Duration deadline = absl::InfiniteDuration();  // On the monotonic clock.
};

// Owns the model's cache and all requests. Owned by one thread.
class EngineCore {
 public:
  // The references must outlive it; `model` has its cache already.
  EngineCore(Model& model, const EngineOptions& options, const base::Clock& clock,
             EngineMetrics& metrics);
  ~EngineCore();

  void Add(GenerationRequest request, std::shared_ptr<TokenStream> stream, absl::Duration arrived);

  // Ends what was cancelled or is late, plans, computes, samples, hands out. False when there was
  // nothing to compute.
  bool Step();

  // Ends all requests: readers get this error.
  void EndAll(const absl::Status& error);

  int requests_waiting() const;
  int requests_running() const;
  bool idle() const { return requests_.empty(); }
  // Mean time that a request holds its place; zero until one has finished.
  absl::Duration request_seconds() const { return absl::Seconds(request_seconds_); }
  absl::Duration predicted_step() const { return predicted_step_; }
  const BlockPool& pool() const { return pool_; }

 private:
  struct Request;
  struct Sequence;

  void EndUnwanted(absl::Duration now);
  void UpdatePauses(absl::Duration now);
  SchedulerState MakeState(absl::Duration now) const;
  StepBudget MakeBudget() const;
  void Commit(const StepPlan& plan, absl::Duration now);
  void Preempt(Sequence& sequence);
  void Admit(Sequence& sequence, absl::Duration now);
  void RunModel(const StepPlan& plan);
  void PublishFullBlocks(Sequence& sequence);
  int SampleRows(const StepPlan& plan, absl::Duration now);
  void Branch(Sequence& leader);
  bool SampleOne(Sequence& sequence, std::span<const float> logits, absl::Duration now);
  FinishReason FinishOf(const Sequence& sequence, int32_t token) const;
  void Finish(Sequence& sequence, FinishReason reason, const absl::Status& error,
              absl::Duration now);
  void EndRequest(Request& request, FinishReason reason, const absl::Status& error,
                  absl::Duration now);
  void ReleaseBlocks(Sequence& sequence);
  void RemoveFinished();
  void NotifyReaders();
  void ReportLoad();
  Sequence& Find(int id) const { return *by_id_.at(id); }

  Model& model_;
  const EngineOptions options_;
  const base::Clock& clock_;
  EngineMetrics& metrics_;
  BlockPool pool_;
  Sampler sampler_;
  StepCost cost_;
  std::vector<std::unique_ptr<Request>> requests_;
  std::map<int, Sequence*> by_id_;  // Those that are not finished.
  std::vector<StepSequence> step_;
  std::vector<float> logits_;
  int next_id_ = 0;
  int64_t next_arrival_ = 0;
  double request_seconds_ = 0;
  absl::Duration predicted_step_ = absl::ZeroDuration();
};

}  // namespace model_server
