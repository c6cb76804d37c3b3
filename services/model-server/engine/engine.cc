#include "model-server/engine/engine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/thread.h"
#include "model-server/engine/request_error.h"

namespace model_server {
namespace {

EngineOptions WithinModel(EngineOptions options, const ModelFacts& facts) {
  if (facts.step_sequences_max > 0) {
    options.sequences_max = std::min(options.sequences_max, facts.step_sequences_max);
  }
  if (facts.step_tokens_max > 0) {
    options.step_tokens_max = std::min(options.step_tokens_max, facts.step_tokens_max);
  }
  options.tile = std::min(options.tile, options.step_tokens_max);
  return options;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Start(Model& model, const EngineOptions& options,
                                                      const base::Clock& clock,
                                                      EngineMetrics& metrics) {
  if (options.kv_blocks < 1) return absl::InvalidArgumentError("the KV cache needs a block");
  RETURN_IF_ERROR(model.AllocateCache(options.kv_blocks));
  std::unique_ptr<Engine> engine(
      new Engine(model, WithinModel(options, model.facts()), clock, metrics));
  engine->thread_ = base::StartThread(
      "engine", [raw = engine.get()](const std::stop_token& stop) { raw->Run(stop); });
  return engine;
}

Engine::Engine(Model& model, const EngineOptions& options, const base::Clock& clock,
               EngineMetrics& metrics)
    : model_(model),
      options_(options),
      clock_(clock),
      metrics_(metrics),
      context_tokens_max_(std::min(model.facts().context_tokens_max,
                                   options.kv_blocks * model.facts().kv_block_tokens)),
      core_(model, options, clock, metrics) {}

Engine::~Engine() {
  EndAll(absl::UnavailableError("the server has stopped"));
  thread_.request_stop();
  Wake();
}

absl::Status Engine::Check(GenerationRequest& request) const {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  if (prompt == 0) return InvalidField("prompt", "the prompt has no tokens");
  const int vocabulary = model_.facts().vocabulary;
  for (const int32_t token : request.prompt) {
    if (token < 0 || token >= vocabulary) {
      return InvalidField(
          "prompt", absl::StrFormat("token %d is outside the vocabulary of %d", token, vocabulary));
    }
  }
  int& max_tokens = request.sampling.max_tokens;
  const bool given = max_tokens > 0;
  if (prompt >= context_tokens_max_ || (given && prompt + max_tokens > context_tokens_max_)) {
    const std::string asked = given ? absl::StrFormat(" and asks for %d new ones", max_tokens) : "";
    return InvalidField("max_tokens",
                        absl::StrFormat("this model's context is %d tokens, but the prompt has "
                                        "%d%s: shorten the prompt or ask for fewer new tokens",
                                        context_tokens_max_, prompt, asked),
                        "context_length_exceeded");
  }
  if (!given) max_tokens = context_tokens_max_ - static_cast<int>(prompt);
  if (request.sampling.n < 1 || request.sampling.n > TokenStream::kChoicesMax ||
      request.sampling.n > options_.sequences_max) {
    return InvalidField(
        "n", absl::StrFormat("n must be 1 to %d",
                             std::min(TokenStream::kChoicesMax, options_.sequences_max)));
  }
  return absl::OkStatus();
}

// Refuses when the queue is full, and when the wait, as far as it can be foreseen, is too long.
absl::Status Engine::Refuse(int waiting) {
  const absl::Duration wait =
      absl::Nanoseconds(request_ns_.load()) * (waiting + 1) / options_.sequences_max;
  const bool full = waiting >= options_.queue_max;
  if (!full && wait <= options_.queue_wait_max) return absl::OkStatus();
  metrics_.RequestRejected(full ? "queue_full" : "queue_slow");
  const absl::Duration retry = std::clamp(wait, absl::Seconds(1), absl::Seconds(60));
  return WithDetails(
      absl::ResourceExhaustedError(absl::StrFormat(
          "%d requests wait already; try again in %d seconds", waiting,
          static_cast<int>(absl::ToDoubleSeconds(absl::Ceil(retry, absl::Seconds(1)))))),
      {.code = "rate_limit_exceeded", .retry_after = retry});
}

absl::Status Engine::Submit(GenerationRequest request, std::shared_ptr<TokenStream> stream) {
  RETURN_IF_ERROR(Check(request));
  const int waiting = waiting_.fetch_add(1);
  if (absl::Status refused = Refuse(waiting); !refused.ok()) {
    waiting_.fetch_sub(1);
    return refused;
  }
  absl::MutexLock lock(&mutex_);
  // Ids of requests that have ended go when a new one comes: the map holds no more than live ones
  // and a few dead.
  if (by_id_.size() > 2 * static_cast<size_t>(options_.queue_max)) {
    std::erase_if(by_id_, [](const auto& entry) { return entry.second.expired(); });
  }
  by_id_.emplace(request.id, stream);
  inbox_.push_back(
      {.request = std::move(request), .stream = std::move(stream), .arrived = clock_.Monotonic()});
  return absl::OkStatus();
}

bool Engine::Abort(const std::string& id) {
  bool found = false;
  {
    absl::MutexLock lock(&mutex_);
    const auto [first, last] = by_id_.equal_range(id);
    for (auto entry = first; entry != last; ++entry) {
      if (const std::shared_ptr<TokenStream> stream = entry->second.lock()) {
        stream->Abort();
        found = true;
      }
    }
    by_id_.erase(first, last);
    woken_ = true;
  }
  return found;
}

void Engine::EndAll(const absl::Status& error) {
  absl::MutexLock lock(&mutex_);
  end_all_ = error;
  woken_ = true;
}

void Engine::Wake() {
  absl::MutexLock lock(&mutex_);
  woken_ = true;
}

absl::Duration Engine::since_progress() const {
  if (idle_) return absl::ZeroDuration();
  return clock_.Monotonic() - absl::Nanoseconds(progress_ns_.load());
}

void Engine::TakeIncoming(bool may_wait) {
  std::vector<Incoming> incoming;
  absl::Status end_all;
  {
    absl::MutexLock lock(&mutex_);
    if (may_wait) {
      const auto has_news = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return woken_ || !inbox_.empty();
      };
      // Deadlines and slow readers end without news; an idle engine needs no such look.
      const absl::Duration look = core_.idle() ? absl::InfiniteDuration() : absl::Milliseconds(20);
      mutex_.AwaitWithTimeout(absl::Condition(&has_news), look);
    }
    woken_ = false;
    incoming.swap(inbox_);
    end_all = std::exchange(end_all_, absl::OkStatus());
  }
  for (Incoming& one : incoming) {
    core_.Add(std::move(one.request), std::move(one.stream), one.arrived);
  }
  if (!end_all.ok()) core_.EndAll(end_all);
}

void Engine::Publish(bool idle) {
  {
    absl::MutexLock lock(&mutex_);
    waiting_ = core_.requests_waiting() + static_cast<int>(inbox_.size());
  }
  running_ = core_.requests_running();
  request_ns_ = absl::ToInt64Nanoseconds(core_.request_seconds());
  predicted_step_ns_ = absl::ToInt64Nanoseconds(core_.predicted_step());
  progress_ns_ = absl::ToInt64Nanoseconds(clock_.Monotonic());
  idle_ = idle;
}

void Engine::Run(const std::stop_token& stop) {
  bool computed = false;
  while (true) {
    if (!computed) Publish(true);
    TakeIncoming(!computed);
    if (stop.stop_requested()) break;
    Publish(core_.idle());
    computed = core_.Step();
  }
  core_.EndAll(absl::UnavailableError("the server has stopped"));
}

}  // namespace model_server
