#include "model-server/gateway/answer_session.h"

#include <algorithm>
#include <utility>

namespace model_server::gateway {
namespace pb = kaito::inference::v1;

namespace {

// A slow client: above this its text is gathered instead of written as one event per token…
constexpr size_t kUnsentMax = 64 << 10;
// …and with so much gathered, the model server is told to wait.
constexpr size_t kPendingMax = 64 << 10;
constexpr absl::Duration kPingAfter = absl::Seconds(15);

size_t SizeOf(const Piece& piece) {
  return piece.text.size() + piece.reasoning.size() + 64 * piece.logprobs.size() + 64;
}

}  // namespace

AnswerSession::AnswerSession(std::shared_ptr<RequestContext> context,
                             std::unique_ptr<Renderer> renderer, Ticker& ticker, Options options)
    : context_(std::move(context)),
      renderer_(std::move(renderer)),
      ticker_(ticker),
      options_(std::move(options)) {}

void AnswerSession::Start(const std::vector<StartCall>& calls) {
  {
    absl::MutexLock lock(&mutex_);
    calls_.resize(calls.size());
    for (Call& call : calls_) call.usage.resize(static_cast<size_t>(options_.choices_per_call));
    choices_.resize(calls.size() * static_cast<size_t>(options_.choices_per_call));
    running_ = calls.size();
    last_write_ = Ticker::Now();
  }
  ticker_.Add(weak_from_this());
  context_->exchange().OnClose([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->ClientLeft();
  });
  for (size_t i = 0; i < calls.size(); ++i) {
    std::shared_ptr<Generation> generation = calls[i](EventsOf(i));
    bool too_late = false;
    {
      absl::MutexLock lock(&mutex_);
      calls_[i].generation = generation;
      too_late = ended_;
    }
    if (too_late) generation->Cancel();
  }
}

GenerationEvents AnswerSession::EventsOf(size_t call) {
  const auto self = shared_from_this();
  return {
      .accepted = [self, call](const pb::Accepted& accepted) { self->OnAccepted(call, accepted); },
      .piece = [self, call](Piece piece) { return self->OnPiece(call, std::move(piece)); },
      .done = [self, call](
                  const absl::Status& status,
                  const UpstreamErrorDetails& details) { self->OnDone(call, status, details); }};
}

void AnswerSession::OnAccepted(size_t call, const pb::Accepted& accepted) {
  absl::MutexLock lock(&mutex_);
  if (ended_ || calls_[call].accepted) return;
  calls_[call].accepted = true;
  calls_[call].prompt_tokens = accepted.prompt_tokens();
  if (++accepted_ == 1) {
    head_ = {.request_id = options_.answer_id.empty() ? accepted.request_id() : options_.answer_id,
             .created = accepted.created(),
             .model = accepted.model(),
             .fingerprint = accepted.fingerprint()};
  }
  if (!options_.stream || accepted_ < calls_.size()) return;
  context_->BeginStream();
  std::string start = renderer_->StreamStart(head_, static_cast<int>(choices_.size()));
  if (!start.empty()) context_->Write(std::move(start), static_cast<int>(choices_.size()));
  last_write_ = Ticker::Now();
  EmitPending();
}

bool AnswerSession::OnPiece(size_t call, Piece piece) {
  absl::MutexLock lock(&mutex_);
  if (ended_) return true;
  if (piece.index < 0 || piece.index >= options_.choices_per_call) return true;
  if (piece.usage) calls_[call].usage[static_cast<size_t>(piece.index)] = piece.usage;
  piece.index += static_cast<int>(call) * options_.choices_per_call;
  if (piece.finish && piece.finish->reason() == pb::FINISH_REASON_ABORTED) {
    Fail(FromUpstream(absl::CancelledError(), {}));
    return true;
  }
  if (!options_.stream) {
    choices_[static_cast<size_t>(piece.index)].Add(std::move(piece));
    return true;
  }
  const bool open = accepted_ == calls_.size();
  if (open && pending_.empty() && context_->exchange().unsent_bytes() <= kUnsentMax) {
    Emit(piece);
    return true;
  }
  if (pending_.empty()) ticker_.Wake();
  pending_bytes_ += SizeOf(piece);
  if (pending_.empty() || !MergePieces(pending_.back(), piece))
    pending_.push_back(std::move(piece));
  if (open && context_->exchange().unsent_bytes() <= kUnsentMax) EmitPending();
  calls_[call].paused = pending_bytes_ > kPendingMax;
  return !calls_[call].paused;
}

void AnswerSession::Emit(const Piece& piece) {
  std::string events = renderer_->StreamPiece(head_, piece, Total());
  if (events.empty()) return;
  last_write_ = Ticker::Now();
  context_->Write(std::move(events), piece.finish ? 2 : 1);
}

void AnswerSession::EmitPending() {
  for (const Piece& piece : std::exchange(pending_, {})) Emit(piece);
  pending_bytes_ = 0;
}

void AnswerSession::OnDone(size_t call, const absl::Status& status,
                           const UpstreamErrorDetails& details) {
  absl::MutexLock lock(&mutex_);
  calls_[call].generation = nullptr;
  --running_;
  if (ended_) return;
  if (!status.ok()) return Fail(FromUpstream(status, details));
  if (!calls_[call].accepted) {
    return Fail(FromUpstream(absl::InternalError("the stream ended before it began"), {}));
  }
  if (running_ == 0) Complete();
}

void AnswerSession::Complete() {
  ended_ = true;
  const TotalUsage usage = Total();
  if (options_.stream) {
    EmitPending();
    context_->Write(renderer_->StreamEnd(head_, usage), 1);
    context_->EndStream();
  } else {
    context_->Send(renderer_->Whole(head_, choices_, usage));
  }
  if (options_.used) options_.used(usage);
}

void AnswerSession::Fail(const ApiError& error) {
  ended_ = true;
  if (options_.stream && accepted_ == calls_.size()) {
    EmitPending();
    context_->Write(renderer_->StreamError(error), 1);
    context_->AbortStream(error.status);
  } else {
    context_->SendError(error);
  }
  // Cancel() may call back at once on another thread, which then waits for our lock; it never
  // calls back on this one.
  for (const auto& generation : Generations()) generation->Cancel();
}

TotalUsage AnswerSession::Total() const {
  TotalUsage total;
  for (const Call& call : calls_) {
    uint32_t prompt_tokens = call.prompt_tokens;
    for (const auto& usage : call.usage) {
      if (!usage) continue;
      prompt_tokens = std::max(prompt_tokens, usage->prompt_tokens());
      total.completion_tokens += usage->completion_tokens();
      total.reasoning_tokens += usage->reasoning_tokens();
    }
    total.prompt_tokens += prompt_tokens;
    // The prompt is computed once, however many answers it gets.
    if (!call.usage.empty() && call.usage[0]) {
      total.cached_tokens += call.usage[0]->cached_prompt_tokens();
    }
  }
  return total;
}

std::vector<std::shared_ptr<Generation>> AnswerSession::Generations() {
  std::vector<std::shared_ptr<Generation>> generations;
  for (const Call& call : calls_) {
    if (call.generation) generations.push_back(call.generation);
  }
  return generations;
}

void AnswerSession::ClientLeft() {
  std::vector<std::shared_ptr<Generation>> generations;
  {
    absl::MutexLock lock(&mutex_);
    if (std::exchange(ended_, true)) return;
    pending_.clear();
    generations = Generations();
  }
  context_->CountDisconnect();
  for (const auto& generation : generations) generation->Cancel();
}

void AnswerSession::Stop(const ApiError& error) {
  absl::MutexLock lock(&mutex_);
  if (!ended_) Fail(error);
}

void AnswerSession::Tick(absl::Time now) {
  std::vector<std::shared_ptr<Generation>> resumed;
  {
    absl::MutexLock lock(&mutex_);
    if (ended_ || !options_.stream || accepted_ < calls_.size()) return;
    if (!pending_.empty() && context_->exchange().unsent_bytes() <= kUnsentMax) {
      EmitPending();
      for (Call& call : calls_) {
        if (std::exchange(call.paused, false) && call.generation) {
          resumed.push_back(call.generation);
        }
      }
    }
    if (now - last_write_ >= kPingAfter) {
      context_->Write(": ping\n\n", 0);
      last_write_ = now;
    }
  }
  for (const auto& generation : resumed) generation->Resume();
}

bool AnswerSession::congested() const {
  absl::MutexLock lock(&mutex_);
  return !ended_ && !pending_.empty();
}

}  // namespace model_server::gateway
