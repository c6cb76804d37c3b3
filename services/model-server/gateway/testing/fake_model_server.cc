#include "model-server/gateway/testing/fake_model_server.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/server.h"
#include "grpcpp/server_context.h"

#include "common/base/check.h"
#include "common/net/grpc_server.h"
#include "kaito/inference/v1/inference.grpc.pb.h"

namespace model_server::gateway {
namespace pb = kaito::inference::v1;

namespace {

int CountWords(const std::string& text) {
  std::istringstream words(text);
  std::string word;
  int count = 0;
  while (words >> word) ++count;
  return count;
}

int CountTokens(const google::protobuf::RepeatedPtrField<pb::Message>& messages) {
  int count = 0;
  for (const pb::Message& message : messages) count += 1 + CountWords(message.content());
  return count;
}

void SetText(pb::GenerateChunk& chunk, const std::string& text) { chunk.set_text(text); }
void SetText(pb::ChatChunk& chunk, const std::string& text) { chunk.set_content(text); }

}  // namespace

struct FakeModelServer::Impl : pb::Inference::Service, pb::ModelAdmin::Service {
  mutable absl::Mutex mutex;
  pb::ServerState state ABSL_GUARDED_BY(mutex);
  int state_changes ABSL_GUARDED_BY(mutex) = 0;
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::vector<std::string> words ABSL_GUARDED_BY(mutex) = {"one", " two", " three"};
  absl::Status refusal ABSL_GUARDED_BY(mutex);
  std::string refusal_code ABSL_GUARDED_BY(mutex);
  std::string refusal_field ABSL_GUARDED_BY(mutex);
  int retry_after_ms ABSL_GUARDED_BY(mutex) = 0;
  int break_after ABSL_GUARDED_BY(mutex) = -1;
  bool hold ABSL_GUARDED_BY(mutex) = false;
  int cancelled ABSL_GUARDED_BY(mutex) = 0;
  int calls ABSL_GUARDED_BY(mutex) = 0;
  pb::ChatRequest chat ABSL_GUARDED_BY(mutex);
  pb::GenerateRequest generate ABSL_GUARDED_BY(mutex);
  std::string request_id_metadata ABSL_GUARDED_BY(mutex);
  std::unique_ptr<net::GrpcServer> server;
  std::string unix_target;

  // Refuses as told; OK to go on.
  grpc::Status Begin(grpc::ServerContext* context) {
    absl::MutexLock lock(&mutex);
    ++calls;
    const auto id = context->client_metadata().find("x-request-id");
    if (id != context->client_metadata().end()) {
      request_id_metadata = std::string(id->second.data(), id->second.size());
    }
    if (refusal.ok()) return grpc::Status::OK;
    if (!refusal_code.empty()) context->AddTrailingMetadata("error-code", refusal_code);
    if (!refusal_field.empty()) context->AddTrailingMetadata("error-field", refusal_field);
    if (retry_after_ms > 0) {
      context->AddTrailingMetadata("retry-after-ms", std::to_string(retry_after_ms));
    }
    return net::ToGrpcStatus(refusal);
  }

  // Waits while calls are held. False when the call was cancelled meanwhile.
  bool AwaitRelease(grpc::ServerContext* context) {
    absl::MutexLock lock(&mutex);
    while (hold && !stopping && !context->IsCancelled()) {
      // IsCancelled() wakes nobody.
      mutex.AwaitWithTimeout(absl::Condition(
                                 +[](Impl* self) ABSL_NO_THREAD_SAFETY_ANALYSIS {
                                   return !self->hold || self->stopping;
                                 },
                                 this),
                             absl::Milliseconds(5));
    }
    if (context->IsCancelled()) ++cancelled;
    return !context->IsCancelled();
  }

  template <typename Request, typename Chunk>
  grpc::Status Answer(grpc::ServerContext* context, const Request& request, int prompt_tokens,
                      grpc::ServerWriter<Chunk>* writer) {
    Chunk accepted;
    accepted.mutable_accepted()->set_request_id(request.request_id());
    accepted.mutable_accepted()->set_created(1'700'000'000);
    accepted.mutable_accepted()->set_model("fake");
    accepted.mutable_accepted()->set_fingerprint("fp_0123456789");
    accepted.mutable_accepted()->set_prompt_tokens(static_cast<uint32_t>(prompt_tokens));
    writer->Write(accepted);
    if (!AwaitRelease(context)) return grpc::Status::CANCELLED;
    std::vector<std::string> text;
    int break_at = -1;
    {
      absl::MutexLock lock(&mutex);
      text = words;
      break_at = break_after;
    }
    const auto& sampling = request.sampling();
    const size_t count = sampling.has_max_tokens()
                             ? std::min<size_t>(text.size(), sampling.max_tokens())
                             : text.size();
    const uint32_t choices = std::max(1U, sampling.n());
    for (uint32_t index = 0; index < choices; ++index) {
      for (size_t i = 0; i < count; ++i) {
        if (break_at == static_cast<int>(i)) {
          return grpc::Status(grpc::StatusCode::INTERNAL, "device at /dev/x failed");
        }
        Chunk chunk;
        chunk.set_index(index);
        SetText(chunk, text[i]);
        if (sampling.has_logprobs()) {
          auto* logprobs = chunk.add_logprobs();
          logprobs->mutable_chosen()->set_token(text[i]);
          logprobs->mutable_chosen()->set_logprob(-0.5F);
          if (sampling.logprobs() > 0) *logprobs->add_top() = logprobs->chosen();
        }
        if (request.output().token_ids()) chunk.add_token_ids(static_cast<uint32_t>(100 + i));
        if (!writer->Write(chunk)) {
          absl::MutexLock lock(&mutex);
          ++cancelled;
          return grpc::Status::CANCELLED;
        }
      }
      Chunk last;
      last.set_index(index);
      last.mutable_finish()->set_reason(count < text.size() ? pb::FINISH_REASON_LENGTH
                                                            : pb::FINISH_REASON_STOP);
      last.mutable_usage()->set_prompt_tokens(static_cast<uint32_t>(prompt_tokens));
      last.mutable_usage()->set_completion_tokens(static_cast<uint32_t>(count));
      writer->Write(last);
    }
    return grpc::Status::OK;
  }

  grpc::Status Generate(grpc::ServerContext* context, const pb::GenerateRequest* request,
                        grpc::ServerWriter<pb::GenerateChunk>* writer) override {
    {
      absl::MutexLock lock(&mutex);
      generate = *request;
    }
    if (grpc::Status status = Begin(context); !status.ok()) return status;
    return Answer(
        context, *request,
        request->has_tokens() ? request->tokens().ids_size() : CountWords(request->text()), writer);
  }

  grpc::Status Chat(grpc::ServerContext* context, const pb::ChatRequest* request,
                    grpc::ServerWriter<pb::ChatChunk>* writer) override {
    {
      absl::MutexLock lock(&mutex);
      chat = *request;
    }
    if (grpc::Status status = Begin(context); !status.ok()) return status;
    return Answer(context, *request, CountTokens(request->messages()), writer);
  }

  grpc::Status Tokenize(grpc::ServerContext* context, const pb::TokenizeRequest* request,
                        pb::TokenizeResponse* response) override {
    if (grpc::Status status = Begin(context); !status.ok()) return status;
    const int count = request->messages().empty() ? CountWords(request->text())
                                                  : CountTokens(request->messages());
    for (int i = 0; i < count; ++i) {
      response->add_ids(static_cast<uint32_t>(i));
      if (request->with_text()) response->add_texts("t");
    }
    response->set_context_tokens_max(512);
    return grpc::Status::OK;
  }

  grpc::Status Detokenize(grpc::ServerContext* context, const pb::DetokenizeRequest* request,
                          pb::DetokenizeResponse* response) override {
    if (grpc::Status status = Begin(context); !status.ok()) return status;
    response->set_text(absl::StrFormat("%d tokens", request->ids_size()));
    return grpc::Status::OK;
  }

  grpc::Status GetModelInfo(grpc::ServerContext*, const pb::GetModelInfoRequest*,
                            pb::ModelInfo* info) override {
    info->add_served_names("fake");
    info->add_served_names("alias/of-fake");
    info->set_context_tokens_max(512);
    info->set_created(1'600'000'000);
    info->set_device("cpu");
    return grpc::Status::OK;
  }

  grpc::Status WatchState(grpc::ServerContext* context, const pb::WatchStateRequest*,
                          grpc::ServerWriter<pb::ServerState>* writer) override {
    int seen = -1;
    while (!context->IsCancelled()) {
      pb::ServerState now;
      {
        absl::MutexLock lock(&mutex);
        if (stopping) break;
        if (seen == state_changes) {
          mutex.AwaitWithTimeout(absl::Condition(&stopping), absl::Milliseconds(5));
          continue;
        }
        seen = state_changes;
        now = state;
      }
      if (!writer->Write(now)) break;
    }
    return grpc::Status::OK;
  }
};

FakeModelServer::FakeModelServer(const std::string& address) : impl_(std::make_unique<Impl>()) {
  SetState(pb::ServerState::STATE_SERVING);
  auto server = net::GrpcServer::Start({.addresses = {address}},
                                       {static_cast<pb::Inference::Service*>(impl_.get()),
                                        static_cast<pb::ModelAdmin::Service*>(impl_.get())});
  CHECK_OK(server);
  impl_->server = *std::move(server);
  if (address.starts_with("unix:")) impl_->unix_target = address;
}

FakeModelServer::~FakeModelServer() {
  {
    absl::MutexLock lock(&impl_->mutex);
    impl_->stopping = true;
  }
  impl_->server.reset();
}

std::string FakeModelServer::target() const {
  return impl_->unix_target.empty() ? absl::StrFormat("127.0.0.1:%d", impl_->server->ports()[0])
                                    : impl_->unix_target;
}

void FakeModelServer::SetState(pb::ServerState::State state, double seconds_left) {
  absl::MutexLock lock(&impl_->mutex);
  impl_->state.set_state(state);
  impl_->state.set_seconds_left(seconds_left);
  impl_->state.set_reason("as the test says");
  ++impl_->state_changes;
}

void FakeModelServer::SetWords(std::vector<std::string> words) {
  absl::MutexLock lock(&impl_->mutex);
  impl_->words = std::move(words);
}

void FakeModelServer::Refuse(absl::Status status, std::string code, std::string field,
                             int retry_after_ms) {
  absl::MutexLock lock(&impl_->mutex);
  impl_->refusal = std::move(status);
  impl_->refusal_code = std::move(code);
  impl_->refusal_field = std::move(field);
  impl_->retry_after_ms = retry_after_ms;
}

void FakeModelServer::BreakAfter(int words) {
  absl::MutexLock lock(&impl_->mutex);
  impl_->break_after = words;
}

void FakeModelServer::Hold() {
  absl::MutexLock lock(&impl_->mutex);
  impl_->hold = true;
}

void FakeModelServer::Release() {
  absl::MutexLock lock(&impl_->mutex);
  impl_->hold = false;
}

pb::ChatRequest FakeModelServer::last_chat() const {
  absl::MutexLock lock(&impl_->mutex);
  return impl_->chat;
}

pb::GenerateRequest FakeModelServer::last_generate() const {
  absl::MutexLock lock(&impl_->mutex);
  return impl_->generate;
}

std::string FakeModelServer::last_request_id_metadata() const {
  absl::MutexLock lock(&impl_->mutex);
  return impl_->request_id_metadata;
}

namespace {

// For absl::Condition: a number that another thread counts up.
struct AtLeast {
  const int* value;
  int wanted;
  bool Reached() const { return *value >= wanted; }
};

}  // namespace

bool FakeModelServer::AwaitCancelled(int count, absl::Duration timeout) const {
  absl::MutexLock lock(&impl_->mutex);
  AtLeast wanted = {&impl_->cancelled, count};
  return impl_->mutex.AwaitWithTimeout(absl::Condition(&wanted, &AtLeast::Reached), timeout);
}

bool FakeModelServer::AwaitCalls(int count, absl::Duration timeout) const {
  absl::MutexLock lock(&impl_->mutex);
  AtLeast wanted = {&impl_->calls, count};
  return impl_->mutex.AwaitWithTimeout(absl::Condition(&wanted, &AtLeast::Reached), timeout);
}

}  // namespace model_server::gateway
