#include "gpu-provisioner/arm/arm_error.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

#include "boost/json.hpp"

namespace gpu_provisioner {
namespace {

constexpr size_t kDepthMax = 8;
constexpr size_t kBytesMax = 64 << 10;
constexpr size_t kErrorsMax = 32;

void AddFromJson(const boost::json::value& value, size_t depth, std::vector<CloudError>& errors);
void AddFromText(std::string_view text, size_t depth, std::vector<CloudError>& errors);

std::string TextOf(const boost::json::object& object, std::string_view name) {
  const auto* member = object.if_contains(boost::json::string_view(name.data(), name.size()));
  if (member == nullptr || !member->is_string()) return "";
  return std::string(std::string_view(member->get_string()));
}

void AddError(CloudError error, size_t depth, std::vector<CloudError>& errors) {
  if (depth >= kDepthMax || errors.size() >= kErrorsMax) return;
  const std::string message = error.message;
  if (!error.code.empty() || !error.message.empty()) errors.push_back(std::move(error));
  AddFromText(message, depth + 1, errors);
}

// additionalInfo holds the names of the policies that refused; they are kept in the message.
std::string PolicyNames(const boost::json::object& error) {
  const auto* infos = error.if_contains("additionalInfo");
  if (infos == nullptr || !infos->is_array()) return "";
  std::string names;
  for (const auto& entry : infos->get_array()) {
    if (!entry.is_object()) continue;
    const auto* info = entry.get_object().if_contains("info");
    if (info == nullptr || !info->is_object()) continue;
    for (const char* key : {"policyDefinitionDisplayName", "policyAssignmentName"}) {
      const std::string name = TextOf(info->get_object(), key);
      if (!name.empty()) names += (names.empty() ? "" : ", ") + name;
    }
  }
  return names;
}

void AddFromObject(const boost::json::object& object, size_t depth,
                   std::vector<CloudError>& errors) {
  if (depth >= kDepthMax) return;
  if (const auto* inner = object.if_contains("error"); inner != nullptr && inner->is_object()) {
    AddFromJson(*inner, depth, errors);
    return;
  }
  CloudError error{TextOf(object, "code"), TextOf(object, "message")};
  const std::string policies = PolicyNames(object);
  if (!policies.empty()) error.message += " (policies: " + policies + ")";
  AddError(std::move(error), depth, errors);
  for (const char* key : {"details", "innererror"}) {
    if (const auto* more = object.if_contains(key)) AddFromJson(*more, depth + 1, errors);
  }
}

void AddFromJson(const boost::json::value& value, size_t depth, std::vector<CloudError>& errors) {
  if (depth >= kDepthMax) return;
  if (value.is_object()) AddFromObject(value.get_object(), depth, errors);
  if (!value.is_array()) return;
  for (const auto& element : value.get_array()) AddFromJson(element, depth, errors);
}

// The text between quotes from `start`, which stands behind the opening quote. Backslashes escape.
std::string QuotedText(std::string_view text, size_t start) {
  std::string result;
  for (size_t i = start; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      result.push_back(text[++i]);
    } else if (text[i] == '"') {
      return result;
    } else {
      result.push_back(text[i]);
    }
  }
  return result;
}

std::optional<boost::json::value> EmbeddedJson(std::string_view text) {
  const size_t start = text.find('{');
  const size_t end = text.rfind('}');
  if (start == std::string_view::npos || end == std::string_view::npos || end < start) {
    return std::nullopt;
  }
  boost::system::error_code error;
  boost::json::parse_options options;
  options.max_depth = 32;
  auto value = boost::json::parse(boost::json::string_view(text.data() + start, end - start + 1),
                                  error, {}, options);
  if (error || !value.is_object()) return std::nullopt;
  return value;
}

void AddFromText(std::string_view text, size_t depth, std::vector<CloudError>& errors) {
  if (depth >= kDepthMax || text.empty()) return;
  const size_t code_at = text.find("Code=\"");
  if (code_at != std::string_view::npos) {
    CloudError error{QuotedText(text, code_at + 6), ""};
    const size_t message_at = text.find("Message=\"", code_at);
    if (message_at != std::string_view::npos) error.message = QuotedText(text, message_at + 9);
    AddError(std::move(error), depth, errors);
    // A text may hold several; those inside the message were found by the recursion already.
    const size_t next = text.find("Code=\"", code_at + 6);
    if (next != std::string_view::npos && message_at != std::string_view::npos &&
        next > message_at + 9 + errors.back().message.size()) {
      AddFromText(text.substr(next), depth + 1, errors);
    }
    return;
  }
  if (const auto value = EmbeddedJson(text)) AddFromJson(*value, depth, errors);
}

}  // namespace

std::vector<CloudError> ParseArmError(std::string_view body) {
  std::vector<CloudError> errors;
  const std::string_view bounded = body.substr(0, kBytesMax);
  boost::system::error_code error;
  boost::json::parse_options options;
  options.max_depth = 64;
  const auto value = boost::json::parse(boost::json::string_view(bounded.data(), bounded.size()),
                                        error, {}, options);
  if (!error && value.is_object()) {
    AddFromJson(value, 0, errors);
  } else if (!bounded.empty()) {
    AddError({"", std::string(bounded.substr(0, 2048))}, 0, errors);
  }
  return errors;
}

std::vector<CloudError> ExpandError(const CloudError& outer) {
  std::vector<CloudError> errors;
  CloudError bounded{outer.code, outer.message.substr(0, kBytesMax)};
  AddError(std::move(bounded), 0, errors);
  return errors;
}

std::string ReasonOfCode(std::string_view code) {
  std::string reason;
  for (const char c : code) {
    const bool allowed = absl::ascii_isalpha(c) || (!reason.empty() && absl::ascii_isalnum(c));
    if (allowed || (c == '_' && !reason.empty())) reason.push_back(c);
  }
  while (!reason.empty() && reason.back() == '_') reason.pop_back();
  return reason.empty() ? "Unclassified" : reason.substr(0, 120);
}

}  // namespace gpu_provisioner
