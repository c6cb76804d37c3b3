// Times and quantities as Kubernetes writes them.

#include <array>
#include <charconv>
#include <cmath>

#include "absl/strings/string_view.h"

#include "common/kube/object.h"

namespace kube {

std::string FormatTime(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

std::string FormatMicroTime(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", time, absl::UTCTimeZone());
}

std::optional<absl::Time> ParseTime(std::string_view text) {
  if (text.empty() || text.size() > 64) return std::nullopt;
  absl::Time time;
  if (!absl::ParseTime(absl::RFC3339_full, absl::string_view(text.data(), text.size()), &time,
                       nullptr)) {
    return std::nullopt;
  }
  return time;
}

namespace {

struct Suffix {
  std::string_view text;
  double factor;
};

constexpr std::array<Suffix, 16> kSuffixes = {{{"", 1},
                                               {"n", 1e-9},
                                               {"u", 1e-6},
                                               {"m", 1e-3},
                                               {"k", 1e3},
                                               {"M", 1e6},
                                               {"G", 1e9},
                                               {"T", 1e12},
                                               {"P", 1e15},
                                               {"E", 1e18},
                                               {"Ki", 0x1p10},
                                               {"Mi", 0x1p20},
                                               {"Gi", 0x1p30},
                                               {"Ti", 0x1p40},
                                               {"Pi", 0x1p50},
                                               {"Ei", 0x1p60}}};

// The digits, sign and point at the start; an exponent belongs to it if a digit follows the "e".
size_t NumberLength(std::string_view text) {
  size_t length = text.find_first_not_of("0123456789.", text.find_first_of("+-") == 0 ? 1 : 0);
  if (length == std::string_view::npos) return text.size();
  if (text[length] != 'e' && text[length] != 'E') return length;
  size_t digits = length + 1;
  if (digits < text.size() && (text[digits] == '+' || text[digits] == '-')) ++digits;
  const size_t end = text.find_first_not_of("0123456789", digits);
  if (end == digits || digits >= text.size()) return length;
  return end == std::string_view::npos ? text.size() : end;
}

}  // namespace

std::optional<double> ParseQuantity(std::string_view text) {
  if (text.empty() || text.size() > 64) return std::nullopt;
  const size_t length = NumberLength(text);
  std::string_view number = text.substr(0, length);
  if (number.starts_with('+')) number.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc() || end != number.data() + number.size()) return std::nullopt;
  for (const Suffix& suffix : kSuffixes) {
    if (text.substr(length) == suffix.text) return value * suffix.factor;
  }
  return std::nullopt;
}

}  // namespace kube
