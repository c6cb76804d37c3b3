#include "local-cluster/apiserver/cel/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "absl/strings/str_format.h"

namespace local_cluster {
namespace {

constexpr size_t kPatternMax = 8 << 10;
constexpr uint32_t kMatchLimit = 200'000;

}  // namespace

absl::StatusOr<std::shared_ptr<const Regex>> Regex::Compile(std::string_view pattern) {
  if (pattern.size() > kPatternMax) return absl::InvalidArgumentError("pattern is too long");
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C,
                                   &error, &offset, nullptr);
  if (code == nullptr) {
    PCRE2_UCHAR text[256];
    pcre2_get_error_message(error, text, sizeof(text));
    return absl::InvalidArgumentError(absl::StrFormat("error parsing regexp at %d: %s", offset,
                                                      reinterpret_cast<const char*>(text)));
  }
  auto regex = std::shared_ptr<Regex>(new Regex());
  regex->code_ = code;
  return std::shared_ptr<const Regex>(std::move(regex));
}

Regex::~Regex() { pcre2_code_free(static_cast<pcre2_code*>(code_)); }

std::optional<std::string> Regex::Find(std::string_view text) const {
  const auto* code = static_cast<const pcre2_code*>(code_);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(context, kMatchLimit);
  const int count = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0,
                                data, context);
  std::optional<std::string> found;
  if (count >= 0) {
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data);
    found = std::string(text.substr(range[0], range[1] - range[0]));
  }
  pcre2_match_context_free(context);
  pcre2_match_data_free(data);
  return found;
}

}  // namespace local_cluster
