// The part of the Common Expression Language that CRDs' x-kubernetes-validations need.
//
// Operators, `in`, the ternary, has(), size(), all(), exists(), exists_one(), map(), filter(), the
// string functions of Kubernetes, int(), double(), string(). Anything else is refused when the
// expression is compiled, by name: a rule that is stored is a rule that is enforced.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"

namespace local_cluster {
struct Schema;
}

namespace local_cluster::cel {

struct Node;

// A compiled expression. Immutable; may be shared by threads.
class Program {
 public:
  // `self` is the schema of the value that the expression is about: fields that it does not have
  // are refused. kInvalidArgument says what is wrong, and where.
  static absl::StatusOr<std::shared_ptr<const Program>> Compile(std::string_view text,
                                                                const Schema& self);

  // kInvalidArgument when the expression has no value (no such key, wrong type, overflow);
  // kResourceExhausted when it takes more than `budget` steps, which are taken off it.
  absl::StatusOr<bool> Holds(const boost::json::value& self, const boost::json::value* old_self,
                             int64_t& budget) const;
  absl::StatusOr<std::string> Text(const boost::json::value& self,
                                   const boost::json::value* old_self, int64_t& budget) const;

  // It compares with the value before: only evaluated where there was one.
  bool uses_old() const { return uses_old_; }

  ~Program();

 private:
  explicit Program(std::unique_ptr<Node> root);

  std::unique_ptr<Node> root_;
  bool uses_old_ = false;
};

}  // namespace local_cluster::cel
