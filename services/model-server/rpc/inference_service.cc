#include "model-server/rpc/inference_service.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "grpcpp/server_context.h"

#include "common/base/status_macros.h"
#include "kaito/inference/v1/inference.grpc.pb.h"
#include "model-server/engine/request_error.h"
#include "model-server/rpc/call_status.h"
#include "model-server/rpc/convert.h"
#include "model-server/rpc/stream_call.h"
#include "model-server/rpc/text_workers.h"

namespace model_server {
namespace {

namespace pb = kaito::inference::v1;

absl::Status CheckModel(const Backend& backend, const std::string& model) {
  if (backend.Serves(model)) return absl::OkStatus();
  return WithDetails(
      absl::NotFoundError(absl::StrFormat("there is no model \"%.128s\" here; \"%s\" is served",
                                          model, backend.served_names.front())),
      {.code = "model_not_found", .field = "model"});
}

absl::StatusOr<std::vector<int32_t>> ReadPrompt(const Backend& backend,
                                                const pb::GenerateRequest& request) {
  if (request.prompt_case() != pb::GenerateRequest::kTokens) {
    if (request.prompt_case() != pb::GenerateRequest::kText) {
      return InvalidField("prompt", "prompt is missing", "missing_parameter");
    }
    return backend.prompts->FromText(request.text(), request.add_special_tokens());
  }
  std::vector<int32_t> tokens;
  for (const uint32_t id : request.tokens().ids()) {
    if (id >= static_cast<uint32_t>(backend.facts.vocabulary)) {
      return InvalidField("prompt", absl::StrFormat("token %d is outside the vocabulary of %d", id,
                                                    backend.facts.vocabulary));
    }
    tokens.push_back(static_cast<int32_t>(id));
  }
  return tokens;
}

// The call's deadline on our clock, within the server's limits.
absl::Duration DeadlineOf(const grpc::CallbackServerContext& call, const ServiceContext& context) {
  const auto given = call.deadline() - std::chrono::system_clock::now();
  const absl::Duration wanted = call.deadline() == std::chrono::system_clock::time_point::max()
                                    ? context.deadline_default
                                    : absl::FromChrono(given);
  return context.clock.Monotonic() + std::min(wanted, context.deadline_max);
}

template <typename Request>
absl::StatusOr<Generation::Wishes> ReadWishes(const Backend& backend, const Request& request) {
  RETURN_IF_ERROR(CheckModel(backend, request.model()));
  if (request.adapters_size() > 0) {
    return WithDetails(absl::NotFoundError(absl::StrFormat("there is no adapter \"%.128s\" here",
                                                           request.adapters(0).name())),
                       {.code = "model_not_found", .field = "adapters"});
  }
  if (request.cache_salt().size() > 256) {
    return InvalidField("cache_salt", "cache_salt has at most 256 bytes");
  }
  Generation::Wishes wishes;
  ASSIGN_OR_RETURN(wishes.request_id, ReadRequestId(request.request_id()));
  ASSIGN_OR_RETURN(wishes.answer, ReadSampling(request.sampling(), request.output(),
                                               *backend.tokenizer, backend.facts.vocabulary));
  wishes.priority = request.priority();
  wishes.cache_salt = request.cache_salt();
  return wishes;
}

absl::Status AnswerTokenize(const Backend& backend, const pb::TokenizeRequest& request,
                            pb::TokenizeResponse& response) {
  RETURN_IF_ERROR(CheckModel(backend, request.model()));
  std::vector<int32_t> tokens;
  if (request.messages_size() > 0) {
    ASSIGN_OR_RETURN(tokens, backend.prompts->FromConversation(ReadConversation(request)));
  } else {
    tokens = backend.prompts->FromText(request.text(), request.add_special_tokens());
  }
  for (const int32_t token : tokens) {
    response.add_ids(static_cast<uint32_t>(token));
    if (request.with_text()) response.add_texts(std::string(backend.tokenizer->TokenBytes(token)));
  }
  response.set_context_tokens_max(backend.engine->context_tokens_max());
  return absl::OkStatus();
}

absl::Status AnswerDetokenize(const Backend& backend, const pb::DetokenizeRequest& request,
                              pb::DetokenizeResponse& response) {
  RETURN_IF_ERROR(CheckModel(backend, request.model()));
  std::vector<int32_t> tokens;
  for (const uint32_t id : request.ids()) {
    if (id >= static_cast<uint32_t>(backend.facts.vocabulary)) {
      return InvalidField("tokens", absl::StrFormat("token %d is outside the vocabulary of %d", id,
                                                    backend.facts.vocabulary));
    }
    tokens.push_back(static_cast<int32_t>(id));
  }
  response.set_text(backend.tokenizer->Decode(tokens, request.keep_special_tokens()));
  return absl::OkStatus();
}

}  // namespace

struct InferenceService::Impl final : pb::Inference::CallbackService {
  Impl(ServiceContext& service_context, int text_threads)
      : context(service_context), workers(text_threads) {}

  grpc::ServerWriteReactor<pb::GenerateChunk>* Generate(
      grpc::CallbackServerContext* call, const pb::GenerateRequest* request) override {
    StreamPlan<pb::GenerateChunk> plan;
    plan.prepare = [this, call,
                    request](const Backend& backend) -> absl::StatusOr<Generation::Wishes> {
      ASSIGN_OR_RETURN(Generation::Wishes wishes, ReadWishes(backend, *request));
      ASSIGN_OR_RETURN(wishes.prompt, ReadPrompt(backend, *request));
      wishes.deadline = DeadlineOf(*call, context);
      wishes.drop_oldest = request->drop_oldest();
      if (request->output().echo()) {
        wishes.echo =
            request->prompt_case() == pb::GenerateRequest::kText
                ? request->text()
                : backend.tokenizer->Decode(wishes.prompt, request->output().keep_special_tokens());
      }
      return wishes;
    };
    plan.set_text = [](std::string text, pb::GenerateChunk& chunk) {
      chunk.set_text(std::move(text));
    };
    plan.token_ids = request->output().token_ids();
    plan.continuous_usage = request->output().continuous_usage();
    return StreamCall<pb::GenerateChunk>::Begin(context, workers, *call, std::move(plan));
  }

  grpc::ServerWriteReactor<pb::ChatChunk>* Chat(grpc::CallbackServerContext* call,
                                                const pb::ChatRequest* request) override {
    StreamPlan<pb::ChatChunk> plan;
    plan.prepare = [this, call,
                    request](const Backend& backend) -> absl::StatusOr<Generation::Wishes> {
      ASSIGN_OR_RETURN(Generation::Wishes wishes, ReadWishes(backend, *request));
      RETURN_IF_ERROR(CheckToolChoice(*request));
      ASSIGN_OR_RETURN(wishes.prompt,
                       backend.prompts->FromConversation(ReadConversation(*request)));
      wishes.deadline = DeadlineOf(*call, context);
      return wishes;
    };
    plan.set_text = [](std::string text, pb::ChatChunk& chunk) {
      chunk.set_content(std::move(text));
    };
    plan.token_ids = request->output().token_ids();
    plan.continuous_usage = request->output().continuous_usage();
    return StreamCall<pb::ChatChunk>::Begin(context, workers, *call, std::move(plan));
  }

  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* call,
                                     const pb::TokenizeRequest* request,
                                     pb::TokenizeResponse* response) override {
    return Answer(call, [request, response](const Backend& backend) {
      return AnswerTokenize(backend, *request, *response);
    });
  }

  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* call,
                                       const pb::DetokenizeRequest* request,
                                       pb::DetokenizeResponse* response) override {
    return Answer(call, [request, response](const Backend& backend) {
      return AnswerDetokenize(backend, *request, *response);
    });
  }

  // One job on a text worker.
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* call,
                                   std::function<absl::Status(const Backend&)> answer) {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    if (++context.calls_open > context.calls_max) {
      --context.calls_open;
      reactor->Finish(FailCall(TooManyCalls(), *call));
      return reactor;
    }
    workers.Post([this, call, reactor, answer = std::move(answer)] {
      const std::shared_ptr<const Backend> backend = context.backend();
      absl::Status status = backend == nullptr ? CheckServing(context) : answer(*backend);
      --context.calls_open;
      reactor->Finish(status.ok() ? grpc::Status::OK : FailCall(status, *call));
    });
    return reactor;
  }

  ServiceContext& context;
  TextWorkers workers;
};

InferenceService::InferenceService(ServiceContext& context, int text_threads)
    : impl_(std::make_unique<Impl>(context, text_threads)) {}

InferenceService::~InferenceService() = default;

grpc::Service* InferenceService::service() { return impl_.get(); }

}  // namespace model_server
