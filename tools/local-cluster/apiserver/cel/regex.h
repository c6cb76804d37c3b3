// Patterns with a bound on the work that matching may take.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace local_cluster {

// Thread-safe.
class Regex {
 public:
  // kInvalidArgument says what is wrong.
  static absl::StatusOr<std::shared_ptr<const Regex>> Compile(std::string_view pattern);
  ~Regex();

  // The first match anywhere in `text`; nullopt if none, or if looking takes too long.
  std::optional<std::string> Find(std::string_view text) const;

 private:
  Regex() = default;
  void* code_ = nullptr;
};

}  // namespace local_cluster
