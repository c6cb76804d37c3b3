#include "common/base/flags.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace base {
namespace {

// The spelling under which a flag is kept: underscores, whatever was typed.
std::string Canonical(std::string_view name) {
  std::string canonical(name);
  std::replace(canonical.begin(), canonical.end(), '-', '_');
  return canonical;
}

std::optional<bool> ParseBool(std::string_view text) {
  if (text == "true" || text == "1" || text == "yes" || text == "on") return true;
  if (text == "false" || text == "0" || text == "no" || text == "off") return false;
  return std::nullopt;
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitute = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row[b.size()];
}

std::vector<std::string> SplitCommas(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    if (comma != 0) parts.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return parts;
}

}  // namespace

std::string NearestName(std::string_view name, const std::vector<std::string>& names) {
  std::string nearest;
  size_t best = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : names) {
    const size_t distance = EditDistance(name, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

FlagSet::FlagSet(std::string program, std::string purpose)
    : program_(std::move(program)), purpose_(std::move(purpose)) {}

void FlagSet::AddFlag(const std::string& name, Flag flag) {
  flag.default_text = flag.get();
  const bool added = flags_.emplace(Canonical(name), std::move(flag)).second;
  CHECK(added);
}

void FlagSet::Add(const std::string& name, std::string* target, std::string help) {
  AddFlag(name, {.help = std::move(help),
                 .set =
                     [target](std::string_view text) {
                       *target = std::string(text);
                       return true;
                     },
                 .get = [target] { return *target; },
                 .expects = "text"});
}

void FlagSet::Add(const std::string& name, int* target, std::string help) {
  AddFlag(name, {.help = std::move(help),
                 .set =
                     [target](std::string_view text) {
                       return absl::SimpleAtoi(absl::string_view(text.data(), text.size()), target);
                     },
                 .get = [target] { return absl::StrFormat("%d", *target); },
                 .expects = "a whole number"});
}

void FlagSet::Add(const std::string& name, int64_t* target, std::string help) {
  AddFlag(name, {.help = std::move(help),
                 .set =
                     [target](std::string_view text) {
                       return absl::SimpleAtoi(absl::string_view(text.data(), text.size()), target);
                     },
                 .get = [target] { return absl::StrFormat("%d", *target); },
                 .expects = "a whole number"});
}

void FlagSet::Add(const std::string& name, double* target, std::string help) {
  AddFlag(name, {.help = std::move(help),
                 .set =
                     [target](std::string_view text) {
                       return absl::SimpleAtod(absl::string_view(text.data(), text.size()), target);
                     },
                 .get = [target] { return absl::StrFormat("%g", *target); },
                 .expects = "a number"});
}

void FlagSet::Add(const std::string& name, bool* target, std::string help) {
  AddFlag(name, {.help = std::move(help),
                 .is_bool = true,
                 .set =
                     [target](std::string_view text) {
                       const std::optional<bool> value = ParseBool(text);
                       if (value) *target = *value;
                       return value.has_value();
                     },
                 .get = [target] { return std::string(*target ? "true" : "false"); },
                 .expects = "true or false"});
}

void FlagSet::Add(const std::string& name, absl::Duration* target, std::string help) {
  AddFlag(name, {.help = std::move(help),
                 .set =
                     [target](std::string_view text) {
                       return absl::ParseDuration(absl::string_view(text.data(), text.size()),
                                                  target);
                     },
                 .get = [target] { return absl::FormatDuration(*target); },
                 .expects = "a duration such as 30s, 5m or 250ms"});
}

void FlagSet::Add(const std::string& name, std::vector<std::string>* target, std::string help) {
  auto fresh = std::make_shared<bool>(true);  // The first value replaces the default.
  AddFlag(name, {.help = std::move(help),
                 .set =
                     [target, fresh](std::string_view text) {
                       if (std::exchange(*fresh, false)) target->clear();
                       for (std::string& part : SplitCommas(text)) {
                         target->push_back(std::move(part));
                       }
                       return true;
                     },
                 .get = [target] { return absl::StrJoin(*target, ","); },
                 .expects = "a list such as a,b"});
}

void FlagSet::AddExample(std::string command) { examples_.push_back(std::move(command)); }

void FlagSet::AddIgnored(const std::string& name) {
  accepted_without_effect_.push_back(Canonical(name));
}

const FlagSet::Flag* FlagSet::Find(std::string_view name) const {
  const auto found = flags_.find(Canonical(name));
  return found == flags_.end() ? nullptr : &found->second;
}

absl::Status FlagSet::UnknownFlag(std::string_view name) const {
  std::vector<std::string> names;
  names.reserve(flags_.size());
  for (const auto& [known, flag] : flags_) names.push_back(known);
  const std::string nearest = NearestName(Canonical(name), names);
  if (nearest.empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("unknown flag --%s; %s --help lists the flags", name, program_));
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("unknown flag --%s; did you mean --%s?", name, nearest));
}

absl::Status FlagSet::Set(std::string_view name, std::string_view value) {
  const Flag* flag = Find(name);
  if (flag == nullptr) return UnknownFlag(name);
  if (!flag->set(value)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--%s: \"%s\" is not %s", name, value, flag->expects));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FlagSet::Parse(const std::vector<std::string>& arguments) {
  std::vector<std::string> positional;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string_view argument = arguments[i];
    if (argument == "--") {
      positional.insert(positional.end(), arguments.begin() + static_cast<ptrdiff_t>(i) + 1,
                        arguments.end());
      break;
    }
    if (argument.size() < 2 || argument[0] != '-') {
      positional.emplace_back(argument);
      continue;
    }
    argument.remove_prefix(argument[1] == '-' ? 2 : 1);
    const size_t equals = argument.find('=');
    const std::string_view name = argument.substr(0, equals);
    const bool has_value = equals != std::string_view::npos;
    const std::string canonical = Canonical(name);
    if (std::count(accepted_without_effect_.begin(), accepted_without_effect_.end(), canonical)) {
      ignored_.push_back(canonical);
      if (!has_value && i + 1 < arguments.size() && arguments[i + 1][0] != '-') ++i;
      continue;
    }
    const Flag* flag = Find(name);
    if (flag == nullptr && canonical.substr(0, 3) == "no_" && !has_value) {
      const Flag* negated = Find(canonical.substr(3));
      if (negated != nullptr && negated->is_bool) {
        negated->set("false");
        continue;
      }
    }
    if (flag == nullptr) return UnknownFlag(name);
    if (has_value) {
      RETURN_IF_ERROR(Set(name, argument.substr(equals + 1)));
    } else if (flag->is_bool) {
      flag->set("true");
    } else if (i + 1 < arguments.size()) {
      RETURN_IF_ERROR(Set(name, arguments[++i]));
    } else {
      return absl::InvalidArgumentError(
          absl::StrFormat("--%s needs a value: %s", name, flag->expects));
    }
  }
  return positional;
}

std::vector<std::string> FlagSet::ParseOrExit(int argc, char** argv, std::string_view version) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  for (const std::string& argument : arguments) {
    if (argument == "--help" || argument == "-h" || argument == "-help") {
      std::fputs(Help().c_str(), stdout);
      std::exit(0);
    }
    if (argument == "--version") {
      absl::PrintF("%s %s\n", program_, version);
      std::exit(0);
    }
    if (argument == "--") break;
  }
  absl::StatusOr<std::vector<std::string>> positional = Parse(arguments);
  if (!positional.ok()) {
    absl::FPrintF(stderr, "%s: %s\n", program_, positional.status().message());
    std::exit(2);
  }
  return *std::move(positional);
}

std::string FlagSet::Help() const {
  std::string text = absl::StrFormat("%s\n\nUsage: %s [flags]\n", purpose_, program_);
  if (!examples_.empty()) {
    text += "\nExamples:\n";
    for (const std::string& example : examples_) text += absl::StrFormat("  %s\n", example);
  }
  text += "\nFlags:\n";
  for (const auto& [name, flag] : flags_) {
    text += absl::StrFormat("  --%s\n      %s", name, flag.help);
    if (!flag.default_text.empty()) text += absl::StrFormat(" (default %s)", flag.default_text);
    text += "\n";
  }
  text += "  --help\n      print this and exit\n  --version\n      print the version and exit\n";
  return text;
}

std::map<std::string, std::string> FlagSet::Values() const {
  std::map<std::string, std::string> values;
  for (const auto& [name, flag] : flags_) values.emplace(name, flag.get());
  return values;
}

}  // namespace base
