// The server's side of one streamed answer. For inference_service.cc alone: it includes gRPC.

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "grpcpp/support/server_callback.h"

#include "model-server/rpc/backend.h"
#include "model-server/rpc/call_status.h"
#include "model-server/rpc/generation.h"
#include "model-server/rpc/text_workers.h"

namespace model_server {

// What the two streaming calls differ in.
template <typename Chunk>
struct StreamPlan {
  // Reads, renders and tokenizes; runs on a text worker.
  std::function<absl::StatusOr<Generation::Wishes>(const Backend&)> prepare;
  std::function<void(std::string text, Chunk&)> set_text;
  bool token_ids = false;
  bool continuous_usage = false;
};

// gRPC, the engine and the client each say when something has happened (Wake); what to do about it
// is then done by one text worker at a time (Work), so that nothing here needs a lock. Only one
// write is under way; while it is, tokens gather in the ring, which in the end pauses the engine's
// sequence.
template <typename Chunk>
class StreamCall final : public grpc::ServerWriteReactor<Chunk>,
                         public std::enable_shared_from_this<StreamCall<Chunk>> {
 public:
  static StreamCall* Begin(ServiceContext& context, TextWorkers& workers,
                           grpc::CallbackServerContext& call, StreamPlan<Chunk> plan) {
    auto self = std::make_shared<StreamCall>(context, workers, call, std::move(plan));
    self->self_ = self;
    ++context.calls_open;
    self->Wake();
    return self.get();
  }

  StreamCall(ServiceContext& context, TextWorkers& workers, grpc::CallbackServerContext& call,
             StreamPlan<Chunk> plan)
      : context_(context), workers_(workers), call_(call), plan_(std::move(plan)) {}

  void OnCancel() override {
    cancelled_ = true;
    Wake();
  }
  void OnWriteDone(bool ok) override {
    if (!ok) cancelled_ = true;
    writing_ = false;
    Wake();
  }
  void OnDone() override {
    done_ = true;
    --context_.calls_open;
    Wake();  // A worker that is still here goes first; the last one lets go.
  }

 private:
  void Wake() {
    if (signals_.fetch_add(1) > 0) return;  // Somebody is at it and will look again.
    workers_.Post([self = this->shared_from_this()] {
      int seen = self->signals_;
      do {
        self->Work();
      } while (!self->signals_.compare_exchange_strong(seen, 0));
    });
  }

  void Work() {
    if (done_) {
      if (generation_ != nullptr) generation_->Cancel();
      self_.reset();
      return;
    }
    if (finishing_ || writing_) {
      if (cancelled_ && generation_ != nullptr) generation_->Cancel();
      return;
    }
    if (cancelled_) {
      if (generation_ != nullptr) generation_->Cancel();
      return End(absl::CancelledError("the client has gone"));
    }
    if (generation_ == nullptr) return Prepare();
    WriteNext();
  }

  void Prepare() {
    if (context_.calls_open > context_.calls_max) return End(TooManyCalls());
    if (absl::Status status = CheckServing(context_); !status.ok()) return End(status);
    std::shared_ptr<const Backend> backend = context_.backend();
    auto wishes = plan_.prepare(*backend);
    if (!wishes.ok()) return End(wishes.status());
    const std::string id = wishes->request_id;
    auto generation =
        Generation::Start(std::move(backend), std::move(*wishes), [weak = this->weak_from_this()] {
          if (const auto self = weak.lock()) self->Wake();
        });
    if (!generation.ok()) return End(generation.status());
    generation_ = std::move(*generation);
    chunk_.Clear();
    auto& accepted = *chunk_.mutable_accepted();
    accepted.set_request_id(id);
    accepted.set_created(absl::ToUnixSeconds(context_.clock.Now()));
    accepted.set_model(generation_->backend().served_names.front());
    accepted.set_fingerprint(generation_->backend().fingerprint);
    accepted.set_prompt_tokens(generation_->prompt_tokens());
    Write();
  }

  void WriteNext() {
    std::optional<GenerationPiece> piece = generation_->Next();
    if (!piece.has_value()) {
      if (!generation_->error().ok()) {
        generation_->Cancel();  // The other answers are of no use either.
        return End(generation_->error());
      }
      if (generation_->finished()) End(absl::OkStatus());
      return;
    }
    chunk_.Clear();
    chunk_.set_index(piece->index);
    AnswerDelta& delta = piece->delta;
    if (!delta.text.empty()) plan_.set_text(std::move(delta.text), chunk_);
    if (plan_.token_ids) {
      for (const int32_t token : delta.tokens) chunk_.add_token_ids(token);
    }
    for (const TokenLogprobs& logprobs : delta.logprobs) {
      WriteLogprobs(logprobs, *generation_->backend().tokenizer, *chunk_.add_logprobs());
    }
    if (delta.finish != FinishReason::kNone) {
      WriteFinish(delta.finish, delta.matched_stop, *chunk_.mutable_finish());
    }
    if (generation_->finished() || plan_.continuous_usage) {
      auto& usage = *chunk_.mutable_usage();
      usage.set_prompt_tokens(generation_->prompt_tokens());
      usage.set_completion_tokens(generation_->completion_tokens());
      usage.set_cached_prompt_tokens(generation_->cached_prompt_tokens());
    }
    if (IsEmpty()) return Wake();  // A token without text yet: nothing to tell; look again.
    Write();
  }

  bool IsEmpty() const {
    return chunk_.ByteSizeLong() == 0 || (chunk_.index() > 0 && IsIndexAlone());
  }
  bool IsIndexAlone() const {
    Chunk alone;
    alone.set_index(chunk_.index());
    return chunk_.ByteSizeLong() == alone.ByteSizeLong();
  }

  void Write() {
    writing_ = true;
    this->StartWrite(&chunk_);
  }

  void End(const absl::Status& status) {
    finishing_ = true;
    this->Finish(status.ok() ? grpc::Status::OK : FailCall(status, call_));
  }

  ServiceContext& context_;
  TextWorkers& workers_;
  grpc::CallbackServerContext& call_;
  const StreamPlan<Chunk> plan_;
  std::shared_ptr<StreamCall> self_;  // Until gRPC is done with us.
  std::unique_ptr<Generation> generation_;
  Chunk chunk_;  // The one being written.
  std::atomic<int> signals_ = 0;
  std::atomic<bool> writing_ = false;
  std::atomic<bool> cancelled_ = false;
  std::atomic<bool> done_ = false;
  bool finishing_ = false;
};

}  // namespace model_server
