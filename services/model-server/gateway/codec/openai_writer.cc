#include "model-server/gateway/codec/openai_writer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "model-server/gateway/codec/json_text.h"

namespace model_server::gateway {
namespace pb = kaito::inference::v1;

namespace {

using LogprobsList = std::vector<pb::TokenLogprobs>;

std::string Event(const std::string& json) { return "data: " + json + "\n\n"; }

// The members before "choices"; the object stays open.
void AppendHead(const AnswerHead& head, std::string_view prefix, std::string_view object,
                std::string* out) {
  *out += "{\"id\":";
  AppendJsonString(std::string(prefix) + head.request_id, out);
  *out += ",\"object\":\"";
  *out += object;
  *out += absl::StrFormat("\",\"created\":%d,\"model\":", head.created);
  AppendJsonString(head.model, out);
  *out += ",\"system_fingerprint\":";
  AppendJsonStringOrNull(head.fingerprint, out);
}

void AppendIds(const std::vector<uint32_t>& ids, std::string* out) {
  *out += ",\"token_ids\":[";
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) *out += ',';
    *out += std::to_string(ids[i]);
  }
  *out += ']';
}

void AppendTokenFields(const pb::TokenLogprob& token, std::string* out) {
  *out += "\"token\":";
  AppendJsonString(token.token(), out);
  *out += ",\"logprob\":";
  AppendJsonNumber(token.logprob(), out);
  *out += ",\"bytes\":[";
  bool first = true;
  for (const char c : token.token()) {
    if (!std::exchange(first, false)) *out += ',';
    *out += std::to_string(static_cast<unsigned char>(c));
  }
  *out += ']';
}

void AppendChatLogprobs(const LogprobsList& list, std::string* out) {
  *out += "{\"content\":[";
  for (size_t i = 0; i < list.size(); ++i) {
    *out += i > 0 ? ",{" : "{";
    AppendTokenFields(list[i].chosen(), out);
    *out += ",\"top_logprobs\":[";
    for (int top = 0; top < list[i].top_size(); ++top) {
      *out += top > 0 ? ",{" : "{";
      AppendTokenFields(list[i].top(top), out);
      *out += '}';
    }
    *out += "]}";
  }
  *out += "],\"refusal\":null}";
}

// Unicode characters, as OpenAI counts text; a token may hold a part of one.
size_t CharacterCount(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// Four parallel lists, in OpenAI's older form. `offset` is the length of the text before.
void AppendCompletionLogprobs(const LogprobsList& list, size_t offset, std::string* out) {
  std::string tokens, values, tops, offsets;
  for (size_t i = 0; i < list.size(); ++i) {
    const char* comma = i > 0 ? "," : "";
    const pb::TokenLogprob& chosen = list[i].chosen();
    tokens += comma;
    AppendJsonString(chosen.token(), &tokens);
    values += comma;
    tops += comma;
    // The first token of an echoed prompt has no probability: nothing stands before it.
    const bool known = list[i].top_size() > 0 || chosen.logprob() != 0;
    if (known) {
      AppendJsonNumber(chosen.logprob(), &values);
      tops += '{';
      for (int top = 0; top < list[i].top_size(); ++top) {
        if (top > 0) tops += ',';
        AppendJsonString(list[i].top(top).token(), &tops);
        tops += ':';
        AppendJsonNumber(list[i].top(top).logprob(), &tops);
      }
      tops += '}';
    } else {
      values += "null";
      tops += "null";
    }
    offsets += comma + std::to_string(offset);
    offset += CharacterCount(chosen.token());
  }
  *out += "{\"tokens\":[" + tokens + "],\"token_logprobs\":[" + values + "],\"top_logprobs\":[" +
          tops + "],\"text_offset\":[" + offsets + "]}";
}

void AppendFinish(const pb::Finish& finish, std::string* out) {
  *out += ",\"finish_reason\":";
  AppendJsonStringOrNull(FinishName(finish.reason()), out);
  *out += ",\"stop_reason\":";
  AppendJsonStringOrNull(finish.matched_stop(), out);
}

void AppendToolCall(const pb::ToolCallDelta& call, bool with_index, std::string* out) {
  *out += with_index ? absl::StrFormat("{\"index\":%d", call.index()) : "{";
  if (!call.id().empty()) {
    *out += with_index ? ",\"id\":" : "\"id\":";
    AppendJsonString(call.id(), out);
    *out += ",\"type\":\"function\"";
  }
  *out += out->back() == '{' ? "\"function\":{" : ",\"function\":{";
  if (!call.name().empty()) {
    *out += "\"name\":";
    AppendJsonString(call.name(), out);
    *out += ',';
  }
  *out += "\"arguments\":";
  AppendJsonString(call.arguments(), out);
  *out += "}}";
}

// What chunks of both routes end with.
void AppendStreamUsage(const OpenAiFormat& format, const TotalUsage& usage, std::string* out) {
  if (format.stream.continuous_usage) {
    *out += ",\"usage\":";
    AppendUsage(usage, out);
  } else if (format.stream.include_usage) {
    *out += ",\"usage\":null";
  }
  *out += '}';
}

std::string EndEvents(const OpenAiFormat& format, std::string head, const TotalUsage& usage) {
  std::string out;
  if (format.stream.include_usage) {
    head += ",\"choices\":[],\"usage\":";
    AppendUsage(usage, &head);
    out = Event(head + "}");
  }
  return out + "data: [DONE]\n\n";
}

net::Response JsonResponse(std::string body) {
  return {.headers = {{"Content-Type", "application/json"}}, .body = std::move(body)};
}

class ChatRenderer final : public Renderer {
 public:
  explicit ChatRenderer(const OpenAiFormat& format) : format_(format) {}

  std::string StreamStart(const AnswerHead& head, int choices) override {
    std::string out;
    for (int i = 0; i < choices; ++i) {
      out += Chunk(head, i, "{\"role\":\"assistant\",\"content\":\"\"}", nullptr, nullptr, {});
    }
    return out;
  }

  std::string StreamPiece(const AnswerHead& head, const Piece& piece,
                          const TotalUsage& usage) override {
    std::string out;
    std::string delta;
    if (piece.tool_call) {
      delta = "{\"tool_calls\":[";
      AppendToolCall(*piece.tool_call, true, &delta);
      delta += "]}";
    } else if (!piece.reasoning.empty()) {
      delta = "{\"reasoning_content\":";
      AppendJsonString(piece.reasoning, &delta);
      delta += '}';
    } else if (!piece.text.empty() || (!piece.logprobs.empty() && format_.logprobs)) {
      delta = "{\"content\":";
      AppendJsonString(piece.text, &delta);
      delta += '}';
    }
    if (!delta.empty()) out += Chunk(head, piece.index, delta, &piece, nullptr, usage);
    if (piece.finish) out += Chunk(head, piece.index, "{}", nullptr, &*piece.finish, usage);
    return out;
  }

  std::string StreamEnd(const AnswerHead& head, const TotalUsage& usage) override {
    std::string start;
    AppendHead(head, "chatcmpl-", "chat.completion.chunk", &start);
    return EndEvents(format_, std::move(start), usage);
  }

  std::string StreamError(const ApiError& error) override { return Event(OpenAiErrorJson(error)); }

  net::Response Whole(const AnswerHead& head, const std::vector<Choice>& choices,
                      const TotalUsage& usage) override {
    std::string out;
    AppendHead(head, "chatcmpl-", "chat.completion", &out);
    out += ",\"choices\":[";
    for (size_t i = 0; i < choices.size(); ++i) {
      if (i > 0) out += ',';
      AppendChoice(static_cast<int>(i), choices[i], &out);
    }
    out += "],\"usage\":";
    AppendUsage(usage, &out);
    return JsonResponse(out + "}");
  }

 private:
  std::string Chunk(const AnswerHead& head, int index, std::string_view delta, const Piece* piece,
                    const pb::Finish* finish, const TotalUsage& usage) {
    std::string out;
    AppendHead(head, "chatcmpl-", "chat.completion.chunk", &out);
    out += absl::StrFormat(",\"choices\":[{\"index\":%d,\"delta\":", index);
    out += delta;
    out += ",\"logprobs\":";
    if (format_.logprobs && piece != nullptr && !piece->logprobs.empty()) {
      AppendChatLogprobs(piece->logprobs, &out);
    } else {
      out += "null";
    }
    if (finish != nullptr) {
      AppendFinish(*finish, &out);
    } else {
      out += ",\"finish_reason\":null";
    }
    if (format_.return_token_ids && piece != nullptr) AppendIds(piece->token_ids, &out);
    out += "}]";
    AppendStreamUsage(format_, usage, &out);
    return Event(out);
  }

  void AppendChoice(int index, const Choice& choice, std::string* out) {
    *out +=
        absl::StrFormat("{\"index\":%d,\"message\":{\"role\":\"assistant\",\"content\":", index);
    if (choice.text.empty() && (!choice.tool_calls.empty() || !choice.reasoning.empty())) {
      *out += "null";
    } else {
      AppendJsonString(choice.text, out);
    }
    *out += ",\"refusal\":null";
    if (!choice.reasoning.empty()) {
      *out += ",\"reasoning_content\":";
      AppendJsonString(choice.reasoning, out);
    }
    if (!choice.tool_calls.empty()) {
      *out += ",\"tool_calls\":[";
      for (size_t i = 0; i < choice.tool_calls.size(); ++i) {
        if (i > 0) *out += ',';
        AppendToolCall(choice.tool_calls[i], false, out);
      }
      *out += ']';
    }
    *out += "},\"logprobs\":";
    if (format_.logprobs) {
      AppendChatLogprobs(choice.logprobs, out);
    } else {
      *out += "null";
    }
    AppendFinish(choice.finish, out);
    if (format_.return_token_ids) AppendIds(choice.token_ids, out);
    *out += '}';
  }

  const OpenAiFormat format_;
};

class CompletionRenderer final : public Renderer {
 public:
  explicit CompletionRenderer(const OpenAiFormat& format) : format_(format) {}

  std::string StreamStart(const AnswerHead&, int choices) override {
    offsets_.assign(static_cast<size_t>(choices), 0);
    return "";
  }

  std::string StreamPiece(const AnswerHead& head, const Piece& piece,
                          const TotalUsage& usage) override {
    if (piece.text.empty() && piece.logprobs.empty() && !piece.finish) return "";
    std::string out;
    AppendHead(head, "cmpl-", "text_completion", &out);
    out += ",\"choices\":[{";
    size_t& offset = offsets_[static_cast<size_t>(piece.index)];
    AppendChoice(piece.index, piece.text, piece.logprobs, offset, piece.token_ids, &out);
    offset += CharacterCount(piece.text);
    if (piece.finish) {
      AppendFinish(*piece.finish, &out);
    } else {
      out += ",\"finish_reason\":null";
    }
    out += "}]";
    AppendStreamUsage(format_, usage, &out);
    return Event(out);
  }

  std::string StreamEnd(const AnswerHead& head, const TotalUsage& usage) override {
    std::string start;
    AppendHead(head, "cmpl-", "text_completion", &start);
    return EndEvents(format_, std::move(start), usage);
  }

  std::string StreamError(const ApiError& error) override { return Event(OpenAiErrorJson(error)); }

  net::Response Whole(const AnswerHead& head, const std::vector<Choice>& choices,
                      const TotalUsage& usage) override {
    std::string out;
    AppendHead(head, "cmpl-", "text_completion", &out);
    out += ",\"choices\":[";
    for (size_t i = 0; i < choices.size(); ++i) {
      out += i > 0 ? ",{" : "{";
      const Choice& choice = choices[i];
      AppendChoice(static_cast<int>(i), choice.text, choice.logprobs, 0, choice.token_ids, &out);
      AppendFinish(choice.finish, &out);
      out += '}';
    }
    out += "],\"usage\":";
    AppendUsage(usage, &out);
    return JsonResponse(out + "}");
  }

 private:
  void AppendChoice(int index, std::string_view text, const LogprobsList& logprobs, size_t offset,
                    const std::vector<uint32_t>& ids, std::string* out) {
    *out += absl::StrFormat("\"index\":%d,\"text\":", index);
    AppendJsonString(text, out);
    *out += ",\"logprobs\":";
    if (format_.logprobs) {
      AppendCompletionLogprobs(logprobs, offset, out);
    } else {
      *out += "null";
    }
    if (format_.return_token_ids) AppendIds(ids, out);
  }

  const OpenAiFormat format_;
  std::vector<size_t> offsets_;  // Characters so far, per choice of a stream.
};

}  // namespace

std::string_view FinishName(pb::FinishReason reason) {
  switch (reason) {
    case pb::FINISH_REASON_STOP:
      return "stop";
    case pb::FINISH_REASON_LENGTH:
      return "length";
    case pb::FINISH_REASON_TOOL_CALLS:
      return "tool_calls";
    default:
      return "";
  }
}

void Choice::Add(Piece piece) {
  text += piece.text;
  reasoning += piece.reasoning;
  if (piece.tool_call) {
    const size_t at = piece.tool_call->index();
    // Indices count up from 0; anything else would be the server's mistake, not a reason to grow.
    if (at == tool_calls.size()) {
      tool_calls.push_back(*piece.tool_call);
    } else if (at < tool_calls.size()) {
      *tool_calls[at].mutable_arguments() += piece.tool_call->arguments();
    }
  }
  token_ids.insert(token_ids.end(), piece.token_ids.begin(), piece.token_ids.end());
  for (auto& entry : piece.logprobs) logprobs.push_back(std::move(entry));
  if (piece.finish) finish = *std::move(piece.finish);
}

void AppendUsage(const TotalUsage& usage, std::string* out) {
  *out += absl::StrFormat(
      "{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d,"
      "\"prompt_tokens_details\":{\"cached_tokens\":%d},"
      "\"completion_tokens_details\":{\"reasoning_tokens\":%d}}",
      usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens + usage.completion_tokens,
      usage.cached_tokens, usage.reasoning_tokens);
}

std::unique_ptr<Renderer> MakeChatRenderer(const OpenAiFormat& format) {
  return std::make_unique<ChatRenderer>(format);
}

std::unique_ptr<Renderer> MakeCompletionRenderer(const OpenAiFormat& format) {
  return std::make_unique<CompletionRenderer>(format);
}

}  // namespace model_server::gateway
