// The subset of kubectl's JSONPath that CRDs use in columns and subresource paths.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"

namespace local_cluster {

// `.a.b`, `['a.b']`, `.a\.b`, `[0]`, `[*]`, `[?(@.type=="Ready")]`.
class JsonPath {
 public:
  static absl::StatusOr<JsonPath> Parse(std::string_view text);

  // The first value found; null when there is none. Lives as long as `root`.
  const boost::json::value* FindFirst(const boost::json::value& root) const;

 private:
  enum class StepType { kMember, kIndex, kAll, kFilter };
  struct Step {
    StepType type = StepType::kMember;
    std::string name;     // Member; or the filter's path below the element.
    int64_t index = 0;    // Negative: from the end.
    std::string literal;  // Of the filter.
    bool differs = false;
  };
  static absl::StatusOr<Step> ParseBracket(std::string_view inside);
  const boost::json::value* Walk(const boost::json::value& value, size_t step) const;

  std::vector<Step> steps_;
};

}  // namespace local_cluster
