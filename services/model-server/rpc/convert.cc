#include "model-server/rpc/convert.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <random>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"
#include "common/llm/unicode.h"
#include "common/net/digest.h"
#include "model-server/engine/request_error.h"
#include "model-server/engine/token_stream.h"

namespace model_server {
namespace {

namespace pb = kaito::inference::v1;

// Inside [min, max], or (min, max] with `open_min`, or [min, max) with `open_max`.
struct Range {
  double min = 0;
  double max = 0;
  bool open_min = false;
  bool open_max = false;
};

absl::Status CheckRange(std::string_view field, double value, const Range& range) {
  const bool above = range.open_min ? value > range.min : value >= range.min;
  const bool below = range.open_max ? value < range.max : value <= range.max;
  if (std::isfinite(value) && above && below) return absl::OkStatus();
  return InvalidField(
      field, absl::StrFormat("%s must be in %c%g, %g%c, not %g", field, range.open_min ? '(' : '[',
                             range.min, range.max, range.open_max ? ')' : ']', value));
}

absl::Status CheckNumbers(const pb::Sampling& in) {
  if (in.has_temperature()) {
    RETURN_IF_ERROR(CheckRange("temperature", in.temperature(), {.min = 0, .max = 2}));
  }
  if (in.has_top_p()) {
    RETURN_IF_ERROR(CheckRange("top_p", in.top_p(), {.min = 0, .max = 1, .open_min = true}));
  }
  if (in.has_typical_p()) {
    RETURN_IF_ERROR(
        CheckRange("typical_p", in.typical_p(), {.min = 0, .max = 1, .open_min = true}));
  }
  RETURN_IF_ERROR(CheckRange("min_p", in.min_p(), {.min = 0, .max = 1, .open_max = true}));
  if (in.has_repetition_penalty()) {
    RETURN_IF_ERROR(CheckRange("repetition_penalty", in.repetition_penalty(),
                               {.min = 0, .max = 1000, .open_min = true}));
  }
  RETURN_IF_ERROR(CheckRange("presence_penalty", in.presence_penalty(), {.min = -2, .max = 2}));
  RETURN_IF_ERROR(CheckRange("frequency_penalty", in.frequency_penalty(), {.min = -2, .max = 2}));
  if (in.has_top_k() && in.top_k() < -1) {
    return InvalidField("top_k", "top_k must be -1 or 0 (off) or at least 1");
  }
  if (in.has_max_tokens() && in.max_tokens() < 1) {
    return InvalidField("max_tokens", "max_tokens must be at least 1");
  }
  if (in.has_max_tokens() && in.min_tokens() > in.max_tokens()) {
    return InvalidField("min_tokens", "min_tokens must not be more than max_tokens");
  }
  if (in.n() > TokenStream::kChoicesMax) {
    return InvalidField("n", absl::StrFormat("n must be 1 to %d", TokenStream::kChoicesMax));
  }
  if (in.has_logprobs() && in.logprobs() > 20) {
    return InvalidField("top_logprobs", "at most 20 alternatives");
  }
  if (in.has_prompt_logprobs()) {
    return WithDetails(absl::UnimplementedError("prompt_logprobs is not supported yet"),
                       {.code = "not_implemented", .field = "prompt_logprobs"});
  }
  return absl::OkStatus();
}

template <typename Ids>
absl::StatusOr<std::vector<int32_t>> ReadTokens(std::string_view field, const Ids& ids,
                                                int vocabulary) {
  std::vector<int32_t> tokens;
  for (const uint32_t id : ids) {
    if (id >= static_cast<uint32_t>(vocabulary)) {
      return InvalidField(field, absl::StrFormat("%s: token %d is outside the vocabulary of %d",
                                                 field, id, vocabulary));
    }
    tokens.push_back(static_cast<int32_t>(id));
  }
  return tokens;
}

absl::Status ReadStops(const pb::Sampling& in, int vocabulary, AnswerWishes& out) {
  constexpr int kStopsMax = 16;
  constexpr size_t kStopBytesMax = 256;
  if (in.stop_size() > kStopsMax) {
    return InvalidField("stop", absl::StrFormat("at most %d stop strings", kStopsMax));
  }
  for (const std::string& stop : in.stop()) {
    if (stop.empty() || stop.size() > kStopBytesMax) {
      return InvalidField("stop",
                          absl::StrFormat("stop strings have 1 to %d bytes", kStopBytesMax));
    }
    out.answer.stops.push_back(stop);
  }
  if (in.stop_token_ids_size() > 64) {
    return InvalidField("stop_token_ids", "at most 64 stop tokens");
  }
  ASSIGN_OR_RETURN(out.sampling.stop_tokens,
                   ReadTokens("stop_token_ids", in.stop_token_ids(), vocabulary));
  out.answer.stop_tokens = out.sampling.stop_tokens;
  out.answer.include_stop = in.include_stop();
  return absl::OkStatus();
}

absl::Status ReadMasks(const pb::Sampling& in, const llm::Tokenizer& tokenizer, int vocabulary,
                       Sampling& out) {
  if (in.logit_bias_size() > 1024) return InvalidField("logit_bias", "at most 1024 entries");
  for (const auto& [token, bias] : in.logit_bias()) {
    if (token >= static_cast<uint32_t>(vocabulary)) {
      return InvalidField("logit_bias", absl::StrFormat("token %d is outside the vocabulary of %d",
                                                        token, vocabulary));
    }
    RETURN_IF_ERROR(CheckRange("logit_bias", bias, {.min = -100, .max = 100}));
    out.logit_bias.emplace_back(static_cast<int32_t>(token), bias);
  }
  // The map's own order is random, and equal requests must be equal to the last bit.
  std::sort(out.logit_bias.begin(), out.logit_bias.end());
  ASSIGN_OR_RETURN(out.allowed_tokens,
                   ReadTokens("allowed_token_ids", in.allowed_token_ids(), vocabulary));
  if (in.bad_words_size() > 128) return InvalidField("bad_words", "at most 128 words");
  for (const std::string& word : in.bad_words()) {
    if (word.empty() || word.size() > 256) {
      return InvalidField("bad_words", "bad words have 1 to 256 bytes");
    }
    // A word has other tokens at the beginning of a text than after a space.
    out.bad_words.push_back(tokenizer.Encode(word, false));
    if (word.front() != ' ') out.bad_words.push_back(tokenizer.Encode(" " + word, false));
  }
  return absl::OkStatus();
}

uint64_t RandomSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

int AtMostInt(uint32_t value) { return static_cast<int>(std::min<uint32_t>(value, 1U << 30)); }

Message ReadMessage(const pb::Message& in) {
  Message message{.role = in.role(),
                  .name = in.name(),
                  .tool_call_id = in.tool_call_id(),
                  .reasoning_content = in.reasoning_content()};
  if (in.has_content()) message.content = in.content();
  for (const pb::ToolCall& call : in.tool_calls()) {
    message.tool_calls.push_back(
        {.id = call.id(), .name = call.name(), .arguments_json = call.arguments_json()});
  }
  return message;
}

template <typename Request>
Conversation ReadMessagesAndTools(const Request& request) {
  Conversation conversation;
  for (const pb::Message& message : request.messages()) {
    conversation.messages.push_back(ReadMessage(message));
  }
  for (const pb::Tool& tool : request.tools()) {
    conversation.tools.push_back({.name = tool.name(),
                                  .description = tool.description(),
                                  .parameters_json = tool.parameters_json()});
  }
  if (request.has_add_generation_prompt()) {
    conversation.add_generation_prompt = request.add_generation_prompt();
  }
  return conversation;
}

}  // namespace

absl::StatusOr<AnswerWishes> ReadSampling(const pb::Sampling& in, const pb::Output& output,
                                          const llm::Tokenizer& tokenizer, int vocabulary) {
  RETURN_IF_ERROR(CheckNumbers(in));
  AnswerWishes wishes;
  Sampling& out = wishes.sampling;
  out.max_tokens = AtMostInt(in.max_tokens());
  out.min_tokens = AtMostInt(in.min_tokens());
  if (in.has_temperature()) out.temperature = in.temperature();
  if (in.has_top_p()) out.top_p = in.top_p();
  if (in.has_top_k()) out.top_k = std::max(in.top_k(), 0);
  out.min_p = in.min_p();
  if (in.has_typical_p()) out.typical_p = in.typical_p();
  if (in.order() == pb::FILTER_ORDER_TRANSFORMERS) out.order = FilterOrder::kTransformers;
  if (in.has_repetition_penalty()) out.repetition_penalty = in.repetition_penalty();
  out.presence_penalty = in.presence_penalty();
  out.frequency_penalty = in.frequency_penalty();
  out.no_repeat_ngram = AtMostInt(in.no_repeat_ngram());
  out.seed = in.has_seed() ? static_cast<uint64_t>(in.seed()) : RandomSeed();
  out.n = std::max<int>(1, static_cast<int>(in.n()));
  out.ignore_eos = in.ignore_eos();
  if (in.has_logprobs()) out.logprobs = static_cast<int>(in.logprobs());
  RETURN_IF_ERROR(ReadStops(in, vocabulary, wishes));
  RETURN_IF_ERROR(ReadMasks(in, tokenizer, vocabulary, out));
  wishes.answer.keep_special_tokens = output.keep_special_tokens();
  wishes.answer.min_tokens = out.min_tokens;
  wishes.answer.logprobs = out.logprobs >= 0;
  return wishes;
}

Conversation ReadConversation(const pb::ChatRequest& request) {
  Conversation conversation = ReadMessagesAndTools(request);
  if (request.tool_choice().mode() == pb::ToolChoice::MODE_NONE) conversation.tools.clear();
  conversation.template_kwargs_json = request.template_kwargs_json();
  conversation.continue_final_message = request.continue_final_message();
  return conversation;
}

Conversation ReadConversation(const pb::TokenizeRequest& request) {
  return ReadMessagesAndTools(request);
}

absl::Status CheckToolChoice(const pb::ChatRequest& request) {
  const auto mode = request.tool_choice().mode();
  if (mode == pb::ToolChoice::MODE_REQUIRED || mode == pb::ToolChoice::MODE_NAMED) {
    return WithDetails(
        absl::UnimplementedError("a tool_choice that forces a call is not supported yet"),
        {.code = "not_implemented", .field = "tool_choice"});
  }
  if (!request.template_override().empty()) {
    return InvalidField("chat_template", "this server takes no templates from requests",
                        "unsupported_parameter");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadRequestId(const std::string& id) {
  if (id.empty()) return "req-" + net::RandomHex(32);
  const bool sound = id.size() <= 128 && std::all_of(id.begin(), id.end(), [](unsigned char c) {
                       return std::isalnum(c) || c == '.' || c == '_' || c == '-';
                     });
  if (sound) return id;
  return InvalidField("request_id", "request_id must be 1 to 128 of A-Z a-z 0-9 . _ -");
}

void WriteFinish(FinishReason reason, const std::string& matched_stop, pb::Finish& out) {
  switch (reason) {
    case FinishReason::kStop:
      out.set_reason(pb::FINISH_REASON_STOP);
      break;
    case FinishReason::kLength:
      out.set_reason(pb::FINISH_REASON_LENGTH);
      break;
    default:
      out.set_reason(pb::FINISH_REASON_ABORTED);
  }
  out.set_matched_stop(llm::ToValidUtf8(matched_stop));
}

void WriteLogprobs(const TokenLogprobs& logprobs, const llm::Tokenizer& tokenizer,
                   pb::TokenLogprobs& out) {
  const auto write = [&](const TokenLogprob& from, pb::TokenLogprob& to) {
    to.set_id(static_cast<uint32_t>(from.token));
    to.set_token(std::string(tokenizer.TokenBytes(from.token)));
    to.set_logprob(from.logprob);
  };
  write(logprobs.chosen, *out.mutable_chosen());
  for (const TokenLogprob& one : logprobs.top) write(one, *out.add_top());
}

pb::ServerState WriteState(const StateSnapshot& state) {
  pb::ServerState out;
  out.set_state(static_cast<pb::ServerState::State>(static_cast<int>(state.state) + 1));
  out.set_progress(state.progress);
  out.set_bytes_done(state.bytes_done);
  out.set_bytes_total(state.bytes_total);
  out.set_seconds_left(state.seconds_left);
  out.set_reason(state.reason);
  return out;
}

}  // namespace model_server
