#include "model-server/gateway/upstream.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/client_callback.h"

#include "common/base/backoff.h"
#include "common/base/log.h"
#include "common/base/thread.h"
#include "common/net/grpc_server.h"
#include "kaito/inference/v1/inference.grpc.pb.h"

namespace model_server::gateway {
namespace pb = kaito::inference::v1;

namespace {

constexpr absl::Duration kModelInfoTimeout = absl::Seconds(5);
constexpr absl::Duration kCancelTimeout = absl::Seconds(5);

std::string Metadata(const grpc::ClientContext& context, const char* key) {
  const auto& metadata = context.GetServerTrailingMetadata();
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
}

UpstreamErrorDetails Details(const grpc::ClientContext& context) {
  return {.code = Metadata(context, "error-code"),
          .field = Metadata(context, "error-field"),
          .retry_after_ms = Metadata(context, "retry-after-ms")};
}

void Prepare(grpc::ClientContext& context, const CallOptions& options) {
  context.set_deadline(absl::ToChronoTime(absl::Now() + options.deadline));
  context.AddMetadata("x-request-id", options.request_id);
  if (!options.traceparent.empty()) context.AddMetadata("traceparent", options.traceparent);
}

template <typename Chunk>
Piece CommonPiece(Chunk& chunk) {
  Piece piece;
  piece.index = static_cast<int>(chunk.index());
  piece.token_ids.assign(chunk.token_ids().begin(), chunk.token_ids().end());
  for (auto& logprobs : *chunk.mutable_logprobs()) piece.logprobs.push_back(std::move(logprobs));
  if (chunk.has_finish()) piece.finish = chunk.finish();
  if (chunk.has_usage()) piece.usage = chunk.usage();
  return piece;
}

Piece ToPiece(pb::GenerateChunk& chunk) {
  Piece piece = CommonPiece(chunk);
  piece.text = std::move(*chunk.mutable_text());
  return piece;
}

Piece ToPiece(pb::ChatChunk& chunk) {
  Piece piece = CommonPiece(chunk);
  if (chunk.has_content()) piece.text = std::move(*chunk.mutable_content());
  if (chunk.has_reasoning()) piece.reasoning = std::move(*chunk.mutable_reasoning());
  if (chunk.has_tool_call()) piece.tool_call = chunk.tool_call();
  return piece;
}

// The calls that run, so that the end of the process can end and await them.
class ActiveCalls {
 public:
  void Add(grpc::ClientContext* context) {
    absl::MutexLock lock(&mutex_);
    contexts_.insert(context);
  }
  void Remove(grpc::ClientContext* context) {
    absl::MutexLock lock(&mutex_);
    contexts_.erase(context);
  }
  void CancelAndWait() {
    absl::MutexLock lock(&mutex_);
    for (grpc::ClientContext* context : contexts_) context->TryCancel();
    mutex_.AwaitWithTimeout(absl::Condition(this, &ActiveCalls::Empty), kCancelTimeout);
  }

 private:
  bool Empty() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return contexts_.empty(); }

  absl::Mutex mutex_;
  std::set<grpc::ClientContext*> contexts_ ABSL_GUARDED_BY(mutex_);
};

// A server-streaming call that lives until its OnDone, whoever else lets go of it.
template <typename Request, typename Chunk>
class StreamCall final : public Generation,
                         public grpc::ClientReadReactor<Chunk>,
                         public std::enable_shared_from_this<StreamCall<Request, Chunk>> {
 public:
  StreamCall(Request request, const CallOptions& options, GenerationEvents events,
             std::shared_ptr<ActiveCalls> active)
      : request_(std::move(request)), events_(std::move(events)), active_(std::move(active)) {
    Prepare(context_, options);
    active_->Add(&context_);
  }

  // `begin` hands the call to the stub.
  template <typename Begin>
  void Start(Begin begin) {
    self_ = this->shared_from_this();
    begin(&context_, &request_, this);
    this->StartRead(&chunk_);
    this->StartCall();
  }

  void Cancel() override {
    context_.TryCancel();
    Resume();  // A call that waits for nobody would never end.
  }

  void Resume() override {
    absl::MutexLock lock(&mutex_);
    if (!std::exchange(paused_, false)) {
      resumed_early_ = true;
      return;
    }
    this->StartRead(&chunk_);
    this->RemoveHold();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    bool more = true;
    if (chunk_.has_accepted()) {
      events_.accepted(chunk_.accepted());
    } else {
      more = events_.piece(ToPiece(chunk_));
    }
    chunk_.Clear();
    if (more) return this->StartRead(&chunk_);
    absl::MutexLock lock(&mutex_);
    if (std::exchange(resumed_early_, false)) return this->StartRead(&chunk_);
    this->AddHold();
    paused_ = true;
  }

  void OnDone(const grpc::Status& status) override {
    const auto keep = std::move(self_);
    events_.done(net::FromGrpcStatus(status), Details(context_));
    events_ = {};  // They hold the session, which holds this.
    active_->Remove(&context_);
  }

 private:
  grpc::ClientContext context_;
  Request request_;
  Chunk chunk_;
  GenerationEvents events_;
  const std::shared_ptr<ActiveCalls> active_;
  std::shared_ptr<StreamCall> self_;
  absl::Mutex mutex_;
  bool paused_ ABSL_GUARDED_BY(mutex_) = false;
  bool resumed_early_ ABSL_GUARDED_BY(mutex_) = false;  // Before the pause it was meant for.
};

}  // namespace

bool MergePieces(Piece& last, Piece& next) {
  if (last.index != next.index || last.finish || next.tool_call || last.tool_call) return false;
  // Content after reasoning is another kind of delta; so is a usage that belongs to its own text.
  if (last.reasoning.empty() != next.reasoning.empty() || last.usage || next.usage) return false;
  last.text += next.text;
  last.reasoning += next.reasoning;
  last.token_ids.insert(last.token_ids.end(), next.token_ids.begin(), next.token_ids.end());
  std::ranges::move(next.logprobs, std::back_inserter(last.logprobs));
  last.finish = std::move(next.finish);
  return true;
}

bool UpstreamState::serving() const {
  return reachable && server.state() == pb::ServerState::STATE_SERVING;
}

std::string_view UpstreamState::code() const {
  if (!reachable) return "engine_unavailable";
  switch (server.state()) {
    case pb::ServerState::STATE_DRAINING:
    case pb::ServerState::STATE_STOPPED:
      return "draining";
    case pb::ServerState::STATE_STALLED:
      return "stalled";
    default:
      return "loading";
  }
}

int UpstreamState::retry_after_seconds() const {
  if (code() == "draining") return 5;
  if (code() != "loading" || server.seconds_left() < 0) return 1;
  return static_cast<int>(std::clamp(std::ceil(server.seconds_left()), 1.0, 60.0));
}

struct Upstream::Impl {
  explicit Impl(const std::string& target)
      : channel(net::MakeGrpcChannel(target)),
        inference(pb::Inference::NewStub(channel)),
        admin(pb::ModelAdmin::NewStub(channel)) {}

  void Watch(std::stop_token stop);
  void WatchOnce();
  void FetchModelInfo();
  void Publish(UpstreamState next);

  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<pb::Inference::Stub> inference;
  std::unique_ptr<pb::ModelAdmin::Stub> admin;
  std::shared_ptr<ActiveCalls> active = std::make_shared<ActiveCalls>();
  mutable absl::Mutex mutex;
  std::shared_ptr<const UpstreamState> state ABSL_GUARDED_BY(mutex) =
      std::make_shared<UpstreamState>();
  grpc::ClientContext* watch_context ABSL_GUARDED_BY(mutex) = nullptr;
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::jthread watch_thread;
};

void Upstream::Impl::Publish(UpstreamState next) {
  auto shared = std::make_shared<const UpstreamState>(std::move(next));
  absl::MutexLock lock(&mutex);
  const bool changed =
      state->reachable != shared->reachable || state->server.state() != shared->server.state();
  state = std::move(shared);
  if (changed) {
    base::LogInfo("model server state",
                  {{"reachable", state->reachable},
                   {"state", pb::ServerState::State_Name(state->server.state())},
                   {"reason", state->server.reason()}});
  }
}

void Upstream::Impl::FetchModelInfo() {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kModelInfoTimeout));
  pb::ModelInfo info;
  if (!admin->GetModelInfo(&context, {}, &info).ok()) return;
  UpstreamState next;
  {
    absl::MutexLock lock(&mutex);
    next = *state;
  }
  next.model = std::move(info);
  Publish(std::move(next));
}

// Follows the state until the stream ends.
void Upstream::Impl::WatchOnce() {
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  {
    absl::MutexLock lock(&mutex);
    if (stopping) return;
    watch_context = &context;
  }
  const auto reader = admin->WatchState(&context, {});
  pb::ServerState server;
  bool has_model = false;
  while (reader->Read(&server)) {
    UpstreamState next;
    {
      absl::MutexLock lock(&mutex);
      next = *state;
    }
    next.reachable = true;
    next.server = server;
    if (!has_model) {
      // The model's name may be known before it serves; from SERVING on it is.
      Publish(next);
      FetchModelInfo();
      has_model = server.state() == pb::ServerState::STATE_SERVING;
      continue;
    }
    Publish(std::move(next));
  }
  {
    absl::MutexLock lock(&mutex);
    watch_context = nullptr;
  }
  const absl::Status status = net::FromGrpcStatus(reader->Finish());
  base::LogDebug("watch of the model server ended", {{"error", status}});
}

void Upstream::Impl::Watch(std::stop_token stop) {
  base::Backoff backoff({.initial = absl::Milliseconds(100), .max = absl::Seconds(1)});
  while (!stop.stop_requested()) {
    WatchOnce();
    UpstreamState next;
    {
      absl::MutexLock lock(&mutex);
      next = *state;
      if (next.reachable) backoff.Reset();
    }
    next.reachable = false;
    Publish(std::move(next));
    absl::MutexLock lock(&mutex);
    mutex.AwaitWithTimeout(absl::Condition(&stopping), backoff.Next());
  }
}

Upstream::Upstream(const std::string& target) : impl_(std::make_unique<Impl>(target)) {
  impl_->watch_thread = base::StartThread(
      "upstream-watch", [impl = impl_.get()](std::stop_token stop) { impl->Watch(stop); });
}

Upstream::~Upstream() {
  impl_->watch_thread.request_stop();
  {
    absl::MutexLock lock(&impl_->mutex);
    impl_->stopping = true;
    if (impl_->watch_context != nullptr) impl_->watch_context->TryCancel();
  }
  impl_->watch_thread.join();
  impl_->active->CancelAndWait();
}

std::shared_ptr<Generation> Upstream::Generate(pb::GenerateRequest request,
                                               const CallOptions& options,
                                               GenerationEvents events) {
  auto call = std::make_shared<StreamCall<pb::GenerateRequest, pb::GenerateChunk>>(
      std::move(request), options, std::move(events), impl_->active);
  call->Start([&](auto* context, auto* message, auto* reactor) {
    impl_->inference->async()->Generate(context, message, reactor);
  });
  return call;
}

std::shared_ptr<Generation> Upstream::Chat(pb::ChatRequest request, const CallOptions& options,
                                           GenerationEvents events) {
  auto call = std::make_shared<StreamCall<pb::ChatRequest, pb::ChatChunk>>(
      std::move(request), options, std::move(events), impl_->active);
  call->Start([&](auto* context, auto* message, auto* reactor) {
    impl_->inference->async()->Chat(context, message, reactor);
  });
  return call;
}

namespace {

// What a unary call needs until its answer is there.
template <typename Request, typename Response>
struct UnaryCall {
  grpc::ClientContext context;
  Request request;
  Response response;
};

}  // namespace

void Upstream::Tokenize(pb::TokenizeRequest request, const CallOptions& options,
                        TokenizeDone done) {
  auto call = std::make_shared<UnaryCall<pb::TokenizeRequest, pb::TokenizeResponse>>();
  Prepare(call->context, options);
  call->request = std::move(request);
  impl_->active->Add(&call->context);
  impl_->inference->async()->Tokenize(
      &call->context, &call->request, &call->response,
      [call, done = std::move(done), active = impl_->active](const grpc::Status& status) mutable {
        done(net::FromGrpcStatus(status), Details(call->context), call->response);
        done = nullptr;  // What it holds must go before the gateway does.
        active->Remove(&call->context);
      });
}

void Upstream::Detokenize(pb::DetokenizeRequest request, const CallOptions& options,
                          DetokenizeDone done) {
  auto call = std::make_shared<UnaryCall<pb::DetokenizeRequest, pb::DetokenizeResponse>>();
  Prepare(call->context, options);
  call->request = std::move(request);
  impl_->active->Add(&call->context);
  impl_->inference->async()->Detokenize(
      &call->context, &call->request, &call->response,
      [call, done = std::move(done), active = impl_->active](const grpc::Status& status) mutable {
        done(net::FromGrpcStatus(status), Details(call->context), call->response);
        done = nullptr;  // What it holds must go before the gateway does.
        active->Remove(&call->context);
      });
}

std::shared_ptr<const UpstreamState> Upstream::state() const {
  absl::MutexLock lock(&impl_->mutex);
  return impl_->state;
}

}  // namespace model_server::gateway
