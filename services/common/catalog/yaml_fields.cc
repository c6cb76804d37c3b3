#include "common/catalog/yaml_fields.h"

#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "common/base/files.h"
#include "common/base/flags.h"

namespace catalog {
namespace {

constexpr uint64_t kFileBytesMax = 1 << 20;
constexpr size_t kElementsMax = 4096;

bool IsYamlName(const std::string& name) {
  return name.ends_with(".yaml") || name.ends_with(".yml");
}

// yaml-cpp reports errors by throwing; this is the one place that sees them.
std::optional<YAML::Node> ParseDocument(const std::string& text, std::string& error) {
  try {
    return YAML::Load(text);
  } catch (const YAML::Exception& e) {
    error = absl::StrFormat("line %d: %s", e.mark.line + 1, e.msg);
    return std::nullopt;
  }
}

}  // namespace

std::string Problem::ToString() const {
  if (field.empty()) return absl::StrFormat("%s: %s", file, reason);
  return absl::StrFormat("%s: %s: %s", file, field, reason);
}

bool ForEachYamlFile(const std::string& folder, std::vector<Problem>& problems,
                     const std::function<void(const std::string&, const YAML::Node&)>& read) {
  const auto names = base::ListDirectory(folder);
  if (!names.ok()) {
    problems.push_back({.file = folder, .reason = std::string(names.status().message())});
    return false;
  }
  for (const std::string& name : *names) {
    // A mounted ConfigMap has hidden folders ("..data") beside the files.
    if (!IsYamlName(name) || name.starts_with(".")) continue;
    const auto text = base::ReadFile(absl::StrFormat("%s/%s", folder, name), kFileBytesMax);
    if (!text.ok()) {
      problems.push_back({.file = name, .reason = std::string(text.status().message())});
      continue;
    }
    std::string error;
    const std::optional<YAML::Node> document = ParseDocument(*text, error);
    if (!document) {
      problems.push_back({.file = name, .reason = error});
    } else if (!document->IsMap()) {
      problems.push_back({.file = name, .reason = "is no map of keys and values"});
    } else {
      read(name, *document);
    }
  }
  return true;
}

YamlFields::YamlFields(const YAML::Node& map, std::string file, std::string path,
                       std::vector<Problem>& problems)
    : map_(map),
      file_(std::move(file)),
      path_(std::move(path)),
      problems_(&problems),
      problems_before_(problems.size()) {}

std::string YamlFields::PathOf(std::string_view name) const {
  if (path_.empty()) return std::string(name);
  return absl::StrFormat("%s.%s", path_, name);
}

void YamlFields::Report(std::string_view name, std::string_view reason) {
  problems_->push_back({.file = file_, .field = PathOf(name), .reason = std::string(reason)});
}

std::optional<std::string> YamlFields::Scalar(std::string_view name) {
  known_.insert(std::string(name));
  const YAML::Node node = std::as_const(map_)[std::string(name)];
  if (!node.IsDefined() || node.IsNull()) return std::nullopt;
  if (!node.IsScalar()) {
    Report(name, "is no single value");
    return std::nullopt;
  }
  return node.Scalar();
}

std::string YamlFields::RequiredText(std::string_view name) {
  const std::optional<std::string> text = Scalar(name);
  if (!text || text->empty()) Report(name, "is missing");
  return text.value_or("");
}

std::string YamlFields::Text(std::string_view name, std::string_view otherwise) {
  return Scalar(name).value_or(std::string(otherwise));
}

int64_t YamlFields::RequiredInt(std::string_view name, int64_t min, int64_t max) {
  if (!Scalar(name)) {
    Report(name, "is missing");
    return min;
  }
  return Int(name, min, max, min);
}

int64_t YamlFields::Int(std::string_view name, int64_t min, int64_t max, int64_t otherwise) {
  const std::optional<std::string> text = Scalar(name);
  if (!text) return otherwise;
  int64_t value = 0;
  if (!absl::SimpleAtoi(*text, &value) || value < min || value > max) {
    Report(name, absl::StrFormat("\"%s\" is no whole number from %d to %d", *text, min, max));
    return otherwise;
  }
  return value;
}

std::optional<double> YamlFields::Number(std::string_view name) {
  const std::optional<std::string> text = Scalar(name);
  if (!text) return std::nullopt;
  double value = 0;
  if (!absl::SimpleAtod(*text, &value) || !std::isfinite(value) || value < 0) {
    Report(name, absl::StrFormat("\"%s\" is no number from 0 up", *text));
    return std::nullopt;
  }
  return value;
}

bool YamlFields::Bool(std::string_view name, bool otherwise) {
  const std::optional<std::string> text = Scalar(name);
  if (!text) return otherwise;
  if (*text != "true" && *text != "false") {
    Report(name, absl::StrFormat("\"%s\" is neither true nor false", *text));
    return otherwise;
  }
  return *text == "true";
}

std::vector<std::string> YamlFields::Texts(std::string_view name) {
  known_.insert(std::string(name));
  const YAML::Node node = std::as_const(map_)[std::string(name)];
  std::vector<std::string> texts;
  if (!node.IsDefined() || node.IsNull()) return texts;
  if (!node.IsSequence() || node.size() > kElementsMax) {
    Report(name, "is no list of text");
    return texts;
  }
  for (const YAML::Node& element : node) {
    if (element.IsScalar()) {
      texts.push_back(element.Scalar());
    } else {
      Report(name, "is no list of text");
    }
  }
  return texts;
}

std::optional<YamlFields> YamlFields::Map(std::string_view name) {
  known_.insert(std::string(name));
  const YAML::Node node = std::as_const(map_)[std::string(name)];
  if (!node.IsDefined() || node.IsNull()) return std::nullopt;
  if (!node.IsMap()) {
    Report(name, "is no map of keys and values");
    return std::nullopt;
  }
  return YamlFields(node, file_, PathOf(name), *problems_);
}

std::vector<YamlFields> YamlFields::Maps(std::string_view name) {
  known_.insert(std::string(name));
  const YAML::Node node = std::as_const(map_)[std::string(name)];
  std::vector<YamlFields> maps;
  if (!node.IsDefined() || node.IsNull()) return maps;
  if (!node.IsSequence() || node.size() > kElementsMax) {
    Report(name, "is no list");
    return maps;
  }
  for (size_t i = 0; i < node.size(); ++i) {
    if (node[i].IsMap()) {
      maps.emplace_back(node[i], file_, absl::StrFormat("%s[%d]", PathOf(name), i), *problems_);
    } else {
      Report(absl::StrFormat("%s[%d]", name, i), "is no map of keys and values");
    }
  }
  return maps;
}

bool YamlFields::Finish() {
  for (const auto& member : map_) {
    const std::string name = member.first.IsScalar() ? member.first.Scalar() : "?";
    if (known_.contains(name)) continue;
    const std::string nearest = base::NearestName(name, {known_.begin(), known_.end()});
    Report(name, nearest.empty() ? "is no known key"
                                 : absl::StrFormat("is no known key; did you mean %s?", nearest));
  }
  return problems_->size() == problems_before_;
}

}  // namespace catalog
