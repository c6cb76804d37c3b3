// YAML as kubectl reads it, straight from yaml-cpp's events into JSON.

#include "yaml-cpp/yaml.h"

#include <charconv>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "yaml-cpp/eventhandler.h"

namespace kube {
namespace {

namespace json = boost::json;

constexpr size_t kBytesMax = 3 << 20;
constexpr int kAliasesMax = 100;
constexpr size_t kNodesMax = 1'000'000;  // After aliases are expanded: "billion laughs" ends here.
constexpr size_t kDepthMax = 100;

// Carries an error out of yaml-cpp's parser, which has no other way to be stopped.
struct YamlError {
  int line;
  std::string reason;
};

bool AllOf(std::string_view text, std::string_view allowed) {
  return !text.empty() && text.find_first_not_of(allowed) == std::string_view::npos;
}

std::optional<json::value> ParseInteger(std::string_view text) {
  const bool negative = text.starts_with('-');
  std::string_view digits = text;
  if (text.starts_with('-') || text.starts_with('+')) digits.remove_prefix(1);
  int base = 10;
  if (digits.starts_with("0x")) {
    base = 16;
    digits.remove_prefix(2);
  } else if (digits.starts_with("0o")) {
    base = 8;
    digits.remove_prefix(2);
  } else if (digits.size() > 1 && digits.starts_with('0') && AllOf(digits, "01234567")) {
    base = 8;  // YAML 1.1, which kubectl still reads: `defaultMode: 0644`.
  }
  if (!AllOf(digits, base == 16 ? "0123456789abcdefABCDEF" : "0123456789")) return std::nullopt;
  uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  if (negative) {
    if (number > uint64_t{1} << 63) return std::nullopt;
    return json::value(static_cast<int64_t>(~number + 1));
  }
  if (number <= uint64_t{INT64_MAX}) return json::value(static_cast<int64_t>(number));
  return json::value(number);
}

std::optional<json::value> ParseFloat(std::string_view text) {
  std::string_view digits = text;
  if (text.starts_with('-') || text.starts_with('+')) digits.remove_prefix(1);
  if (digits.empty() || !AllOf(digits, "0123456789.eE+-")) return std::nullopt;
  if (digits[0] == '.' ? digits.size() < 2 || digits[1] < '0' || digits[1] > '9'
                       : digits[0] < '0' || digits[0] > '9') {
    return std::nullopt;
  }
  double number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return json::value(text.starts_with('-') ? -number : number);
}

// A plain (unquoted) scalar by the core schema.
json::value ResolvePlain(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") {
    return nullptr;
  }
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  if (std::optional<json::value> number = ParseInteger(text)) return *std::move(number);
  if (std::optional<json::value> number = ParseFloat(text)) return *std::move(number);
  return json::value(text);
}

json::value ResolveScalar(const YAML::Mark& mark, const std::string& tag, const std::string& text) {
  if (tag == "?") return ResolvePlain(text);
  if (tag == "!" || tag == "tag:yaml.org,2002:str") return json::value(text);
  if (tag == "tag:yaml.org,2002:binary") return json::value(text);
  if (tag.starts_with("tag:yaml.org,2002:")) return ResolvePlain(text);
  throw YamlError{mark.line + 1, absl::StrFormat("tag %s is not supported", tag)};
}

size_t CountNodes(const json::value& value) {
  size_t nodes = 1;
  if (const json::object* object = value.if_object()) {
    for (const auto& member : *object) nodes += CountNodes(member.value());
  } else if (const json::array* array = value.if_array()) {
    for (const json::value& element : *array) nodes += CountNodes(element);
  }
  return nodes;
}

// Builds the value of one document.
class DocumentBuilder final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    root_ = nullptr;
    start_ = mark;
  }
  void OnDocumentEnd() override {}

  const YAML::Mark& start() const { return start_; }

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (IsKeyNext()) throw YamlError{mark.line + 1, "a key is empty"};
    Place(mark, nullptr, anchor, 1);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (++aliases_ > kAliasesMax) {
      throw YamlError{mark.line + 1, absl::StrFormat("more than %d aliases", kAliasesMax)};
    }
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) throw YamlError{mark.line + 1, "an alias contains itself"};
    Place(mark, found->second.first, 0, found->second.second);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    if (IsKeyNext()) {
      Frame& frame = frames_.back();
      frame.merge = tag == "?" && text == "<<";
      if (!frame.merge && frame.value.as_object().contains(text) && !frame.merged.contains(text)) {
        throw YamlError{mark.line + 1, absl::StrFormat("key \"%s\" is given twice", text)};
      }
      frame.key = text;
      if (anchor != 0) anchors_[anchor] = {json::value(text), 1};
      return;
    }
    Place(mark, ResolveScalar(mark, tag, text), anchor, 1);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Push(mark, json::array(), anchor);
  }
  void OnSequenceEnd() override { Pop(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Push(mark, json::object(), anchor);
  }
  void OnMapEnd() override { Pop(); }

  json::value Take() { return std::move(root_); }

 private:
  YAML::Mark start_;
  struct Frame {
    json::value value;
    YAML::anchor_t anchor = 0;
    YAML::Mark mark;
    std::optional<std::string> key;                   // In a map: the key whose value comes next.
    bool merge = false;                               // That key is "<<".
    std::map<std::string, bool, std::less<>> merged;  // Came by "<<": own keys replace them.
  };

  bool IsKeyNext() const {
    return !frames_.empty() && frames_.back().value.is_object() && !frames_.back().key.has_value();
  }

  void Push(const YAML::Mark& mark, json::value empty, YAML::anchor_t anchor) {
    if (IsKeyNext()) throw YamlError{mark.line + 1, "a key must be plain text"};
    if (frames_.size() >= kDepthMax) {
      throw YamlError{mark.line + 1, absl::StrFormat("nested more than %d deep", kDepthMax)};
    }
    frames_.push_back({.value = std::move(empty), .anchor = anchor, .mark = mark});
  }

  void Pop() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    Place(frame.mark, std::move(frame.value), frame.anchor, 1);
  }

  // Puts a complete value into what is open around it.
  void Place(const YAML::Mark& mark, json::value value, YAML::anchor_t anchor, size_t nodes) {
    nodes_ += nodes;
    if (nodes_ > kNodesMax) throw YamlError{mark.line + 1, "aliases expand to too many values"};
    if (anchor != 0) anchors_[anchor] = {value, CountNodes(value)};
    if (frames_.empty()) {
      root_ = std::move(value);
      return;
    }
    Frame& frame = frames_.back();
    if (json::array* array = frame.value.if_array()) {
      array->push_back(std::move(value));
    } else if (frame.merge) {
      Merge(mark, frame, value);
    } else {
      if (!frame.key) throw YamlError{mark.line + 1, "a key must be plain text"};
      frame.merged.erase(*frame.key);
      frame.value.as_object()[*frame.key] = std::move(value);
    }
    frame.key.reset();
    frame.merge = false;
  }

  static void Merge(const YAML::Mark& mark, Frame& frame, const json::value& source) {
    if (const json::array* sources = source.if_array()) {
      for (const json::value& one : *sources) Merge(mark, frame, one);
      return;
    }
    const json::object* members = source.if_object();
    if (members == nullptr) throw YamlError{mark.line + 1, "\"<<\" needs a map"};
    for (const auto& [name, member] : *members) {
      if (frame.value.as_object().contains(name)) continue;
      frame.value.as_object()[name] = member;
      frame.merged[std::string(std::string_view(name))] = true;
    }
  }

  json::value root_;
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, std::pair<json::value, size_t>> anchors_;  // With their size in nodes.
  int aliases_ = 0;
  size_t nodes_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<json::value>> ParseYaml(std::string_view text) {
  if (text.size() > kBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("YAML of %d bytes is larger than %d", text.size(), kBytesMax));
  }
  // Not allowed in YAML, and yaml-cpp 0.7 never returns from a flow sequence that holds a NUL.
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n' && c != '\r') {
      return absl::InvalidArgumentError(
          absl::StrFormat("invalid YAML: control character 0x%02x", c));
    }
  }
  std::vector<json::value> documents;
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    int previous = -1;
    while (true) {
      DocumentBuilder builder;
      if (!parser.HandleNextDocument(builder)) break;
      // At a stray "," or "]" yaml-cpp 0.7 finds one empty document after another, for ever.
      if (builder.start().pos == previous) {
        throw YamlError{builder.start().line + 1, "unexpected character"};
      }
      previous = builder.start().pos;
      json::value document = builder.Take();
      if (!document.is_null()) documents.push_back(std::move(document));
    }
  } catch (const YamlError& error) {
    return absl::InvalidArgumentError(
        absl::StrFormat("invalid YAML in line %d: %s", error.line, error.reason));
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        absl::StrFormat("invalid YAML in line %d: %s", error.mark.line + 1, error.msg));
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(absl::StrFormat("invalid YAML: %s", error.what()));
  }
  return documents;
}

}  // namespace kube
