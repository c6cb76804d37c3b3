#include <algorithm>
#include <utility>

#include "model-server/gateway/codec/seed_request.h"
#include "model-server/gateway/codec/seed_writer.h"
#include "model-server/gateway/gateway_impl.h"

namespace model_server::gateway {
namespace pb = kaito::inference::v1;

namespace {

bool WantsEvents(const net::Request& request) {
  const auto accept = request.headers.Find("Accept");
  return accept && accept->find("text/event-stream") != std::string_view::npos;
}

pb::TokenizeRequest CountRequest(const SeedCall& call) {
  pb::TokenizeRequest request;
  if (call.conversation) {
    request.set_model(call.chat.model());
    *request.mutable_messages() = call.chat.messages();
    request.set_add_generation_prompt(true);
  } else {
    request.set_model(call.generate.model());
    request.set_text(call.generate.text());
    request.set_add_special_tokens(true);
  }
  return request;
}

}  // namespace

void Gateway::Impl::SeedChat(const ContextPtr& context) {
  SeedProblem problem;
  auto call = std::make_shared<SeedCall>(ReadSeedCall(
      context->request().body, options.chat_pipeline, WantsEvents(context->request()), problem));
  if (problem.found()) return context->Send(*std::move(problem.response));
  AnswerSession::Options session_options{
      .stream = call->stream,
      .choices_per_call = std::max(1, static_cast<int>(call->sampling().n()))};
  if (!Admit(context, &session_options.used)) return;

  const auto start = [this, context, call, session_options](int64_t prompt_tokens) {
    SeedProblem too_long;
    ApplyLengths(call->lengths, prompt_tokens, too_long, &call->sampling());
    if (too_long.found()) return context->Send(*std::move(too_long.response));
    const auto session = std::make_shared<AnswerSession>(
        context, MakeSeedRenderer(call->full_text, call->clean_up_spaces), ticker, session_options);
    session->Start({[&](GenerationEvents events) {
      if (call->conversation) {
        call->chat.set_request_id(context->request_id());
        return upstream->Chat(std::move(call->chat), context->call_options(), std::move(events));
      }
      call->generate.set_request_id(context->request_id());
      return upstream->Generate(std::move(call->generate), context->call_options(),
                                std::move(events));
    }});
  };
  if (!NeedsPromptTokens(call->lengths)) return start(0);
  // `max_length` counts the prompt too, and only the model server can count it.
  upstream->Tokenize(
      CountRequest(*call), context->call_options(),
      [context, start](const absl::Status& status, const UpstreamErrorDetails& details,
                       const pb::TokenizeResponse& response) {
        if (!status.ok()) return context->SendError(FromUpstream(status, details));
        start(response.ids_size());
      });
}

}  // namespace model_server::gateway
