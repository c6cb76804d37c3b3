#include "local-cluster/runner/rewrite.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace local_cluster {
namespace {

constexpr std::string_view kBeforeWord = "=:,;(<>\"'`";
constexpr std::string_view kAfterPath = "/=:,;)<>\"'`&|";
constexpr std::string_view kService = ".svc";
constexpr std::string_view kDomain = ".cluster.local";

bool BeginsWord(std::string_view text, size_t position) {
  if (position == 0) return true;
  const char before = text[position - 1];
  return absl::ascii_isspace(before) || kBeforeWord.find(before) != std::string_view::npos;
}

bool EndsComponent(std::string_view text, size_t position) {
  if (position == text.size()) return true;
  const char next = text[position];
  return absl::ascii_isspace(next) || kAfterPath.find(next) != std::string_view::npos;
}

const PathMapping* LongestMatch(std::string_view rest, const std::vector<PathMapping>& mappings) {
  const PathMapping* best = nullptr;
  for (const PathMapping& mapping : mappings) {
    if (mapping.container_path.empty() || !rest.starts_with(mapping.container_path)) continue;
    if (!EndsComponent(rest, mapping.container_path.size())) continue;
    if (best == nullptr || mapping.container_path.size() > best->container_path.size()) {
      best = &mapping;
    }
  }
  return best;
}

bool IsNameCharacter(char c) { return absl::ascii_isalnum(c) || c == '-' || c == '.'; }

}  // namespace

std::string ExpandVariables(std::string_view text,
                            const std::map<std::string, std::string, std::less<>>& variables) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    if (text[i + 1] == '$') {
      out += '$';
      ++i;
      continue;
    }
    const size_t end = text[i + 1] == '(' ? text.find(')', i) : std::string_view::npos;
    if (end == std::string_view::npos) {
      out += '$';
      continue;
    }
    const auto found = variables.find(text.substr(i + 2, end - i - 2));
    if (found != variables.end()) {
      out += found->second;
    } else {
      out += text.substr(i, end - i + 1);
    }
    i = end;
  }
  return out;
}

std::string RewritePaths(std::string_view text, const std::vector<PathMapping>& mappings) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const PathMapping* mapping = nullptr;
    if (text[i] == '/' && BeginsWord(text, i)) mapping = LongestMatch(text.substr(i), mappings);
    if (mapping == nullptr) {
      out += text[i++];
      continue;
    }
    out += mapping->host_path;
    i += mapping->container_path.size();
  }
  return out;
}

std::string RewriteClusterNames(
    std::string_view text,
    const std::function<std::optional<std::string>(std::string_view name)>& resolve) {
  std::string out;
  size_t copied = 0;
  for (size_t found = 0; (found = text.find(kService, found)) != std::string_view::npos;) {
    size_t begin = found;
    while (begin > copied && IsNameCharacter(text[begin - 1])) --begin;
    size_t end = found + kService.size();
    if (text.substr(end).starts_with(kDomain)) end += kDomain.size();
    const bool whole = end == text.size() || !IsNameCharacter(text[end]);
    const std::string_view name = text.substr(begin, found - begin);
    std::optional<std::string> address;
    if (whole && !name.empty()) address = resolve(name);
    if (address) {
      out += text.substr(copied, begin - copied);
      out += *address;
      copied = end;
    }
    found = end;
  }
  out += text.substr(copied);
  return out;
}

}  // namespace local_cluster
