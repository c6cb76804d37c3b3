#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "local-cluster/apiserver/schema/errors.h"
#include "local-cluster/apiserver/schema/patch.h"

namespace local_cluster {
namespace {

using boost::json::value;

absl::Status Unprocessable(std::string_view why) {
  ApiError error;
  error.code = 422;
  error.reason = "Invalid";
  error.message =
      absl::StrFormat("the server rejected our request due to an error in our request: %s", why);
  return ToStatus(error);
}

absl::StatusOr<std::vector<std::string>> ParsePointer(std::string_view text) {
  std::vector<std::string> tokens;
  if (text.empty()) return tokens;
  if (text.front() != '/') return Unprocessable("a path must begin with /");
  std::string token;
  for (size_t i = 1; i <= text.size(); ++i) {
    if (i == text.size() || text[i] == '/') {
      tokens.push_back(std::move(token));
      token.clear();
    } else if (text[i] == '~' && i + 1 < text.size() &&
               (text[i + 1] == '0' || text[i + 1] == '1')) {
      token += text[++i] == '0' ? '~' : '/';
    } else {
      token += text[i];
    }
  }
  if (tokens.size() > 512) return Unprocessable("path is too deep");
  return tokens;
}

// An element's index; size for "-" where `appending`.
absl::StatusOr<size_t> ParseIndex(const std::string& token, size_t size, bool appending) {
  if (appending && token == "-") return size;
  size_t index = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), index);
  const bool leading_zero = token.size() > 1 && token.front() == '0';
  if (error != std::errc() || end != token.data() + token.size() || leading_zero || index > size ||
      (!appending && index == size)) {
    return Unprocessable(absl::StrFormat("no element %s", token));
  }
  return index;
}

absl::StatusOr<value*> Find(value& root, const std::vector<std::string>& tokens, size_t count) {
  value* at = &root;
  for (size_t i = 0; i < count; ++i) {
    if (at->is_object()) {
      value* member = at->get_object().if_contains(tokens[i]);
      if (member == nullptr) {
        return Unprocessable(absl::StrFormat("path has no member \"%s\"", tokens[i]));
      }
      at = member;
    } else if (at->is_array()) {
      ASSIGN_OR_RETURN(const size_t index, ParseIndex(tokens[i], at->get_array().size(), false));
      at = &at->get_array()[index];
    } else {
      return Unprocessable("path leads through a value");
    }
  }
  return at;
}

absl::Status Add(value& root, const std::vector<std::string>& tokens, value added) {
  if (tokens.empty()) {
    root = std::move(added);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(value * parent, Find(root, tokens, tokens.size() - 1));
  if (parent->is_object()) {
    parent->get_object()[tokens.back()] = std::move(added);
    return absl::OkStatus();
  }
  if (!parent->is_array()) return Unprocessable("path leads through a value");
  boost::json::array& array = parent->get_array();
  ASSIGN_OR_RETURN(const size_t index, ParseIndex(tokens.back(), array.size(), true));
  array.insert(array.begin() + static_cast<std::ptrdiff_t>(index), std::move(added));
  return absl::OkStatus();
}

absl::StatusOr<value> Remove(value& root, const std::vector<std::string>& tokens) {
  if (tokens.empty()) return Unprocessable("the whole document cannot be removed");
  ASSIGN_OR_RETURN(value * parent, Find(root, tokens, tokens.size() - 1));
  ASSIGN_OR_RETURN(value * found, Find(root, tokens, tokens.size()));
  value removed = std::move(*found);
  if (parent->is_object()) {
    parent->get_object().erase(tokens.back());
  } else {
    boost::json::array& array = parent->get_array();
    ASSIGN_OR_RETURN(const size_t index, ParseIndex(tokens.back(), array.size(), false));
    array.erase(array.begin() + static_cast<std::ptrdiff_t>(index));
  }
  return removed;
}

absl::Status ApplyOne(value& root, const value& operation) {
  const std::string_view op = kube::StringAt(operation, {"op"});
  if (kube::FindPath(operation, {"path"}) == nullptr) return Unprocessable("operation has no path");
  ASSIGN_OR_RETURN(const auto path, ParsePointer(kube::StringAt(operation, {"path"})));
  const value* operand = kube::FindPath(operation, {"value"});
  if (op == "remove") return Remove(root, path).status();
  if (op == "move" || op == "copy") {
    ASSIGN_OR_RETURN(const auto from, ParsePointer(kube::StringAt(operation, {"from"})));
    if (op == "move") {
      ASSIGN_OR_RETURN(value moved, Remove(root, from));
      return Add(root, path, std::move(moved));
    }
    ASSIGN_OR_RETURN(const value* source, Find(root, from, from.size()));
    return Add(root, path, value(*source));
  }
  if (operand == nullptr) return Unprocessable(absl::StrFormat("operation %s has no value", op));
  if (op == "add") return Add(root, path, *operand);
  if (op == "replace") {
    ASSIGN_OR_RETURN(value * target, Find(root, path, path.size()));
    *target = *operand;
    return absl::OkStatus();
  }
  if (op == "test") {
    const absl::StatusOr<value*> target = Find(root, path, path.size());
    const bool equal = target.ok() ? **target == *operand : operand->is_null();
    if (!equal) {
      return Unprocessable(
          absl::StrFormat("testing path %s: test failed", kube::StringAt(operation, {"path"})));
    }
    return absl::OkStatus();
  }
  return Unprocessable(absl::StrFormat("unknown operation \"%s\"", op));
}

}  // namespace

absl::Status ApplyJsonPatch(value& target, const value& patch) {
  if (!patch.is_array()) return BadRequestError("a JSON patch is an array of operations");
  const boost::json::array& operations = patch.get_array();
  if (operations.size() > kPatchOperationsMax) {
    return TooLargeError(
        absl::StrFormat("The allowed maximum operations in a JSON patch is %d, got %d",
                        kPatchOperationsMax, operations.size()));
  }
  value result = target;
  for (const value& operation : operations) RETURN_IF_ERROR(ApplyOne(result, operation));
  target = std::move(result);
  return absl::OkStatus();
}

}  // namespace local_cluster
