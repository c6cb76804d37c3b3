#include "model-server/gateway/codec/openai_request.h"

#include <cmath>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"

namespace model_server::gateway {
namespace json = boost::json;
namespace pb = kaito::inference::v1;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kTokensMax = std::numeric_limits<int32_t>::max();

void ReadLogitBias(Fields& fields, Problem& problem, pb::Sampling* sampling) {
  const json::object* biases = fields.Object("logit_bias");
  if (biases == nullptr) return;
  if (biases->size() > 1024) {
    return problem.WrongValue(fields.PathOf("logit_bias"), "an object of at most 1024 token ids");
  }
  for (const auto& [key, value] : *biases) {
    uint32_t id = 0;
    if (!absl::SimpleAtoi(absl::string_view(key.data(), key.size()), &id) || id > INT32_MAX) {
      return problem.WrongValue(fields.PathOf("logit_bias"), "an object whose keys are token ids");
    }
    const double bias = value.is_number() ? value.to_number<double>() : kInfinity;
    if (!(std::abs(bias) <= 100)) {
      return problem.WrongValue(fields.PathOf("logit_bias"), "made of numbers from -100 to 100");
    }
    (*sampling->mutable_logit_bias())[id] = static_cast<float>(bias);
  }
}

void ReadFilters(Fields& fields, Problem& problem, pb::Sampling* sampling) {
  if (const auto value = fields.Number("temperature", {0, 2})) {
    sampling->set_temperature(static_cast<float>(*value));
  }
  if (const auto value = fields.Number("top_p", {.min = 0, .max = 1, .min_open = true})) {
    sampling->set_top_p(static_cast<float>(*value));
  }
  if (const auto value = fields.Integer("top_k", -1, INT32_MAX)) {
    sampling->set_top_k(*value < 0 ? 0 : static_cast<int32_t>(*value));
  }
  if (const auto value = fields.Number("min_p", {.min = 0, .max = 1, .max_open = true})) {
    sampling->set_min_p(static_cast<float>(*value));
  }
  if (const auto value = fields.Number("typical_p", {.min = 0, .max = 1, .min_open = true})) {
    sampling->set_typical_p(static_cast<float>(*value));
  }
  if (const auto value =
          fields.Number("repetition_penalty", {.min = 0, .max = kInfinity, .min_open = true})) {
    sampling->set_repetition_penalty(static_cast<float>(*value));
  }
  if (const auto value = fields.Number("presence_penalty", {-2, 2})) {
    sampling->set_presence_penalty(static_cast<float>(*value));
  }
  if (const auto value = fields.Number("frequency_penalty", {-2, 2})) {
    sampling->set_frequency_penalty(static_cast<float>(*value));
  }
  ReadLogitBias(fields, problem, sampling);
}

}  // namespace

const json::object& BodyObject(const json::value& body, Problem& problem) {
  static const json::object empty;
  if (body.is_object()) return body.get_object();
  problem.Set("invalid_type", "", "the body must be a JSON object");
  return empty;
}

void ReadSampling(Fields& fields, Problem& problem, pb::Sampling* sampling) {
  // max_completion_tokens is the newer name and wins; both are checked.
  const auto max_tokens = fields.Integer("max_tokens", 1, kTokensMax);
  const auto max_completion_tokens = fields.Integer("max_completion_tokens", 1, kTokensMax);
  if (max_completion_tokens || max_tokens) {
    sampling->set_max_tokens(
        static_cast<uint32_t>(max_completion_tokens.value_or(max_tokens.value_or(0))));
  }
  if (const auto value = fields.Integer("min_tokens", 0, kTokensMax)) {
    sampling->set_min_tokens(static_cast<uint32_t>(*value));
  }
  ReadFilters(fields, problem, sampling);

  const auto n = fields.Integer("n", 1, 16);
  if (n) sampling->set_n(static_cast<uint32_t>(*n));
  if (const auto best_of = fields.Integer("best_of", 1, 16); best_of && *best_of != n.value_or(1)) {
    problem.Unsupported(fields.PathOf("best_of"), "only the value of n is possible");
  }
  if (fields.Bool("use_beam_search").value_or(false)) {
    problem.Unsupported(fields.PathOf("use_beam_search"), "beam search is not offered");
  }
  if (const auto seed = fields.Integer("seed", std::numeric_limits<int64_t>::min(),
                                       std::numeric_limits<int64_t>::max())) {
    sampling->set_seed(*seed);
  }
  for (std::string& stop : fields.Strings("stop", 16, 1, 256)) {
    sampling->add_stop(std::move(stop));
  }
  for (const uint32_t id : fields.Ids("stop_token_ids", 64)) sampling->add_stop_token_ids(id);
  for (const uint32_t id : fields.Ids("allowed_token_ids", 1 << 20)) {
    sampling->add_allowed_token_ids(id);
  }
  for (std::string& word : fields.Strings("bad_words", 1024, 1, 256)) {
    sampling->add_bad_words(std::move(word));
  }
  sampling->set_include_stop(fields.Bool("include_stop_str_in_output").value_or(false));
  sampling->set_ignore_eos(fields.Bool("ignore_eos").value_or(false));
  sampling->set_order(pb::FILTER_ORDER_VLLM);
}

StreamOptions ReadStreamOptions(Fields& fields, Problem& problem) {
  StreamOptions options;
  options.stream = fields.Bool("stream").value_or(false);
  const json::object* given = fields.Object("stream_options");
  if (given == nullptr) return options;
  if (!options.stream) {
    problem.WrongValue("stream_options", "absent unless stream is true");
    return options;
  }
  Fields inner(*given, "stream_options", problem);
  options.include_usage = inner.Bool("include_usage").value_or(false);
  options.continuous_usage = inner.Bool("continuous_usage_stats").value_or(false);
  return options;
}

void RefuseConstraints(Fields& fields, Problem& problem) {
  if (const json::object* format = fields.Object("response_format")) {
    Fields inner(*format, "response_format", problem);
    const auto type = inner.String("type");
    if (!type && !problem.found()) {
      problem.Missing("response_format.type");
    } else if (type == "json_object" || type == "json_schema" || type == "structural_tag") {
      problem.Unsupported("response_format.type",
                          absl::StrFormat("%s is not offered yet; only text", *type));
    } else if (type && *type != "text") {
      problem.WrongValue("response_format.type", "text, json_object or json_schema");
    }
  }
  for (const char* name : {"structured_outputs", "guided_json", "guided_regex", "guided_choice",
                           "guided_grammar", "guided_decoding_backend"}) {
    if (fields.Find(name) != nullptr) {
      problem.Unsupported(name, "output under a constraint is not offered yet");
    }
  }
  for (const char* name : {"prompt_logprobs", "truncate_prompt_tokens"}) {
    if (fields.Find(name) != nullptr) problem.Unsupported(name, "not offered yet");
  }
}

std::vector<std::string> UnknownFields(const Fields& fields, const RequestRules& rules,
                                       Problem& problem) {
  std::vector<std::string> unknown = fields.Unknown();
  if (rules.strict_fields && !unknown.empty()) {
    problem.Unsupported(unknown.front().substr(0, 64), "no field of this route has this name");
  }
  return unknown;
}

}  // namespace model_server::gateway
