#include "model-server/gateway/codec/seed_request.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "model-server/gateway/codec/json_text.h"

namespace model_server::gateway {
namespace json = boost::json;
namespace pb = kaito::inference::v1;

namespace {

constexpr int64_t kDefaultLength = 200;
constexpr size_t kMessagesMax = 4096;

std::string_view View(json::string_view text) { return {text.data(), text.size()}; }

// One level of the body, with errors in the form of the time. null counts as absent.
class SeedFields {
 public:
  SeedFields(const json::object& object, std::vector<std::string> location, SeedProblem& problem)
      : object_(object), location_(std::move(location)), problem_(problem) {}

  const json::value* Find(std::string_view name) const {
    const json::value* value = object_.if_contains({name.data(), name.size()});
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  std::optional<std::string> String(std::string_view name) const {
    const json::value* value = Find(name);
    if (value == nullptr) return std::nullopt;
    if (value->is_string()) return std::string(View(value->get_string()));
    Wrong(name, "str type expected", "type_error.str");
    return std::nullopt;
  }

  std::optional<bool> Bool(std::string_view name) const {
    const json::value* value = Find(name);
    if (value == nullptr) return std::nullopt;
    if (value->is_bool()) return value->get_bool();
    Wrong(name, "value could not be parsed to a boolean", "type_error.bool");
    return std::nullopt;
  }

  std::optional<int64_t> Integer(std::string_view name) const {
    const json::value* value = Find(name);
    if (value == nullptr) return std::nullopt;
    if (value->is_int64()) return value->get_int64();
    if (value->is_double() && std::abs(value->get_double()) < 9e15 &&
        value->get_double() == std::floor(value->get_double())) {
      return static_cast<int64_t>(value->get_double());
    }
    Wrong(name, "value is not a valid integer", "type_error.integer");
    return std::nullopt;
  }

  std::optional<double> Number(std::string_view name) const {
    const json::value* value = Find(name);
    if (value == nullptr) return std::nullopt;
    const double number = value->is_number() ? value->to_number<double>() : NAN;
    if (std::isfinite(number)) return number;
    Wrong(name, "value is not a valid float", "type_error.float");
    return std::nullopt;
  }

  void Wrong(std::string_view name, std::string_view message, std::string_view type) const {
    std::vector<std::string> location = location_;
    location.emplace_back(name);
    problem_.Malformed(location, message, type);
  }

 private:
  const json::object& object_;
  const std::vector<std::string> location_;
  SeedProblem& problem_;
};

// A value outside its range is the caller's mistake, but not the schema's: 400.
bool Inside(bool inside, std::string_view name, std::string_view must, SeedProblem& problem) {
  if (!inside) problem.Refused(absl::StrFormat("generate_kwargs: %s must be %s", name, must));
  return inside;
}

constexpr std::array kKnownKwargs = {"max_length",
                                     "min_length",
                                     "do_sample",
                                     "early_stopping",
                                     "num_beams",
                                     "temperature",
                                     "top_k",
                                     "top_p",
                                     "typical_p",
                                     "repetition_penalty",
                                     "pad_token_id",
                                     "eos_token_id",
                                     "max_new_tokens",
                                     "min_new_tokens",
                                     "no_repeat_ngram_size",
                                     "bad_words_ids",
                                     "num_return_sequences",
                                     "stop_strings",
                                     "seed"};

// Values of the time's own defaults, which beat those of the model's file.
void ReadFilters(const SeedFields& fields, SeedProblem& problem, pb::Sampling* sampling) {
  const double temperature = fields.Number("temperature").value_or(1.0);
  const bool greedy = !fields.Bool("do_sample").value_or(true) || temperature == 0;
  if (Inside(temperature >= 0 && temperature <= 2, "temperature", "from 0 to 2", problem)) {
    sampling->set_temperature(greedy ? 0.0F : static_cast<float>(temperature));
  }
  const int64_t top_k = fields.Integer("top_k").value_or(10);
  if (Inside(top_k >= 0 && top_k <= INT32_MAX, "top_k", "0 or more", problem)) {
    sampling->set_top_k(static_cast<int32_t>(top_k));
  }
  const double top_p = fields.Number("top_p").value_or(1.0);
  if (Inside(top_p > 0 && top_p <= 1, "top_p", "above 0 and up to 1", problem)) {
    sampling->set_top_p(static_cast<float>(top_p));
  }
  const double typical_p = fields.Number("typical_p").value_or(1.0);
  if (Inside(typical_p > 0 && typical_p <= 1, "typical_p", "above 0 and up to 1", problem)) {
    sampling->set_typical_p(static_cast<float>(typical_p));
  }
  const double penalty = fields.Number("repetition_penalty").value_or(1.0);
  if (Inside(penalty > 0, "repetition_penalty", "above 0", problem)) {
    sampling->set_repetition_penalty(static_cast<float>(penalty));
  }
  const int64_t ngram = fields.Integer("no_repeat_ngram_size").value_or(0);
  if (Inside(ngram >= 0 && ngram <= 1024, "no_repeat_ngram_size", "from 0 to 1024", problem)) {
    sampling->set_no_repeat_ngram(static_cast<uint32_t>(ngram));
  }
}

void ReadStops(const SeedFields& fields, SeedProblem& problem, pb::Sampling* sampling) {
  if (const json::value* stops = fields.Find("stop_strings")) {
    json::array list;
    if (stops->is_array()) {
      list = stops->get_array();
    } else {
      list.push_back(*stops);
    }
    if (!Inside(list.size() <= 16, "stop_strings", "at most 16", problem)) return;
    for (const json::value& item : list) {
      if (!item.is_string())
        return fields.Wrong("stop_strings", "str type expected", "type_error.str");
      const size_t size = item.get_string().size();
      if (!Inside(size >= 1 && size <= 256, "stop_strings", "of 1 to 256 bytes", problem)) return;
      sampling->add_stop(item.get_string().c_str(), size);
    }
  }
  const json::value* eos = fields.Find("eos_token_id");
  if (eos == nullptr) return;
  json::array ids;
  if (eos->is_array()) {
    ids = eos->get_array();
  } else {
    ids.push_back(*eos);
  }
  if (!Inside(ids.size() <= 64, "eos_token_id", "at most 64 ids", problem)) return;
  for (const json::value& id : ids) {
    if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() > INT32_MAX) {
      return fields.Wrong("eos_token_id", "value is not a valid integer", "type_error.integer");
    }
    sampling->add_stop_token_ids(static_cast<uint32_t>(id.get_int64()));
  }
  // A given end of text takes the place of the tokenizer's own.
  sampling->set_ignore_eos(true);
}

void ReadLengths(const SeedFields& fields, SeedProblem& problem, SeedLengths* lengths) {
  lengths->max_length = fields.Integer("max_length");
  lengths->max_new_tokens = fields.Integer("max_new_tokens");
  lengths->min_new_tokens = fields.Integer("min_new_tokens");
  lengths->min_length = fields.Integer("min_length").value_or(0);
  const auto fits = [](const std::optional<int64_t>& value, int64_t min) {
    return !value || (*value >= min && *value <= INT32_MAX);
  };
  Inside(fits(lengths->max_length, 1), "max_length", "at least 1", problem);
  Inside(fits(lengths->max_new_tokens, 1), "max_new_tokens", "at least 1", problem);
  Inside(fits(lengths->min_new_tokens, 0), "min_new_tokens", "at least 0", problem);
  Inside(fits(lengths->min_length, 0), "min_length", "at least 0", problem);
}

void ReadKwargs(const json::object& kwargs, SeedProblem& problem, SeedLengths* lengths,
                pb::Sampling* sampling) {
  for (const auto& [key, value] : kwargs) {
    if (std::ranges::find(kKnownKwargs, View(key)) == kKnownKwargs.end()) {
      return problem.Refused(
          absl::StrFormat("generate_kwargs: %s is not known", View(key).substr(0, 64)));
    }
  }
  const SeedFields fields(kwargs, {"body", "generate_kwargs"}, problem);
  if (const auto beams = fields.Integer("num_beams"); beams && *beams != 1) {
    problem.Refused(absl::StrFormat(
        "generate_kwargs: num_beams is %d, but beam search is not offered: leave it at 1", *beams));
  }
  if (const json::value* words = fields.Find("bad_words_ids");
      words != nullptr && !(words->is_array() && words->get_array().empty())) {
    problem.Refused("generate_kwargs: bad_words_ids is not offered yet");
  }
  fields.Integer("pad_token_id");  // One sequence is never padded; its type still counts.
  ReadFilters(fields, problem, sampling);
  ReadStops(fields, problem, sampling);
  ReadLengths(fields, problem, lengths);
  const int64_t sequences = fields.Integer("num_return_sequences").value_or(1);
  if (Inside(sequences >= 1 && sequences <= 16, "num_return_sequences", "from 1 to 16", problem)) {
    sampling->set_n(static_cast<uint32_t>(sequences));
  }
  if (const auto seed = fields.Integer("seed")) sampling->set_seed(*seed);
}

void ReadSeedMessages(const json::value& given, SeedProblem& problem, pb::ChatRequest* chat) {
  if (!given.is_array()) {
    return problem.Malformed({"body", "messages"}, "value is not a valid list", "type_error.list");
  }
  const json::array& list = given.get_array();
  if (list.empty()) return problem.Refused("Conversational parameter messages required");
  if (list.size() > kMessagesMax) return problem.Refused("messages: at most 4096 are possible");
  for (size_t i = 0; i < list.size() && !problem.found(); ++i) {
    const std::vector<std::string> location = {"body", "messages", std::to_string(i)};
    if (!list[i].is_object()) {
      return problem.Malformed(location, "value is not a valid dict", "type_error.dict");
    }
    const SeedFields fields(list[i].get_object(), location, problem);
    pb::Message* message = chat->add_messages();
    for (const char* name : {"role", "content"}) {
      if (fields.Find(name) == nullptr) fields.Wrong(name, "field required", "value_error.missing");
    }
    message->set_role(fields.String("role").value_or(""));
    message->set_content(fields.String("content").value_or(""));
    static constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant",
                                                  "tool"};
    if (!problem.found() && std::ranges::find(kRoles, message->role()) == std::end(kRoles)) {
      problem.Refused(absl::StrFormat(
          "messages[%d].role must be system, developer, user, assistant or tool", i));
    }
  }
}

// True for a conversation, by the pipeline and the fields that are there.
bool DecideKind(ChatPipeline pipeline, bool has_prompt, bool has_messages, SeedProblem& problem) {
  if (pipeline == ChatPipeline::kAuto && has_prompt && has_messages) {
    problem.Refused("prompt and messages exclude each other: give one of them");
  }
  const bool conversation = pipeline == ChatPipeline::kConversational ||
                            (pipeline == ChatPipeline::kAuto && has_messages);
  if (conversation && !has_messages) problem.Refused("Conversational parameter messages required");
  if (!conversation && !has_prompt) problem.Refused("Text generation parameter prompt required");
  return conversation;
}

}  // namespace

void SeedProblem::Malformed(const std::vector<std::string>& location, std::string_view message,
                            std::string_view type) {
  if (found()) return;
  std::string body = "{\"detail\":[{\"loc\":[";
  for (size_t i = 0; i < location.size(); ++i) {
    if (i > 0) body += ',';
    // A place in a list is a number.
    const bool number = location[i].find_first_not_of("0123456789") == std::string::npos;
    if (number && !location[i].empty()) {
      body += location[i];
    } else {
      AppendJsonString(location[i], &body);
    }
  }
  body += "],\"msg\":";
  AppendJsonString(message, &body);
  body += ",\"type\":";
  AppendJsonString(type, &body);
  body += "}]}";
  response = net::Response{
      .status = 422, .headers = {{"Content-Type", "application/json"}}, .body = std::move(body)};
}

void SeedProblem::Refused(std::string_view detail) {
  if (found()) return;
  std::string body = "{\"detail\":";
  AppendJsonString(detail, &body);
  response = net::Response{
      .status = 400, .headers = {{"Content-Type", "application/json"}}, .body = body + "}"};
}

SeedCall ReadSeedCall(std::string_view text, ChatPipeline pipeline, bool wants_events,
                      SeedProblem& problem) {
  SeedCall call;
  if (text.empty()) {
    problem.Malformed({"body"}, "field required", "value_error.missing");
    return call;
  }
  const absl::StatusOr<json::value> body = ParseJson(text);
  if (!body.ok()) {
    problem.Malformed(
        {"body"}, std::string_view(body.status().message().data(), body.status().message().size()),
        "value_error.jsondecode");
    return call;
  }
  if (!body->is_object()) {
    problem.Malformed({"body"}, "value is not a valid dict", "type_error.dict");
    return call;
  }
  const SeedFields fields(body->get_object(), {"body"}, problem);
  const auto prompt = fields.String("prompt");
  const json::value* messages = fields.Find("messages");
  const bool full_text = fields.Bool("return_full_text").value_or(true);
  call.clean_up_spaces = fields.Bool("clean_up_tokenization_spaces").value_or(false);
  const std::string prefix = fields.String("prefix").value_or("");
  const auto long_generation = fields.String("handle_long_generation");
  call.stream = fields.Bool("stream").value_or(false) || wants_events;
  const std::string model = fields.String("model").value_or("");
  if (problem.found()) return call;

  call.conversation = DecideKind(pipeline, prompt.has_value(), messages != nullptr, problem);
  if (long_generation && *long_generation != "hole") {
    problem.Refused("handle_long_generation must be \"hole\" or null");
  }
  if (problem.found()) return call;
  if (call.conversation) {
    ReadSeedMessages(*messages, problem, &call.chat);
    call.chat.set_model(model);
    if (long_generation) {
      problem.Refused("handle_long_generation is for a prompt; a conversation is never cut");
    }
  } else {
    call.generate.set_text(prefix + *prompt);
    call.generate.set_model(model);
    call.generate.set_add_special_tokens(true);
    call.generate.set_drop_oldest(long_generation.has_value());
    if (full_text) call.full_text = prefix + *prompt;
  }
  pb::Sampling& sampling = call.sampling();
  sampling.set_order(pb::FILTER_ORDER_TRANSFORMERS);
  const json::value* kwargs = fields.Find("generate_kwargs");
  if (kwargs == nullptr) {
    // do_sample is false where nobody says otherwise.
    sampling.set_temperature(0);
  } else if (!kwargs->is_object()) {
    fields.Wrong("generate_kwargs", "value is not a valid dict", "type_error.dict");
  } else {
    ReadKwargs(kwargs->get_object(), problem, &call.lengths, &sampling);
  }
  return call;
}

bool NeedsPromptTokens(const SeedLengths& lengths) {
  return !lengths.max_new_tokens || lengths.min_length > 0;
}

void ApplyLengths(const SeedLengths& lengths, int64_t prompt_tokens, SeedProblem& problem,
                  pb::Sampling* sampling) {
  int64_t new_tokens = 0;
  if (lengths.max_new_tokens) {
    new_tokens = *lengths.max_new_tokens;
  } else if (lengths.max_length) {
    new_tokens = *lengths.max_length - prompt_tokens;
    if (new_tokens < 1) {
      return problem.Refused(absl::StrFormat(
          "max_length is %d, but the prompt alone has %d tokens: raise it, or use max_new_tokens",
          *lengths.max_length, prompt_tokens));
    }
  } else {
    // The default counts the prompt too, unless nothing would be left.
    new_tokens = prompt_tokens < kDefaultLength ? kDefaultLength - prompt_tokens : kDefaultLength;
  }
  const int64_t min_tokens =
      lengths.min_new_tokens.value_or(std::max<int64_t>(lengths.min_length - prompt_tokens, 0));
  if (min_tokens > new_tokens) {
    return problem.Refused(absl::StrFormat(
        "generate_kwargs: at least %d new tokens are asked for, but at most %d may come",
        min_tokens, new_tokens));
  }
  sampling->set_max_tokens(static_cast<uint32_t>(new_tokens));
  sampling->set_min_tokens(static_cast<uint32_t>(min_tokens));
}

}  // namespace model_server::gateway
