// Label and field selectors of lists, watches and deletecollection.

#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"

#include "local-cluster/apiserver/kinds.h"

namespace local_cluster {

// Which objects a request means. Immutable; may be shared by threads.
class Selector {
 public:
  // Of the two query parameters. kInvalidArgument (400) for syntax, and for a field that the kind
  // does not select by.
  static absl::StatusOr<Selector> Parse(std::string_view labels, std::string_view fields,
                                        const Kind& kind, const KindVersion& version);

  bool Matches(const boost::json::value& object) const;
  bool empty() const { return labels_.empty() && fields_.empty(); }

  // The value that metadata.name must have; "" if any.
  std::string_view name() const { return name_; }

 private:
  enum class Operator { kEquals, kNotEquals, kIn, kNotIn, kExists, kAbsent };
  struct Requirement {
    std::string key;
    Operator op = Operator::kEquals;
    std::set<std::string, std::less<>> values;
  };
  static absl::StatusOr<std::vector<Requirement>> ParseLabels(std::string_view text);

  std::vector<Requirement> labels_;
  std::vector<Requirement> fields_;  // kEquals and kNotEquals only.
  std::string name_;
};

// The value at a path like "spec.nodeName", as a field selector compares it.
std::string FieldText(const boost::json::value& object, std::string_view path);

}  // namespace local_cluster
